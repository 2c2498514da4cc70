"""Vectors and their row numbers in a FAISS index: the only module that knows FAISS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.plan import EXACT_BELOW, Exact, Plan
from pipeline.errors import IntegrityError


@dataclass(frozen=True)
class Neighbours:
    """Answers to N queries, best first."""

    scores: NDArray[np.float32]
    """float32 [N, k], inner products of unit vectors; -inf where fewer than k exist."""
    rows: NDArray[np.int64]
    """int64 [N, k], row numbers in the order in which the vectors were added; -1 where fewer than k exist."""


class VectorIndex:
    """Unit vectors under the inner product; ids are row numbers."""

    def __init__(self, native: Any) -> None:
        self._native = native

    @classmethod
    def build(cls, plan: Plan, vectors: NDArray[np.float32]) -> VectorIndex:
        """Build an index over float32 [N, dim], rows of unit norm."""
        faiss = _faiss()
        dim = vectors.shape[1]
        native: Any
        if isinstance(plan, Exact):
            native = faiss.IndexFlatIP(dim)
        else:
            native = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_fp16, plan.n_links, faiss.METRIC_INNER_PRODUCT)
            native.hnsw.efConstruction = plan.breadth_build
            native.hnsw.efSearch = plan.breadth_search
            native.train(vectors[: min(len(vectors), 1000)])  # fp16 learns nothing; FAISS wants the call
        native.add(np.ascontiguousarray(vectors, np.float32))
        return cls(native)

    def __len__(self) -> int:
        return int(self._native.ntotal)

    @property
    def dim(self) -> int:
        """Return the dimension of the vectors."""
        return int(self._native.d)

    @property
    def breadth(self) -> int | None:
        """How many rows a graph's search keeps in view: more find more, and take longer. None: there is no graph."""
        return int(self._native.hnsw.efSearch) if self._is_graph else None

    @breadth.setter
    def breadth(self, breadth: int) -> None:
        self._native.hnsw.efSearch = breadth

    def search(self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None) -> Neighbours:
        """Return the k nearest rows of each query.

        Args:
            queries: float32 [N, dim], rows of unit norm.
            k: how many, at least 1.
            allowed: bool [len(self)]; only rows where it is true are found. None: all.
        """
        faiss = _faiss()
        parameters = self._parameters()
        if allowed is not None and self._is_graph and allowed.sum() < EXACT_BELOW:
            return self._compare(queries, k, np.flatnonzero(allowed))
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")  # must outlive the search: FAISS keeps a pointer
            parameters.sel = faiss.IDSelectorBitmap(bits)
        scores, rows = self._native.search(np.ascontiguousarray(queries, np.float32), k, params=parameters)
        scores[rows < 0] = -np.inf
        return Neighbours(scores, rows)

    def _compare(self, queries: NDArray[np.float32], k: int, rows: NDArray[np.int64]) -> Neighbours:
        """Compare with a few rows one by one: a graph whose way leads through rows that do not count gets lost."""
        scores = np.full((len(queries), k), -np.inf, np.float32)
        found = np.full((len(queries), k), -1, np.int64)
        if len(rows):
            products = queries @ self._native.reconstruct_batch(rows).T
            best = np.argsort(-products, axis=1, kind="stable")[:, :k]
            scores[:, : best.shape[1]] = np.take_along_axis(products, best, axis=1)
            found[:, : best.shape[1]] = rows[best]
        return Neighbours(scores, found)

    def save(self, path: Path) -> None:
        """Write the index to a file."""
        faiss = _faiss()
        faiss.write_index(self._native, str(path))

    @classmethod
    def load(cls, path: Path) -> VectorIndex:
        """Read an index whose file has been checked against its SHA-256: FAISS itself has no checksum.

        Raises:
            IntegrityError: the file is no index.
        """
        faiss = _faiss()
        try:
            return cls(faiss.read_index(str(path)))
        except RuntimeError as exc:
            raise IntegrityError(f"{path} is no FAISS index; run `rushes index ARCHIVE --rebuild`.") from exc

    @property
    def _is_graph(self) -> bool:
        return hasattr(self._native, "hnsw")

    def _parameters(self) -> Any:
        faiss = _faiss()
        if self._is_graph:
            return faiss.SearchParametersHNSW(efSearch=self._native.hnsw.efSearch)
        return faiss.SearchParameters()


def _faiss() -> Any:
    """Return the library, loaded on first use; its stubs do not know half of it."""
    import faiss

    return faiss
