"""Where `rushes up` keeps what it needs to know: one folder, with one writer for each file in it.

home/
  auth              what people and programs log in with; only its owner may read it
  lock              held by the supervisor for as long as it lives, with its process number inside
  wanted.json       what the last `rushes up` asked for (written by `up`)
  place.json        where the UI is (written by the supervisor)
  registered.json   how far that has been done (written by `register`)
  prefect/          Prefect's home: its database, and the pages of its UI
  logs/             one for each part
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from pipeline.errors import RushesError

_T = TypeVar("_T", "Wanted", "Place", "Registered")


_SECRET = re.compile(r"[\x21-\x39\x3b-\x7e]+:[\x21-\x7e]{8,}")
"""A name and a word of some length, of characters that a header can hold."""


class ServerError(RushesError):
    """`rushes up` cannot do what it is to do."""


@dataclass(frozen=True)
class Wanted:
    """What the last `rushes up` asked for."""

    archives: tuple[str, ...] = ()
    """Absolute paths."""
    port: int = 4200
    """The first that is tried."""
    external: str = ""
    """PREFECT_API_URL, where somebody else's server is used; empty: ours."""
    request: str = ""
    """A word that names this request, so that its answer is known."""


@dataclass(frozen=True)
class Place:
    """Where the UI is."""

    url: str = ""


@dataclass(frozen=True)
class Registered:
    """What Prefect knows by now."""

    request: str = ""
    slugs: tuple[str, ...] = ()
    trouble: tuple[str, ...] = ()
    """A sentence for each archive whose deployments could not be registered."""


@dataclass(frozen=True)
class Home:
    """The folder."""

    root: Path

    @property
    def logs(self) -> Path:
        """Where each part's log lies."""
        return self.root / "logs"

    @property
    def prefect(self) -> Path:
        """Prefect's own home, so that a person's ~/.prefect stays as it is."""
        return self.root / "prefect"

    @property
    def auth(self) -> Path:
        """The file with what one logs in with."""
        return self.root / "auth"

    def make(self) -> None:
        """Make the folder, readable by its owner only, with a secret of its own.

        Raises:
            ServerError: it cannot be written.
        """
        try:
            for folder in (self.root, self.logs, self.prefect):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _SECRET.fullmatch(self._said_secret()):  # garbage lets nobody in
                _write(self.auth, f"rushes:{secrets.token_urlsafe(24)}\n")
            self.auth.chmod(0o600)
            _write(self.root / ".probe", "")
        except OSError as exc:
            raise ServerError(
                f"{self.root} cannot be written ({exc}); set RUSHES_HOME to a folder that this user owns."
            ) from exc

    def secret(self) -> str:
        """Return what one logs in with, as USER:PASSWORD."""
        return self.auth.read_text("utf8").strip()

    def _said_secret(self) -> str:
        return self.auth.read_text("utf8", "replace").strip() if self.auth.is_file() else ""

    def wanted(self) -> Wanted:
        """Return what was asked for last; nothing where that cannot be read."""
        return self._read("wanted.json", Wanted)

    def place(self) -> Place:
        """Return where the UI is; nowhere where that cannot be read."""
        return self._read("place.json", Place)

    def registered(self) -> Registered:
        """Return what Prefect knows by now; nothing where that cannot be read."""
        return self._read("registered.json", Registered)

    def write(self, value: Wanted | Place | Registered) -> None:
        """Put a value down for the other processes, in one step."""
        _write(self.root / f"{type(value).__name__.lower()}.json", json.dumps(asdict(value), ensure_ascii=False))

    def supervisor(self) -> int | None:
        """Return the process that supervises this home; None: nobody does."""
        try:
            with (self.root / "lock").open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            said = (self.root / "lock").read_text("utf8").strip()
            return int(said) if said.isdecimal() else None
        return None

    @contextmanager
    def supervising(self) -> Iterator[None]:
        """Be the one process that supervises this home; the system lets go of it however the process ends.

        Raises:
            ServerError: another process does.
        """
        with (self.root / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise ServerError(
                    f"Rushes is up already (process {self.supervisor()}, home {self.root}); run `rushes down` first."
                ) from exc
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def _read(self, name: str, kind: type[_T]) -> _T:
        try:
            said = json.loads((self.root / name).read_text("utf8"))
            return kind(
                **{f.name: _like(said[f.name], getattr(kind(), f.name)) for f in fields(kind) if f.name in said}
            )
        except (OSError, ValueError, TypeError):  # half a file, somebody else's, an older Rushes'
            return kind()


def find_home() -> Home:
    """Return the home of this user: RUSHES_HOME, else the place for such things."""
    named = os.environ.get("RUSHES_HOME")
    if named:
        return Home(Path(named).expanduser().resolve())
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Home(Path(state).expanduser().resolve() / "rushes")


def _like(value: Any, default: Any) -> Any:
    """Return a value of a file as the kind that its default is."""
    if isinstance(default, tuple):
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise TypeError(value)
        return tuple(value)
    if not isinstance(value, type(default)):
        raise TypeError(value)
    return value


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf8") as file:
        file.write(text)
    aside.replace(path)
