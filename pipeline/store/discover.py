"""What lies in the sources: every file once, in a fixed order, with what came beside it.

A source is a folder or an object store's prefix behind one small protocol. Names are data: nothing is ever built from
them but the path that was listed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote_to_bytes

from pipeline.errors import ArchiveError
from pipeline.store.schemas import Location

TRANSCRIPTS = frozenset({".srt", ".vtt"})
METADATA = ".json"
TEMPORARY = (".part", ".partial", ".crdownload", ".tmp", ".swp", "~")


@dataclass(frozen=True)
class Found:
    """One file of a source."""

    place: Location
    sidecars: tuple[Path, ...] = ()
    """Transcripts and metadata beside it."""
    skip: str = ""
    """A reason not to look inside it."""


class Source(Protocol):
    """A place with media that people put there; read, never written."""

    def list(self) -> Iterator[Found]:
        """Yield every file, ordered by its path; hidden and temporary ones are left out."""
        ...


@dataclass(frozen=True)
class Folder:
    """A folder of this machine, with all that lies below it."""

    root: Path
    follow_links: bool = False

    def list(self) -> Iterator[Found]:
        """Yield every file below the folder; see `Source.list`.

        Raises:
            ArchiveError: the folder is not there (an unplugged disk must not read as an empty one).
        """
        if not self.root.is_dir():
            raise ArchiveError(f"The source {self.root} is not there; connect it, or correct sources in rushes.toml.")
        yield from self._below(self.root, frozenset({self.root.resolve()}))

    def _below(self, folder: Path, above: frozenset[Path]) -> Iterator[Found]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError:
            yield Found(self._place(folder, 0, 0), skip="unreadable_folder")
            return
        entries = [e for e in entries if not e.name.startswith(".") and not e.name.endswith(TEMPORARY)]
        beside = [e for e in entries if Path(e.name).suffix.lower() in TRANSCRIPTS | {METADATA}]
        names = {Path(e.name).stem for e in entries if e not in beside} | {e.name for e in entries if e not in beside}
        for entry in entries:
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self._below(path, above | {path.resolve()})
            elif entry.is_symlink():
                yield from self._link(path, above)
            elif entry in beside:
                if not any(belongs(entry.name, name) for name in names):
                    yield self._file(path, (), skip="sidecar_of_nothing")
            else:
                yield self._file(path, [folder / s.name for s in beside if belongs(s.name, entry.name)])

    def _link(self, path: Path, above: frozenset[Path]) -> Iterator[Found]:
        """A link inside the source leads to what is listed anyway; one out of it is followed only when asked for."""
        place = self._place(path, 0, 0)
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError):
            yield Found(place, skip="dangling_link")
            return
        if target.is_relative_to(self.root.resolve()):
            return
        if not self.follow_links:
            yield Found(place, skip="link_out_of_source")
        elif target.is_dir():
            if target not in above:
                yield from self._below(path, above | {target})
        else:
            followed = self._file(path, ())
            # read from where it leads to: decoders refuse links, which may lead elsewhere by then
            yield replace(followed, place=replace(followed.place, location=target.as_uri()))

    def _file(self, path: Path, sidecars: Sequence[Path], skip: str = "") -> Found:
        try:
            facts = path.stat()
        except OSError:
            return Found(self._place(path, 0, 0), skip="vanished")
        if not stat.S_ISREG(facts.st_mode):
            return Found(self._place(path, 0, 0), skip="no_regular_file")
        place = self._place(path, facts.st_size, facts.st_mtime_ns, _signature(sidecars))
        return Found(place, tuple(sidecars), skip)

    def _place(self, path: Path, size: int, mtime_ns: int, sidecars: str = "") -> Location:
        shown = os.fsencode(path.relative_to(self.root)).decode("utf8", "backslashreplace")
        return Location(shown, path.as_uri(), size, mtime_ns, sidecars)


def open_source(uri: str, base: Path, *, follow_links: bool = False) -> Source:
    """Return the source that rushes.toml names: a folder (relative to `base`), or a `file://` URI.

    Raises:
        ArchiveError: the URI's scheme is not known.
    """
    scheme, separator, _ = uri.partition("://")
    if separator and scheme != "file":
        raise ArchiveError(f"The source {uri} has a scheme that is not known yet; name a folder or a file:// URI.")
    folder = local_path(uri) if separator else Path(uri)
    return Folder(base / folder, follow_links)


def local_path(location: str) -> Path:
    """Return the path that a `file://` URI names; names that are not UTF-8 survive."""
    return Path(os.fsdecode(unquote_to_bytes(location.removeprefix("file://"))))


def belongs(sidecar: str, media: str) -> bool:
    """Tell whether a sidecar belongs to a file: show.srt, show.en.srt, show.mp4.srt and show.json to show.mp4."""
    stem = Path(sidecar).stem
    own = {Path(media).stem, media}
    return stem in own or (Path(stem).suffix[1:].isalpha() and len(Path(stem).suffix) <= 4 and Path(stem).stem in own)


def _signature(sidecars: Sequence[Path]) -> str:
    known = []
    for path in sidecars:
        try:
            facts = path.stat()
        except OSError:
            continue
        known.append(f"{os.fsencode(path.name).decode('utf8', 'backslashreplace')}:{facts.st_size}:{facts.st_mtime_ns}")
    return "\n".join(known)
