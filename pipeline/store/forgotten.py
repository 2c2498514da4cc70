"""Tombstones of forgotten assets: what a search leaves out from the next moment on, and a run refuses for ever.

tables/forgotten             one line for each forgotten asset and place: `ASSET_ID MARK`; only ever appended to
tables/forgetting/ID.json    an asset whose bytes are not all removed yet, and by which names it was known

A tombstone is written without the writer's lock, in one appending write, so that a run of hours does not delay it. It
keeps no name. The asset's id, a hash of its content, has to stay, since the same content under another name is refused
by it. So does a mark of each place where it lay, a hash of location, size and time, so that it is not read again every
night. Neither tells more than somebody knows who has the file, and a key beside them would hide neither from somebody
who has the archive.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.store.files import sync_folder, write_whole
from pipeline.store.schemas import Location

_LINE = re.compile(r"([0-9a-z]+) ([0-9a-f]{32}|-)")


@dataclass(frozen=True)
class Errand:
    """One asset whose bytes are being removed. Gone when they are: until then a killed `rushes forget` can go on."""

    asset_id: str
    names: tuple[str, ...]
    """What it can be called by."""
    began: str
    """When it became unfindable, ISO 8601, UTC."""
    n_moments: int = -1
    """How many rows of the table moments it had; -1: not counted yet."""
    n_pictures: int = 0


class Forgotten:
    """The tombstones of an archive's tables. Follows the file as it grows; asking costs one `stat`."""

    def __init__(self, tables: Path) -> None:
        self._path = tables / "forgotten"
        self._errands = tables / "forgetting"
        self._read: tuple[int, frozenset[str], dict[str, str]] = (0, frozenset(), {})

    @property
    def ids(self) -> frozenset[str]:
        """Return the ids of all forgotten assets; the same object as long as none is added."""
        return self._now()[1]

    def at(self, place: Location) -> str | None:
        """Return the id of the forgotten asset that lies at a place, as it was when it was looked at."""
        return self._now()[2].get(mark_of(place))

    def add(self, asset_id: str, places: Iterable[Location]) -> None:
        """Forget an asset, or learn of another place where it lies. On disk when this returns."""
        marks = {mark_of(place) for place in places} - self._now()[2].keys()
        if not marks and asset_id in self.ids:
            return
        lines = "".join(f"\n{asset_id} {mark}" for mark in sorted(marks) or ["-"])  # begins a line, whatever was torn
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, f"{lines}\n".encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        sync_folder(self._path.parent)

    def errands(self) -> list[Errand]:
        """Return the assets whose bytes are not all removed yet."""
        found = [json.loads(path.read_bytes()) for path in sorted(self._errands.glob("*.json"))]
        return [Errand(**{**said, "names": tuple(said["names"])}) for said in found]

    def begin(self, errand: Errand) -> None:
        """Note what is to be removed, before anything is."""
        self._errands.mkdir(exist_ok=True)
        write_whole(self._errands / f"{errand.asset_id}.json", json.dumps(asdict(errand)).encode())

    def finish(self, errands: Sequence[Errand]) -> None:
        """Drop the notes of what has been removed."""
        for errand in errands:
            for part in self._errands.glob(f".{errand.asset_id}.json.*"):  # half-written by a killed process
                part.unlink(missing_ok=True)
            (self._errands / f"{errand.asset_id}.json").unlink(missing_ok=True)
        sync_folder(self._errands)

    def _now(self) -> tuple[int, frozenset[str], dict[str, str]]:
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return self._read
        if size != self._read[0]:
            body = self._path.read_bytes()
            lines = [
                found.groups()
                for line in body.decode("ascii", "replace").split("\n")
                if (found := _LINE.fullmatch(line))
            ]
            marks = {mark: asset_id for asset_id, mark in lines if mark != "-"}
            self._read = (len(body), frozenset(asset_id for asset_id, _ in lines), marks)
        return self._read


def mark_of(place: Location) -> str:
    """Return the hash of where and how a file lay: BLAKE2b, 128 bits, in hex."""
    said = f"{place.location}\0{place.size}\0{place.mtime_ns}"
    return hashlib.blake2b(said.encode("utf8", "surrogateescape"), digest_size=16).hexdigest()
