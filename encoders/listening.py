"""Which stretches of sound a speech model hears at once: windows of one language, cut where nobody speaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.voice import Stretch

WINDOW_SECONDS = 13.0
CONTEXT_SECONDS = 15.0
"""Windows of up to 13 s, filled with silence to 15 s. Whisper was made for 30 s, but so it errs half as often (in 5.3%
of the words of 528 s of English prompts, not 10.6%), for it skips sentences of long windows; and it is faster."""
_GAP_SECONDS = 2.0
_MARGIN_SECONDS = 0.2
_SWITCH_COST = 2.0  # nats; a language that is only guessed, in a second or two, does not interrupt another


@dataclass(frozen=True)
class Window:
    """Neighbouring stretches of one language, in seconds of the sound read."""

    start: float
    stop: float
    language: str
    voiced_seconds: float


def packed(stretches: Sequence[Stretch], languages: Sequence[str], duration: float) -> list[Window]:
    """Join neighbouring stretches of a language into windows of up to WINDOW_SECONDS."""
    windows: list[Window] = []
    for stretch, language in zip(stretches, languages, strict=True):
        start, stop = stretch.seconds
        voiced, start, stop = stop - start, max(0.0, start - _MARGIN_SECONDS), min(duration, stop + _MARGIN_SECONDS)
        if windows and windows[-1].language == language:
            last = windows[-1]
            if stop - last.start <= WINDOW_SECONDS and start - last.stop <= _GAP_SECONDS:
                windows[-1] = Window(last.start, stop, language, last.voiced_seconds + voiced)
                continue
        windows.append(Window(max(start, windows[-1].stop) if windows else start, stop, language, voiced))
    return windows


def main_language(windows: Sequence[Window]) -> str:
    """Return the language that is spoken longest."""
    seconds: Counter[str] = Counter()
    for window in windows:
        seconds[window.language] += round(100 * window.voiced_seconds)
    return max(sorted(seconds), key=seconds.__getitem__)


def batches(windows: Sequence[Window], at_once: int) -> list[list[Window]]:
    """Group windows by language, up to so many at once: a batch has one language, for its words are timed together."""
    found: list[list[Window]] = []
    for language in sorted({window.language for window in windows}):
        same = [window for window in windows if window.language == language]
        found += [same[i : i + at_once] for i in range(0, len(same), at_once)]
    return found


def likeliest_path(scores: NDArray[np.float64], switch_cost: float = _SWITCH_COST) -> list[int]:
    """Return for each of N steps one of K states, so that scores [N, K] minus the cost of switches are greatest."""
    total, came_from = scores[0], []
    for step in scores[1:]:
        best = int(total.argmax())
        stays = total >= total[best] - switch_cost
        came_from.append(np.where(stays, np.arange(len(total)), best))
        total = np.where(stays, total, total[best] - switch_cost) + step
    path = [int(total.argmax())]
    for back in reversed(came_from):
        path.append(int(back[path[-1]]))
    return path[::-1]
