"""Scores that mean the same in every list: how a hit compares with what unrelated questions get there.

Inner products of different spaces do not compare: 0.4 is a fine score between a sentence and a sentence, and a poor one
between two pictures. So each list keeps, for each kind of query, the centre and the spread of the best score that an
unrelated query reaches in it (robustly: median and scaled median deviation, since a few of them do have an answer in
the archive). A hit's score says how far above that it lies: 0.5 is what a question that the archive does not answer
gets for its best hit, 1 is certainty.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from index.generation import Null

LEAST_SPREAD = 0.01
MAD_TO_SIGMA = 1.4826
LOGISTIC = 1.702
"""The logistic curve of this slope is the normal distribution function to within 0.01."""


@cache
def unrelated_questions() -> tuple[str, ...]:
    """Return everyday sentences about all kinds of things: questions that no one archive answers."""
    text = files("index").joinpath("unrelated.txt").read_text("utf8")
    return tuple(line for line in text.splitlines() if line.strip())


def null_of(best_scores: NDArray[np.float32]) -> Null:
    """Return centre and spread of the best scores, float32 [N], that N unrelated queries reached."""
    if not len(best_scores):
        return Null(0.0, 1.0)
    centre = float(np.median(best_scores))
    spread = float(np.median(np.abs(best_scores - centre))) * MAD_TO_SIGMA
    return Null(centre, max(spread, LEAST_SPREAD))


def calibrated(scores: NDArray[np.float32], null: Null) -> NDArray[np.float32]:
    """Map inner products to (0, 1): 0.5 where an unrelated query's best hit lies."""
    z = (scores - null.centre) / null.spread
    return np.asarray(1 / (1 + np.exp(-LOGISTIC * np.clip(z, -30, 30))), np.float32)
