"""How many of the ten true best rows a list's index finds, for each kind of query, held against an exact search.

Questions lie elsewhere than what is stored: an index that finds a stored picture's neighbours may lose those of a
sentence. So every build asks each list with samples of all that it will be asked with, sets a graph's breadth of search
by the kind that fares worst, and writes what it saw into the manifest; a list below the floor is not published.

    words     the unrelated questions, and words of the archive itself: what is said in it, and what is seen
    media     stored moments, drawn evenly over assets; each is asked of the other assets, as `recommend` does
    visual, audio    in scenes: stored moments as a picture or a sound that is asked with, alone
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from encoders.spec import Vectors
from index.generation import Breadth, Recall
from index.vector_index import VectorIndex

K = 10
FLOOR = 0.95
N_QUERIES = 256
"""Of each kind that is stored: on a million rows the exact search for them takes a few seconds."""
N_TEXTS, LONGEST = 64, 12
"""Texts of the archive, beside the unrelated questions, and how many words of each: they need to be encoded."""
BREADTHS = (64, 128, 256, 512, 1024, 2048, 4096)
"""Breadths of a graph's search, tried in this order until one reaches the floor for every kind of query."""
TIE = 2.5e-4
"""Inner products this close are equal: it is what float16 rounds off."""
ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class Sample:
    """Queries of one kind, and what there is to find."""

    kind: str
    queries: Vectors
    """float32 [N, dim], unit norm."""
    own: NDArray[np.int32]
    """int32 [N], the asset whose rows do not count for a query; -1: all do."""
    n_best: NDArray[np.int64]
    """int64 [N], how many rows are to be found: ten, or all there are."""
    least: NDArray[np.float32]
    """float32 [N], the inner product of the last of them."""


class Oracle:
    """The exact vectors of a list: they say what its index should find."""

    def __init__(self, vectors: NDArray[np.floating], asset_rows: NDArray[np.integer]) -> None:
        """Take float [N, dim], rows of unit norm, and for each row its asset, integer [N]."""
        self._vectors = vectors
        self._asset_rows = asset_rows

    def sample(self, kind: str, queries: Vectors, own: NDArray[np.integer] | None = None) -> Sample:
        """Return queries, float32 [N, dim], with what an exact search finds; those that have nothing to find go.

        Args:
            kind: what they are.
            queries: unit vectors.
            own: integer [N], the asset whose rows do not count for a query; -1, or None for all: every row counts.
        """
        own = np.full(len(queries), -1, np.int32) if own is None else own.astype(np.int32)
        best = np.full((len(queries), K), -np.inf, np.float32)
        for at in range(0, len(self._vectors), ROWS_AT_ONCE):
            block = np.asarray(self._vectors[at : at + ROWS_AT_ONCE], np.float32)
            products = queries @ block.T
            products[own[:, None] == self._asset_rows[None, at : at + ROWS_AT_ONCE]] = -np.inf
            best = -np.sort(-np.concatenate([best, _largest(products)], axis=1), axis=1)[:, :K]
        n_best = np.isfinite(best).sum(axis=1)
        some = n_best > 0
        least = best[np.arange(len(best)), np.maximum(n_best, 1) - 1]
        return Sample(kind, queries[some], own[some], n_best[some], least[some])

    def stored(self, kind: str = "media") -> Sample:
        """Return stored vectors as queries, each asked of other assets."""
        rows = evenly(self._asset_rows, N_QUERIES)
        return self.sample(kind, np.asarray(self._vectors[rows], np.float32), self._asset_rows[rows])

    def recall(self, index: VectorIndex, sample: Sample) -> Recall:
        """Return how many of the ten true best an index finds, as a mean over the queries; asked one at a time."""
        k, seconds, found = min(K, len(index)), 0.0, []
        for query, own in zip(sample.queries, sample.own, strict=True):
            allowed = None if own < 0 else self._asset_rows != own
            began = time.perf_counter()
            found.append(index.search(query[None], k, allowed).rows)
            seconds += time.perf_counter() - began
        rows = np.concatenate(found)
        vectors = np.asarray(self._vectors[np.maximum(rows, 0)], np.float32)
        right = (rows >= 0) & (np.einsum("nd,nkd->nk", sample.queries, vectors) >= sample.least[:, None] - TIE)
        share = float(np.mean(np.minimum(right.sum(axis=1) / sample.n_best, 1.0)))
        return Recall(round(share, 4), len(rows), round(1000 * seconds / len(rows), 3))


def measure(
    index: VectorIndex, oracle: Oracle, samples: Sequence[Sample]
) -> tuple[Mapping[str, Recall], tuple[Breadth, ...]]:
    """Return recall by kind of query, and which breadths were tried for it; leaves a graph at the last of them.

    A graph's search is made broader until every kind reaches the floor, or the last breadth is reached.
    """
    samples = [sample for sample in samples if len(sample.queries)]
    if index.breadth is None or not samples:
        return {sample.kind: oracle.recall(index, sample) for sample in samples}, ()
    tried: list[Breadth] = []
    recalls: dict[str, Recall] = {}
    for breadth in BREADTHS:
        index.breadth = breadth
        recalls = {sample.kind: oracle.recall(index, sample) for sample in samples}
        worst = min(recalls.values(), key=lambda recall: recall.share)
        tried.append(Breadth(breadth, worst.share, worst.milliseconds))
        if worst.share >= FLOOR:
            break
    return recalls, tuple(tried)


def words_of(moments: pa.Table) -> list[str]:
    """Return what is said, written or seen in a sample of moments, as briefly as one asks: the archive has answers."""
    assets = moments["asset_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    rows = np.sort(evenly(assets, 8 * N_TEXTS))
    described = moments.select(["text", "labels"]).take(rows).to_pylist()
    texts = [row["text"] or next((label["name"] for label in row["labels"] or ()), "") for row in described]
    brief = dict.fromkeys(" ".join(text.split()[:LONGEST]) for text in texts)
    brief.pop("", None)
    return [str(words) for words in np.random.default_rng(0).permutation(list(brief))[:N_TEXTS]]


def evenly(groups: NDArray[np.generic], n: int) -> NDArray[np.int64]:
    """Return n row numbers (or all there are), drawn at random and evenly over groups: one of each before a second."""
    drawn = np.random.default_rng(0).permutation(len(groups))
    _, codes = np.unique(groups[drawn], return_inverse=True)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    turn = np.empty(len(groups), np.int64)  # how many rows of the same group were drawn before
    turn[order] = np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups)))
    return np.asarray(drawn[np.argsort(turn, kind="stable")[:n]], np.int64)


def _largest(products: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the K largest of each row, in any order."""
    if products.shape[1] <= K:
        return products
    return np.partition(products, -K, axis=1)[:, -K:]
