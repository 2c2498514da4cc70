"""What saved questions were asked of, and what was told: kept in the archive, so that nothing is told twice.

ARCHIVE/told/assets.npy     the footage that was asked: sorted hashes of asset ids
ARCHIVE/told/moments.txt    what was told of footage that still is new: a hash for each moment and question
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class Told:
    """The account of one archive. Changed only while it is held."""

    def __init__(self, archive: Path) -> None:
        self._root = archive / "told"
        self._assets, self._moments = self._root / "assets.npy", self._root / "moments.txt"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the one process that asks questions or changes them; wait for the one that is."""
        self._root.mkdir(exist_ok=True)
        with (self._root / ".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @property
    def is_kept(self) -> bool:
        """Tell whether anything was noted yet."""
        return self._assets.is_file()

    def new(self, ids: Sequence[str]) -> frozenset[str]:
        """Return those of some assets that were not asked yet."""
        return frozenset(np.array(ids, np.object_)[~np.isin(_hashes(ids), self._asked())].tolist())

    def note_asked(self, ids: Sequence[str]) -> None:
        """Note that assets are new no more. What has left the archive stays noted: it might come back."""
        body = io.BytesIO()
        np.save(body, np.union1d(_hashes(ids), self._asked()), allow_pickle=False)
        replace_file(self._assets, body.getvalue())
        self._moments.unlink(missing_ok=True)

    def is_told(self, key: str) -> bool:
        """Tell whether a match, by its key, was told."""
        return self._moments.is_file() and _digest(key).hex() in self._moments.read_text("ascii", "replace").split()

    def note_told(self, key: str) -> None:
        """Note that a match was told."""
        with self._moments.open("a", encoding="ascii") as file:
            file.write(f"\n{_digest(key).hex()}\n")  # a kill may have cut off the line before
            file.flush()
            os.fsync(file.fileno())

    def _asked(self) -> NDArray[np.uint64]:
        if not self.is_kept:
            return np.empty(0, np.uint64)
        return np.asarray(np.load(self._assets, allow_pickle=False), np.uint64)


def replace_file(path: Path, body: bytes) -> None:
    """Write a file in one step: who reads it sees the old one or the new."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _hashes(ids: Sequence[str]) -> NDArray[np.uint64]:
    """Return uint64 [N] for N assets."""
    return np.array([int.from_bytes(_digest(each), "big") for each in ids], np.uint64)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf8", "backslashreplace"), digest_size=8).digest()
