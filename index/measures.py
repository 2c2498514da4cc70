"""How good answers are, and how sure one can be of it: pure functions over ranks and words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2_000
Z95 = 1.959964


@dataclass(frozen=True)
class Interval:
    """A measured value, and the interval in which the true one lies with 95% confidence."""

    value: float
    low: float
    high: float

    def as_list(self) -> list[float]:
        """Return value, low and high, rounded."""
        return [round(number, 4) for number in (self.value, self.low, self.high)]

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def share(right: Sequence[bool]) -> Interval:
    """Return which share is true, with Wilson's interval: it holds for few of them, and for all or none."""
    n = len(right)
    if not n:
        return Interval(0.0, 0.0, 1.0)
    p = sum(right) / n
    centre = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    reach = Z95 / (1 + Z95**2 / n) * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
    return Interval(p, max(0.0, centre - reach), min(1.0, centre + reach))


def resampled(
    values: Sequence[float] | NDArray[np.floating], of: Callable[..., NDArray[np.floating]], seed: int = 0
) -> Interval:
    """Return a statistic with its bootstrap interval: the values are drawn again and again, with replacement.

    Args:
        values: float [N, …], at least one.
        of: the statistic, such as `np.mean` or `np.median`; takes `axis`.
        seed: of the draws; the same one gives the same interval.
    """
    drawn, random = np.asarray(values, np.float64), np.random.default_rng(seed)
    n = len(drawn)
    again = [of(drawn[random.integers(0, n, n)], axis=0) for _ in range(RESAMPLES)]
    low, high = np.percentile(again, [2.5, 97.5])
    return Interval(float(of(drawn, axis=0)), float(low), float(high))


def ndcg(ranks: Sequence[int | None], k: int) -> float:
    """Return the normalised discounted cumulative gain of one question's answers.

    Args:
        ranks: for each answer there is, its rank from 1; None: it was not found.
        k: only so many hits count.
    """
    ideal = sum(1 / math.log2(1 + rank) for rank in range(1, min(len(ranks), k) + 1))
    found = sum(1 / math.log2(1 + rank) for rank in sorted({r for r in ranks if r is not None and r <= k}))
    return found / ideal if ideal else 0.0


def word_errors(truth: Sequence[str], heard: Sequence[str]) -> int:
    """Return how many words must be replaced, added or removed to make what was heard true."""
    numbers = {word: n for n, word in enumerate(dict.fromkeys((*truth, *heard)))}
    columns = np.array([numbers[word] for word in heard], np.int64)
    steps = np.arange(len(heard) + 1)
    row = steps.copy()
    for n, word in enumerate(truth, 1):
        kept = row[:-1] + (columns != numbers[word])
        best = np.minimum(row + 1, np.concatenate([[n], kept]))
        row = np.minimum.accumulate(best - steps) + steps  # words that were added, from left to right
    return int(row[-1])
