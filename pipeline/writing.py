"""What is written in a film: which frames are read, and how readings of the same words become one moment.

A caption card, a logo or a name stays on the screen for several frames, and often across cuts. Readers misread a letter
here and there, so readings need to be alike, not equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from itertools import pairwise

from pipeline.media import FrameChunk, Moment, Shot

FRAMES_PER_SHOT = 3
"""Frames of a shot that are read."""
LONGEST_GAP_SECONDS = 1.0
"""A frame that was misread, or a flash, does not make two moments of one."""
LEAST_ALIKE = 0.8
"""Ratio of `difflib.SequenceMatcher`; what is less alike is something else."""
_COMPARED = 400  # characters: the comparison is quadratic


def frames_read(chunk: FrameChunk, shot: Shot) -> list[tuple[int, float, float]]:
    """Return which rows of a chunk are read for a shot, each with the interval that it stands for.

    At most FRAMES_PER_SHOT, evenly; the intervals tile the shot, with borders half-way between frames.
    """
    n = shot.last - shot.first
    rows = sorted({shot.first + (2 * k + 1) * n // (2 * FRAMES_PER_SHOT) for k in range(FRAMES_PER_SHOT)})
    at = [float(chunk.at_seconds[row]) for row in rows]
    inner = [min(max((a + b) / 2, shot.start_seconds), shot.stop_seconds) for a, b in pairwise(at)]
    edges = [shot.start_seconds, *inner, shot.stop_seconds]
    return [(row, *edge) for row, edge in zip(rows, pairwise(edges), strict=True)]


def joined(readings: Sequence[Moment]) -> list[Moment]:
    """Return the readings of one asset with those of the same words, one soon after the other, as one moment.

    It has the words that were read most often, the longer ones among equals, and their vector.
    """
    done: list[list[Moment]] = []
    runs: list[list[Moment]] = []  # that may go on
    for reading in sorted(readings, key=lambda m: (m.start_seconds, m.stop_seconds, m.text)):
        goes_on = [reading.start_seconds - _stop(run) <= LONGEST_GAP_SECONDS for run in runs]
        done += [run for run, may in zip(runs, goes_on, strict=True) if not may]
        runs = [run for run, may in zip(runs, goes_on, strict=True) if may]
        same = next((run for run in reversed(runs) if _alike(run[-1].text, reading.text)), None)
        if same is None:
            runs.append([reading])
        else:
            same.append(reading)
    return [_one(run) for run in [*done, *runs]]


def _stop(run: Sequence[Moment]) -> float:
    return max(m.stop_seconds for m in run)


def _alike(one: str, other: str) -> bool:
    a, b = (" ".join(text.casefold().split())[:_COMPARED] for text in (one, other))
    if a == b:
        return True
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    return matcher.quick_ratio() >= LEAST_ALIKE and matcher.ratio() >= LEAST_ALIKE


def _one(run: Sequence[Moment]) -> Moment:
    often = Counter(m.text for m in run)
    best = max(run, key=lambda m: (often[m.text], len(m.text), m.text))
    return replace(
        best,
        start_seconds=run[0].start_seconds,
        stop_seconds=_stop(run),
        thumb=run[0].thumb,
    )
