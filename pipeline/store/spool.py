"""Copies of objects on this machine's disk, for as long as somebody works on them.

A decoder's child gets an opened file and no way to a network, so its parent fetches. An object is read once to know
what it is (its content's hash) and copied on the way; whoever decodes it takes that copy where it lies on the same
machine, and otherwise (a worker of a cluster, a disk without room) fetches one of its own, which has to have the same
hash. Each process has a folder of its own below `$RUSHES_CACHE/spool`, locked while it lives: the system lets go of
the lock however it ends, and the next process removes what it has left.
"""

from __future__ import annotations

import fcntl
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import IO

from encoders.packages import cache_directory
from pipeline.decode.transcript import BYTES_MOST
from pipeline.errors import MediaError, StoreError
from pipeline.store import buckets
from pipeline.store.discover import is_local, local_path
from pipeline.store.ledger import asset_id_of
from pipeline.store.schemas import Location

NAME_BYTES_MOST = 200
"""A key may have 1024 bytes, a file's name 255."""


def copied(place: Location, blocks: Iterable[bytes]) -> tuple[str, Path]:
    """Return the id of an object's content, and the path of a copy of it.

    There is no copy where it would take more than half of what is free on the disk: the path then leads nowhere.

    Args:
        place: the object.
        blocks: its content.

    Raises:
        StoreError: as `buckets.read`.
    """
    path = path_for(place)
    return (_copy(path, blocks) if place.size <= _free_bytes() // 2 else asset_id_of(blocks)), path


@contextmanager
def nearby(path: Path, place: Location | None, asset_id: str) -> Iterator[Path]:
    """Give a file of this machine to decode an asset from; a copy of an object is removed afterwards.

    Args:
        path: the file, or the copy of an object that `copied` promised.
        place: the object; None for a file.
        asset_id: what the content has to be.

    Raises:
        StoreError: the object cannot be fetched, or is another by now.
    """
    if place is None:
        yield path
        return
    try:
        if not path.exists():
            path = path_for(place)
            if _fetch(place, path) != asset_id:
                raise StoreError("changed", "it is another than when it was looked at")
        yield path
    finally:
        discard(path)


@contextmanager
def nearby_sidecar(place: Location) -> Iterator[Path]:
    """Give a file of this machine to read a transcript or metadata from, under its own name.

    Raises:
        MediaError: `too_large`: it is no transcript.
        StoreError: the object cannot be fetched.
    """
    if is_local(place):
        yield local_path(place.location)
        return
    if place.size > BYTES_MOST:
        raise MediaError("too_large", f"{place.size} bytes; at most {BYTES_MOST} are read")
    path = path_for(place)
    try:
        _fetch(place, path)
        yield path
    finally:
        discard(path)


def discard(path: Path) -> None:
    """Remove a copy, which may never have been made; other files stay."""
    if len(path.parents) > 3 and path.parents[2] == _spool():
        shutil.rmtree(path.parent, ignore_errors=True)


def _fetch(place: Location, path: Path) -> str:
    if place.size > (free := _free_bytes()):
        raise StoreError("no_space", f"{place.size} bytes do not fit into {_spool()}, where {free} are free")
    return _copy(path, buckets.read(place))


def _copy(path: Path, blocks: Iterable[bytes]) -> str:
    try:
        return asset_id_of(_written(blocks, path))
    except BaseException:
        discard(path)
        raise


def _written(blocks: Iterable[bytes], path: Path) -> Iterator[bytes]:
    with path.open("wb", buffering=0) as file:
        for block in blocks:
            try:
                left = memoryview(block)
                while left:
                    left = left[file.write(left) :]
            except OSError as exc:
                raise StoreError("no_space", f"{_spool()} cannot take it ({exc.strerror})") from exc
            yield block


def path_for(place: Location) -> Path:
    """Return a new path with the object's own name: its extension tells something, as does a transcript's language.

    Raises:
        StoreError: there is no place for copies.
    """
    name = place.uri.rpartition("/")[2].encode()[-NAME_BYTES_MOST:].decode(errors="ignore")
    try:
        return Path(mkdtemp(dir=_own_folder()[0].name), name)
    except OSError as exc:
        raise StoreError("no_space", f"no copy can be made in {_spool()} ({exc.strerror}); set RUSHES_CACHE") from exc


def _free_bytes() -> int:
    return shutil.disk_usage(_own_folder()[0].name).free


def _spool() -> Path:
    return cache_directory().absolute() / "spool"


@cache
def _own_folder() -> tuple[TemporaryDirectory[str], IO[str]]:
    """Make this process's folder, with a lock that it holds, and remove those of this machine that nobody holds."""
    _spool().mkdir(mode=0o700, parents=True, exist_ok=True)
    host = socket.gethostname()
    with (_spool() / ".lock").open("w") as making:
        fcntl.flock(making, fcntl.LOCK_EX)
        for folder in _spool().glob(f"{host}-*"):
            with (folder / ".lock").open("w") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue
                shutil.rmtree(folder, ignore_errors=True)
        own = TemporaryDirectory(prefix=f"{host}-", dir=_spool(), ignore_cleanup_errors=True)
        held = Path(own.name, ".lock").open("w")  # noqa: SIM115 - held as long as the process lives
        fcntl.flock(held, fcntl.LOCK_EX)
    return own, held
