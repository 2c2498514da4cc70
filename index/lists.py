"""A generation that is open for reading: its lists, and what their rows are."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from index.calibrate import excess
from index.generation import ListEntry, Manifest, Null, current, read_manifest, reading
from index.vector_index import VectorIndex
from pipeline.errors import RushesError
from pipeline.store.discover import without_endpoint


@dataclass(frozen=True)
class Candidates:
    """Rows of one list, best first."""

    rows: NDArray[np.int64]
    excess: NDArray[np.float32]
    """By how much they beat an unrelated question's best hit; see `index.calibrate`."""


@dataclass(frozen=True, eq=False)
class Scope:
    """Which moments may answer."""

    media: str | None = None
    """Only those of such assets; None: all."""
    without: NDArray[np.bool_] | None = None
    """bool [n_assets], true for each asset that is left out; None: none is."""
    between: tuple[float, float] | None = None
    """Only those that share something with [start, stop), in seconds; None: all."""


class MomentList:
    """The moments of one modality in one space. Loads its index when first searched."""

    def __init__(self, folder: Path, entry: ListEntry, media: NDArray[np.str_]) -> None:
        self.entry = entry
        self._folder = folder
        self._media = media
        self._loading = threading.Lock()
        self._index: VectorIndex | None = None

    @cached_property
    def moments(self) -> pa.Table:
        """Return what each row is; memory-mapped."""
        return _read_arrow(self._folder / f"{self.entry.name}.moments.arrow")

    @cached_property
    def asset_rows(self) -> NDArray[np.int32]:
        """Return for each row its asset's row in the generation's assets."""
        return np.asarray(self.moments["asset_row"].to_numpy())

    @cached_property
    def vectors(self) -> NDArray[np.float16]:
        """Return the exact vectors, float16 [N, dim], in row order; memory-mapped."""
        return np.asarray(np.load(self._folder / f"{self.entry.name}.vectors.npy", mmap_mode="r", allow_pickle=False))

    @property
    def index(self) -> VectorIndex:
        """Return the index over the rows."""
        with self._loading:
            if self._index is None:
                self._index = VectorIndex.load(self._folder / f"{self.entry.name}.faiss")
            return self._index

    @cached_property
    def times(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return for each row its start and its stop, in seconds."""
        return self.moments["start_seconds"].to_numpy(), self.moments["stop_seconds"].to_numpy()

    def search(self, vector: NDArray[np.float32], k: int, kind: str, scope: Scope) -> Candidates:
        """Return the k best rows for one question.

        Args:
            vector: float32 [dim], unit norm, in this list's space.
            k: how many at most.
            kind: "words" or "media": which null the scores are held against.
            scope: which rows may answer.
        """
        allowed = self._allowed(scope)
        if allowed is not None and not allowed.any():
            return Candidates(np.empty(0, np.int64), np.empty(0, np.float32))
        found = self.index.search(vector[None], min(k, len(self.index)), allowed)
        keep = found.rows[0] >= 0
        null = self.entry.nulls.get(kind, Null(0.0, 1.0))
        return Candidates(found.rows[0][keep], excess(found.scores[0][keep], null))

    def _allowed(self, scope: Scope) -> NDArray[np.bool_] | None:
        if scope.media is None and scope.without is None and scope.between is None:
            return None
        allowed = np.ones(len(self.asset_rows), bool)
        if scope.media is not None:
            allowed &= (self._media == scope.media)[self.asset_rows]
        if scope.without is not None:
            allowed &= ~scope.without[self.asset_rows]
        if scope.between is not None:
            starts, stops = self.times
            allowed &= (starts < scope.between[1]) & (stops > scope.between[0])
        return allowed

    def assets_with(self, pack: str, offset: int) -> NDArray[np.int32]:
        """Return the rows of the assets whose moments name a picture."""
        thumbs = self.moments["thumb"]
        mine = pc.and_(
            pc.equal(pc.struct_field(thumbs, "pack"), pack), pc.equal(pc.struct_field(thumbs, "offset"), offset)
        )
        rows: NDArray[np.int32] = self.asset_rows[pc.fill_null(mine, False).to_numpy(zero_copy_only=False).astype(bool)]
        return rows

    def row(self, at: int) -> Mapping[str, Any]:
        """Return what a row is, as plain values."""
        described: Mapping[str, Any] = self.moments.slice(at, 1).to_pylist()[0]
        return described


class Generation:
    """One generation, checked against its manifest when it is opened; never changes. Not removed while it is open."""

    def __init__(self, folder: Path) -> None:
        weakref.finalize(self, os.close, reading(folder))
        self.manifest: Manifest = read_manifest(folder)
        self.assets = _read_arrow(folder / "assets.arrow")
        media = np.array(self.assets["media"].to_pylist(), dtype=np.str_)
        self.lists = tuple(MomentList(folder, entry, media) for entry in self.manifest.lists)

    @classmethod
    def in_force(cls, index: Path) -> Generation:
        """Open the generation that is in force; one that is replaced and removed meanwhile is passed over."""
        folder = current(index)
        try:
            return cls(folder)
        except (OSError, RushesError):
            if current(index) == folder:
                raise
            return cls(current(index))

    def rows_among(self, asset_ids: frozenset[str]) -> NDArray[np.bool_] | None:
        """Return bool [n_assets], true for each asset that is among some; None if none is."""
        found = pc.is_in(self.assets["asset_id"], value_set=pa.array(sorted(asset_ids), pa.string()))
        among = found.to_numpy(zero_copy_only=False).astype(bool)
        return among if among.any() else None

    def shows(self, hidden: NDArray[np.bool_], pack: str, offset: int) -> bool:
        """Tell whether a picture is, also or only, one of an asset that is not hidden, or of none in here.

        Args:
            hidden: bool [n_assets].
            pack: where the picture lies.
            offset: where in there.
        """
        whose = np.concatenate([each.assets_with(pack, offset) for each in self.lists] or [np.empty(0, np.int32)])
        return not len(whose) or not hidden[whose].all()

    @cached_property
    def _rows_of_uri(self) -> Mapping[str, list[int]]:
        found: dict[str, list[int]] = {}
        names = zip(self.assets["uris"].to_pylist(), self.assets["locations"].to_pylist(), strict=True)
        for row, (uris, locations) in enumerate(names):
            for name in {*uris, *locations, *(without_endpoint(place).removeprefix("file://") for place in locations)}:
                found.setdefault(name, []).append(row)
        return found

    def rows_of(self, uri: str) -> list[int]:
        """Return the rows of the assets that are called so: by path below the source, full path or location."""
        return self._rows_of_uri.get(uri, [])


def _read_arrow(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
