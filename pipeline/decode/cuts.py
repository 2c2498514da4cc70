"""Where a film is cut, from a tiny signature of each decoded frame. Pure functions of times and signatures.

Two pictures of one shot correlate, whatever moves in them; two pictures of different shots do not, however alike their
colours are. So the change between two frames is one minus the correlation of their small pictures, plus a share of how
much their histograms differ. On slides over a plain ground a cut scores 0.4 and more, an animation film 0.8; a
static camera stays under 0.05, a hand-held one that shakes at two frames a second under 0.23.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

ROWS, COLUMNS = 9, 16
"""Blocks of a signature."""
SAMPLES = 4
"""Luma samples to the side of a block; their mean takes the noise out."""

_MEANS = np.repeat(np.eye(COLUMNS, dtype=np.float32), SAMPLES, axis=0) / SAMPLES**2
"""float32 [COLUMNS * SAMPLES, COLUMNS]: sums of columns of samples → means of blocks."""

_CUT = 0.33
_SUREST = 0.75
"""However lively a shot is, a change of this size is a cut."""
_LIVELIER = 1.8
"""A cut changes the picture this many times more than what went on before."""
_FADE, _QUIET, _BUSY = 0.5, 0.02, 0.06
"""A fade changes half the picture in all, one of its steps this much, the step before and the one after hardly any."""
_STEP_SECONDS = 0.2
"""A picture that comes back sooner after a change was a flash; also the spacing of the memory for fades."""
_HALF_LIFE_SECONDS = 0.5
_FADE_STEPS = (3, 6, 10)
"""Lengths of the fades looked for, in steps."""


@dataclass(frozen=True)
class Signature:
    """What cut detection keeps of a frame."""

    blocks: NDArray[np.float32]
    """float32 [3, ROWS, COLUMNS]: mean luma of each block, two chroma samples; in [0, 255]."""
    histogram: NDArray[np.float32]
    """float32 [16], of luma, sums to 1."""
    shape: NDArray[np.float32] = field(init=False)
    """float32 [3 * ROWS * COLUMNS]: the blocks without their means."""
    energy: float = field(init=False)

    def __post_init__(self) -> None:
        planes = self.blocks.reshape(3, -1)
        shape = (planes - np.add.reduce(planes, 1, keepdims=True) / planes.shape[1]).ravel()
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "energy", float(shape @ shape))


def signature(luma: NDArray[np.uint8], chroma: NDArray[np.uint8]) -> Signature:
    """Make a frame's signature.

    Args:
        luma: uint8 [ROWS * SAMPLES, COLUMNS * SAMPLES], samples of the picture on an even grid.
        chroma: uint8 [2, ROWS, COLUMNS].
    """
    blocks = np.empty((3, ROWS, COLUMNS), np.float32)
    blocks[0] = luma.reshape(ROWS, SAMPLES, -1).sum(1, dtype=np.uint16) @ _MEANS
    blocks[1:] = chroma
    histogram = np.bincount(luma.ravel() >> 4, minlength=16) / np.float32(luma.size)
    return Signature(blocks, histogram.astype(np.float32))


def change(a: Signature, b: Signature) -> float:
    """Return how much of the picture changed from one frame to another: 0 nothing, 1 everything, up to 2.25."""
    difference = float(np.abs(a.blocks - b.blocks).sum()) / (ROWS * COLUMNS)
    if difference < 4:  # grey levels, over luma and both chroma: too dark or too little to see
        return 0.0
    flat = ROWS * COLUMNS * 4.0  # energy of a deviation of two grey levels: a plain ground has no shape to correlate
    if a.energy < flat and b.energy < flat:
        likeness = 1.0 if difference < 10 else 0.0
    else:
        likeness = float(a.shape @ b.shape) / max((a.energy * b.energy) ** 0.5, flat)
    return 1 - likeness + 0.125 * float(np.abs(a.histogram - b.histogram).sum())


class CutDetector:
    """Tells, frame by frame, where the shots of one film begin.

    A hard cut is known a fifth of a second after it, when the old picture has not come back; a fade when it is over.
    """

    def __init__(self) -> None:
        self._last: tuple[float, Signature] | None = None
        self._pending: tuple[float, Signature] | None = None
        self._level = 0.0
        self._steps: deque[tuple[float, Signature, float]] = deque(maxlen=_FADE_STEPS[-1] + 2)

    def push(self, at_seconds: float, frame: Signature, *, dense: bool = True) -> float | None:
        """Take the next frame; return the time of the first frame of a new shot, once one is certain.

        Args:
            at_seconds: when it is displayed.
            frame: what it looks like.
            dense: False: frames before it were left out, so that it is compared with the last one alone.
        """
        if self._last is None:
            self._last = (at_seconds, frame)
            return None
        if not dense:
            return self._after_gap(at_seconds, frame)
        (before, old), self._last = self._last, (at_seconds, frame)
        cut = self._hard(before, old, at_seconds, frame)
        if cut is not None:
            self._steps.clear()
            return cut
        return None if self._pending else self._faded(at_seconds, frame)

    def differs(self, frame: Signature) -> bool:
        """Tell whether a frame shows something else than the last one."""
        return self._last is not None and change(self._last[1], frame) > _CUT

    def finish(self) -> float | None:
        """Return the cut that the film ended too early to make certain, if there is one."""
        return self._pending[0] if self._pending else None

    def _after_gap(self, at_seconds: float, frame: Signature) -> float | None:
        """Compare a frame with the last one before it that was seen."""
        pending, differs = self._pending, self.differs(frame)
        if pending is not None and change(pending[1], frame) < _CUT:
            pending, differs = None, False  # a flash: the old picture is back
        self._last, self._pending, self._level = (at_seconds, frame), None, 0.0
        self._steps.clear()
        if differs:
            return at_seconds
        return pending[0] if pending else None

    def _hard(self, before: float, old: Signature, now: float, frame: Signature) -> float | None:
        certain = None
        if self._pending is not None:
            at, kept = self._pending
            if now - at < _STEP_SECONDS:
                if change(kept, frame) < _CUT:
                    self._pending = None  # a flash: the old picture is back
                return None
            certain, self._pending, self._level = at, None, 0.0
        changed = change(old, frame)
        if changed > min(max(_CUT, _LIVELIER * self._level), _SUREST):
            self._pending = (now, old)
        else:
            self._level = max(self._level * 0.5 ** ((now - before) / _HALF_LIFE_SECONDS), changed)
        return certain

    def _faded(self, now: float, frame: Signature) -> float | None:
        """Look for a slow change between two quiet pictures that is much quicker than what went on before and after."""
        if self._steps and now - self._steps[-1][0] < _STEP_SECONDS:
            return None
        step = change(self._steps[-1][1], frame) if self._steps else 0.0
        self._steps.append((now, frame, step))
        if step > _QUIET:
            return None
        steps = list(self._steps)
        for length in _FADE_STEPS:
            if len(steps) < length + 2:
                return None
            old, before = steps[-1 - length][1:]
            busiest = max(s for _, _, s in steps[-length:])
            if before <= _QUIET and busiest >= _BUSY and change(old, frame) > _FADE:
                self._steps.clear()
                return next(t for t, s, _ in steps[-length:] if change(s, frame) <= change(old, s))
        return None
