"""What a threshold on the score would do: which hits of unanswerable questions it drops, and which answers it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from index.measures import Interval, share

THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99, 0.995)


@dataclass(frozen=True)
class Threshold:
    """One point of the curve: what happens when only hits of at least this score are shown."""

    score: float
    false_hits: Interval
    """Share of the questions that nothing answers which still get a hit."""
    lost: Interval
    """Share of the answers among the first ten which are no longer shown."""


def curve(unanswerable: Sequence[float], answered: Sequence[float]) -> tuple[Threshold, ...]:
    """Return the curve; empty where nothing unanswerable was asked.

    Args:
        unanswerable: the best score that each question without an answer got; 0 where it got no hit.
        answered: the scores of the answers that were found among the first ten.
    """
    if not unanswerable:
        return ()
    return tuple(
        Threshold(
            score,
            share([best > 0 and best >= score for best in unanswerable]),
            share([found < score for found in answered]),
        )
        for score in THRESHOLDS
    )
