"""Frames that wait to be handed over: scaled into one array, so that none is copied again."""

from __future__ import annotations

from bisect import bisect_left

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.decode.pixels import Scaler


class Batch:
    """Frames of one shape with their times, rising."""

    def __init__(self, usual_bytes: int) -> None:
        """Prepare.

        Args:
            usual_bytes: what frames are likely to weigh together; there is room for more.
        """
        self.at_seconds: list[float] = []
        self._usual_bytes = usual_bytes
        self._rows: NDArray[np.uint8] | None = None

    @property
    def n_bytes(self) -> int:
        """Return what the frames weigh."""
        return 0 if self._rows is None else len(self.at_seconds) * self._rows[0].nbytes

    def reaches(self, at_seconds: float) -> bool:
        """Tell whether there is a frame of this time or later."""
        return bool(self.at_seconds) and self.at_seconds[-1] >= at_seconds

    def add(self, at_seconds: float, frame: av.VideoFrame, scaler: Scaler) -> None:
        """Scale a frame and keep it, unless it is no later than the last one."""
        n = len(self.at_seconds)
        if n and at_seconds <= self.at_seconds[-1]:
            return
        if self._rows is None:
            self._rows = self._with_room(scaler.scale(frame)[None], 0)
        else:
            if n == len(self._rows):
                self._rows = self._with_room(self._rows, n)
            scaler.scale(frame, self._rows[n])
        self.at_seconds.append(at_seconds)

    def taken(self, before_seconds: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Take out the frames of earlier times, if any; return uint8 [N, H, W, 3] and float64 [N]."""
        n = bisect_left(self.at_seconds, before_seconds)
        if self._rows is None or not n:
            return np.empty((0, 0, 0, 3), np.uint8), np.empty(0)
        rows, self._rows = self._rows, None
        times, left = np.array(self.at_seconds[:n], np.float64), rows[n : len(self.at_seconds)]
        self.at_seconds = self.at_seconds[n:]
        if len(left):
            self._rows = self._with_room(left, len(left))
        return rows[:n], times

    def _with_room(self, rows: NDArray[np.uint8], n_more: int) -> NDArray[np.uint8]:
        """Return an array that begins with these rows and has room for as many as are usual, or so many more."""
        n = max(len(rows) + n_more, self._usual_bytes // rows[0].nbytes + 1)
        roomy = np.empty((n, *rows.shape[1:]), np.uint8)
        roomy[: len(rows)] = rows
        return roomy
