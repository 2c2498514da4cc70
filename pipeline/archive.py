"""An archive on disk: where everything lies, how one is made, opened and locked.

archive/
  rushes.toml        what a person decides
  labels.txt         what a person wants to see labelled; need not be there
  tables/            the truth (Delta), the batch that is being committed, and what was forgotten
  thumbs/            packs of small pictures
  index/             generations, derived from the tables
  receipts.jsonl     what was removed when something was forgotten
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from encoders.profiles import profile
from pipeline.config import Settings, load_settings, render_settings
from pipeline.errors import ArchiveError, BusyError, ConfigError

LOOKS, LOOK_SECONDS = 4, 0.05


@dataclass(frozen=True)
class Archive:
    """An opened archive: its place, and what its rushes.toml says."""

    root: Path
    settings: Settings

    @property
    def tables(self) -> Path:
        """Where the Delta tables lie."""
        return self.root / "tables"

    @property
    def labels(self) -> Path:
        """Where a person writes labels, one a line; it need not be there."""
        return self.root / "labels.txt"

    @property
    def thumbs(self) -> Path:
        """Where the packs of small pictures lie."""
        return self.root / "thumbs"

    @property
    def index(self) -> Path:
        """Where the index generations lie."""
        return self.root / "index"


def create_archive(root: Path, sources: list[str], profile_name: str = "embedded") -> Archive:
    """Make a new archive, with a rushes.toml to edit.

    Raises:
        ArchiveError: `root` already is one, or holds other things, or a source does not exist.
        ConfigError: the profile does not exist.
    """
    try:
        profile(profile_name)
    except LookupError as exc:
        raise ConfigError(str(exc.args[0])) from exc
    if (root / "rushes.toml").exists():
        raise ArchiveError(f"{root} is an archive already; edit {root / 'rushes.toml'} to change its sources.")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ArchiveError(f"{root} exists and is not empty; name a new folder for the archive.")
    places = tuple(_place(root, source) for source in sources)
    root.mkdir(parents=True, exist_ok=True)
    (root / "rushes.toml").write_text(render_settings(places, profile_name), "utf8")
    return open_archive(root)


def open_archive(root: Path) -> Archive:
    """Open an archive.

    Raises:
        ArchiveError: there is none.
        ConfigError: its rushes.toml cannot be read.
    """
    if not (root / "rushes.toml").exists():
        what = "is no archive: it has no rushes.toml" if root.is_dir() else "does not exist"
        raise ArchiveError(f"{root} {what}; make an archive with `rushes init {root} --source FOLDER`.")
    return Archive(root.resolve(), load_settings(root / "rushes.toml"))


@contextmanager
def writing(archive: Archive, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the archive for writing; the system lets go of it when this process ends, however it ends.

    Args:
        archive: the archive.
        waiting: told which process holds it, before this waits for that to end; None: do not wait.

    Raises:
        BusyError: another process holds it, and this does not wait.
    """
    with (archive.root / ".lock").open("a+") as file:
        if not lock(file):
            file.seek(0)
            holder = file.read().strip() or "unknown"
            if waiting is None:
                raise BusyError(f"{archive.root} is being written by process {holder}; wait until it has finished.")
            waiting(holder)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def lock(file: IO[str]) -> bool:
    """Lock an open file, unless somebody holds it; tried more than once, since who looks holds it for a moment."""
    for left in reversed(range(LOOKS)):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOOK_SECONDS if left else 0)
        else:
            return True
    return False


def is_being_written(root: Path) -> bool:
    """Tell whether some process holds an archive for writing."""
    try:
        with (root / ".lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # never written, or out of reach
        return False
    return False


def _place(root: Path, source: str) -> str:
    if "://" in source and not source.startswith("file://"):
        from pipeline.store.buckets import Bucket

        bucket = Bucket.at(source)
        bucket.check()
        return bucket.base + bucket.query
    folder = Path(source.removeprefix("file://")).expanduser().resolve()
    if not folder.is_dir():
        raise ArchiveError(f"The source {source} is no folder; name one that exists.")
    inside = root.resolve()
    if folder.is_relative_to(inside) or inside.is_relative_to(folder):
        raise ArchiveError(f"The archive {root} and its source {source} lie in one another; keep them apart.")
    return str(folder)
