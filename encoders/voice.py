"""Where somebody speaks: the Silero voice detector that faster-whisper brings, and the stretches that it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 16000
FRAME_SAMPLES = 512
FRAME_SECONDS = FRAME_SAMPLES / RATE_HZ
CERTAIN = 0.9
"""What a stretch has to reach somewhere to be speech: speech peaks above 0.96, animals were below 0.82."""
BEGINS_AT, ENDS_BELOW = 0.5, 0.35
"""A stretch begins at the one probability and lasts until the other; that it is lower keeps soft syllables inside."""


@dataclass(frozen=True)
class Stretch:
    """A half-open interval [start, stop) of frames in which somebody speaks, and how sure the best of them is."""

    start: int
    stop: int
    peak: float

    @property
    def seconds(self) -> tuple[float, float]:
        """Start and stop in seconds."""
        return self.start * FRAME_SECONDS, self.stop * FRAME_SECONDS


def voice_probabilities(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return for each frame of FRAME_SAMPLES the probability that somebody speaks.

    Args:
        samples: float32 [T], mono, in [-1, 1], at RATE_HZ.

    Returns:
        float32 [T / FRAME_SAMPLES, rounded up].
    """
    if not len(samples):
        return np.zeros(0, np.float32)
    padded = np.pad(samples, (0, -len(samples) % FRAME_SAMPLES))  # a copy, for the detector writes into what it gets
    return np.asarray(_detector()(padded), np.float32).reshape(-1)


def find_speech(
    probabilities: NDArray[np.float32], *, pause_seconds: float = 0.35, longest_seconds: float = 12.0
) -> list[Stretch]:
    """Return the stretches in which somebody speaks, in order.

    Args:
        probabilities: float32 [frames], of `voice_probabilities`.
        pause_seconds: silence that ends a stretch.
        longest_seconds: a longer stretch is cut where, in its later half, a voice is least likely.
    """
    pause, longest = round(pause_seconds / FRAME_SECONDS), round(longest_seconds / FRAME_SECONDS)
    voiced = np.flatnonzero(_hysteresis(probabilities))
    if not len(voiced):
        return []
    found = []
    for run in np.split(voiced, np.flatnonzero(np.diff(voiced) > pause) + 1):
        start, stop = int(run[0]), int(run[-1]) + 1
        while stop - start > longest:
            cut = start + longest // 2 + int(probabilities[start + longest // 2 : start + longest].argmin())
            found.append(Stretch(start, cut, float(probabilities[start:cut].max())))
            start = cut
        found.append(Stretch(start, stop, float(probabilities[start:stop].max())))
    return found


def _hysteresis(probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Mark the runs of frames that stay at ENDS_BELOW or above and somewhere reach BEGINS_AT."""
    kept = probabilities >= ENDS_BELOW
    edges = np.flatnonzero(np.diff(kept, prepend=False, append=False))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        kept[start:stop] = bool((probabilities[start:stop] >= BEGINS_AT).any())
    return kept


def _detector() -> Any:
    from faster_whisper.vad import get_vad_model

    return get_vad_model()  # the same one for the whole process
