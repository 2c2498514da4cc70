"""What lies in the sources: every file once, in a fixed order, with what came beside it.

A source is a folder or an object store's prefix behind one small protocol. Names are data: nothing is ever built from
them but the path that was listed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote_to_bytes

from pipeline.errors import ArchiveError
from pipeline.store.schemas import Location

TRANSCRIPTS = frozenset({".srt", ".vtt"})
METADATA = ".json"
UNREADABLE_FOLDER = "unreadable_folder"
"""Why nothing below a folder is listed, which must not read as an empty one."""
UNREADABLE_FILE = "unreadable_file"
"""Why nothing is known of a file that is there, which must not read as one that is gone."""
TEMPORARY = (".part", ".partial", ".crdownload", ".tmp", ".swp", "~")


@dataclass(frozen=True, slots=True)
class Found:
    """One file of a source."""

    place: Location
    sidecars: tuple[Location, ...] = ()
    """Transcripts and metadata beside it; `place.sidecars` says the same in short."""
    skip: str = ""
    """A reason not to look inside it."""


class Source(Protocol):
    """A place with media that people put there; read, never written."""

    def list(self) -> Iterator[Found]:
        """Yield every file, in an order that depends on their names alone; hidden and temporary ones are left out.

        Raises:
            ArchiveError: the source is not there or cannot be reached, which must not read as an empty one.
        """
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
            yield Found(self._place(folder, 0, 0), skip=UNREADABLE_FOLDER)
            return
        entries = [entry for entry in entries if not is_left_out(entry.name)]
        beside, of_nothing = paired(e.name for e in entries if not e.is_dir(follow_symlinks=False))
        for entry in entries:
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self._below(path, above | {path.resolve()})
            elif entry.is_symlink():
                yield from self._link(path, above)
            elif entry.name in of_nothing:
                yield self._file(path, skip="sidecar_of_nothing")
            elif entry.name in beside:
                yield self._file(path, [folder / name for name in beside[entry.name]])

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
            followed = self._file(path)
            # read from where it leads to: decoders refuse links, which may lead elsewhere by then
            yield replace(followed, place=replace(followed.place, location=target.as_uri()))

    def _file(self, path: Path, beside: Sequence[Path] = (), skip: str = "") -> Found:
        try:
            facts = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return Found(self._place(path, 0, 0), skip="vanished")
        except OSError:  # a stale handle, a failing disk: it is there, and nobody can say how
            return Found(self._place(path, 0, 0), skip=UNREADABLE_FILE)
        if not stat.S_ISREG(facts.st_mode):
            return Found(self._place(path, 0, 0), skip="no_regular_file")
        return found_with(self._place(path, facts.st_size, facts.st_mtime_ns), list(self._sidecars(beside)), skip)

    def _sidecars(self, paths: Sequence[Path]) -> Iterator[Location]:
        for path in paths:
            try:
                facts = path.stat()
            except OSError:
                continue
            yield self._place(path, facts.st_size, facts.st_mtime_ns)

    def _place(self, path: Path, size: int, mtime_ns: int) -> Location:
        shown = os.fsencode(path.relative_to(self.root)).decode("utf8", "backslashreplace")
        return Location(shown, path.as_uri(), size, mtime_ns)


def open_source(uri: str, base: Path, *, follow_links: bool = False) -> Source:
    """Return the source that rushes.toml names: a folder (relative to `base`), a `file://` URI, or an object store's.

    Raises:
        ArchiveError: the URI's scheme is not known, or the URI says what it must not, such as a password.
    """
    scheme, separator, _ = uri.partition("://")
    if separator and scheme != "file":
        from pipeline.store.buckets import Bucket

        return Bucket.at(uri)
    folder = local_path(uri) if separator else Path(uri)
    return Folder(base / folder, follow_links)


def is_local(place: Location) -> bool:
    """Tell whether a place is a file of this machine, and no object in a store."""
    return place.location.startswith("file://")


def local_path(location: str) -> Path:
    """Return the path that a `file://` URI names; names that are not UTF-8 survive."""
    return Path(os.fsdecode(unquote_to_bytes(location.removeprefix("file://"))))


def without_endpoint(location: str) -> str:
    """Return a location as people write it: an object's without its store's address, a file's as it is."""
    return location.partition("?")[0]


def is_left_out(name: str) -> bool:
    """Tell whether a file or folder of this name is none of ours: hidden, or on its way to another name."""
    return (name.startswith(".") and name.strip(".") != "") or name.endswith(TEMPORARY)


def paired(names: Iterable[str]) -> tuple[Mapping[str, Sequence[str]], frozenset[str]]:
    """Return one folder's files with the names of the sidecars beside each, and the sidecars that belong to none."""
    names = list(names)
    sidecars = [name for name in names if _split(name)[1].lower() in TRANSCRIPTS | {METADATA}]
    told: dict[str, list[str]] = {}  # what a file or its stem would be called → sidecars
    for name in sidecars:
        for owner in _owners(name):
            told.setdefault(owner, []).append(name)
    of_nothing = set(sidecars)
    beside: dict[str, Sequence[str]] = {name: () for name in names if name not in of_nothing}
    for name in beside if told else ():
        beside[name] = sorted({*told.get(name, ()), *told.get(_split(name)[0], ())})
        of_nothing.difference_update(beside[name])
    return beside, frozenset(of_nothing)


def belongs(sidecar: str, media: str) -> bool:
    """Tell whether a sidecar belongs to a file: show.srt, show.en.srt, show.mp4.srt and show.json to show.mp4."""
    return not {media, _split(media)[0]}.isdisjoint(_owners(sidecar))


def found_with(place: Location, sidecars: Sequence[Location], skip: str = "") -> Found:
    """Return a file with what lies beside it, whose names, sizes and times become part of its place."""
    if not sidecars:
        return Found(place, skip=skip)
    known = [f"{sidecar.uri.rpartition('/')[2]}:{sidecar.size}:{sidecar.mtime_ns}" for sidecar in sidecars]
    return Found(replace(place, sidecars="\n".join(known)), tuple(sidecars), skip)


def _owners(sidecar: str) -> tuple[str, ...]:
    """Return what a file or its stem is called that a sidecar belongs to."""
    stem, language = _split(_split(sidecar)[0])
    is_language = language[1:].isalpha() and len(language) <= 4
    return (stem + language, stem) if is_language else (stem + language,)


def _split(name: str) -> tuple[str, str]:
    """Return a name's stem and extension, as in ("show.en", ".srt")."""
    stem, dot, extension = name.rpartition(".")
    return (stem, dot + extension) if stem else (name, "")
