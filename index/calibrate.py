"""Scores that mean the same in every list: how a hit compares with what unrelated questions get there.

Inner products of different spaces do not compare: 0.4 is a fine score between a sentence and a sentence, and a poor one
between two pictures. So each list keeps, for each kind of query, the centre and the spread of the best score that an
unrelated query reaches in it (robustly: median and scaled median deviation, since a few of them do have an answer in
the archive). A hit's score says how far above that it lies: 0.5 is what a question that the archive does not answer
gets for its best hit, 1 is certainty.

What counts as unrelated:

    words to anything      everyday questions about all kinds of things (unrelated.txt)
    words to words         the same, and their best match among each other counts too: in a list of five sentences any
                           one stands out, and that it is the best of five means little
    by example             for a moment of the archive the best of a few moments of other assets, drawn at random: among
                           all of them it might well find the same footage once more
"""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from index.generation import Null

N_SAMPLED = 256
N_OTHERS = 32
LEAST_SPREAD = 0.01
MAD_TO_SIGMA = 1.4826


@cache
def unrelated_questions() -> tuple[str, ...]:
    """Return everyday sentences about all kinds of things: questions that no one archive answers."""
    text = files("index").joinpath("unrelated.txt").read_text("utf8")
    return tuple(line for line in text.splitlines() if line.strip())


def best_of_others(vectors: NDArray[np.float32], groups: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return for a sample of rows the best inner product with a few rows of other groups, drawn at random.

    Args:
        vectors: float32 [N, dim], unit norm.
        groups: integers [N]; rows of the same group are not compared.

    Returns:
        float32 [min(N, N_SAMPLED)]; -inf where all rows that were drawn are of the same group.
    """
    random = np.random.default_rng(0)
    rows = random.permutation(len(vectors))[:N_SAMPLED]
    others = random.integers(0, len(vectors), (len(rows), N_OTHERS))
    products = np.einsum("nd,nkd->nk", vectors[rows], vectors[others])
    best = np.where(groups[others] != groups[rows][:, None], products, -np.inf).max(axis=1)
    return np.asarray(best, np.float32)


def null_of(best_scores: NDArray[np.float32]) -> Null:
    """Return centre and spread of the best scores, float32 [N], that N unrelated queries reached."""
    if not len(best_scores):
        return Null(0.0, 1.0)
    centre = float(np.median(best_scores))
    spread = float(np.median(np.abs(best_scores - centre))) * MAD_TO_SIGMA
    return Null(centre, max(spread, LEAST_SPREAD))


def excess(products: NDArray[np.float32], null: Null) -> NDArray[np.float32]:
    """Return by how many spreads inner products exceed the null's centre; hits are ranked by it: it never ties."""
    return np.asarray((products - null.centre) / null.spread, np.float32)


def score(excess: float) -> float:
    """Map an excess to (0, 1), for people: 0.5 where an unrelated query's best hit lies, 0.95 three spreads above."""
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, excess))))
