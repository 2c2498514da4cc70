"""Which frames need not be decoded: those that no other frame refers to, where nobody would miss them.

A decoder can leave out such frames by itself (`skip_frame`), which halves the work on most films. It must not where a
frame stays on display (slides, screen recordings), nor around a cut, or the cut would be found a few frames late.
Both can be told from the packets alone: their time stamps, and their sizes, since the frame after a cut is large.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")

LONGEST_SECONDS = 0.055
"""A frame that is displayed longer is decoded: below 20 frames a second, or where a picture is held."""
_AHEAD = 16
"""Packets looked ahead: the most by which frames are out of order."""
_MEMORY = 48
_LARGER = 2.0
"""A packet so many times larger than most before it may follow a cut."""


class Skimmer(Generic[Item]):
    """Holds packets back for a moment and says of each whether its frame may be left out."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, int, Item]] = deque()
        self._times: list[float] = []
        self._sizes: deque[int] = deque(maxlen=_MEMORY)
        self._whole_until = float("-inf")

    def push(self, at_seconds: float, size: int, packet: Item) -> Iterator[tuple[Item, bool]]:
        """Take the next packet in the order of decoding; yield packets that are due, and whether each may be skimmed.

        Args:
            at_seconds: its presentation time.
            size: its bytes.
            packet: given back later.
        """
        self._waiting.append((at_seconds, size, packet))
        insort(self._times, at_seconds)
        if len(self._waiting) > _AHEAD:
            yield self._next()

    def finish(self) -> Iterator[tuple[Item, bool]]:
        """Yield the packets that still wait."""
        while self._waiting:
            yield self._next()

    def _next(self) -> tuple[Item, bool]:
        at_seconds, size, packet = self._waiting.popleft()
        if len(self._times) > 4 * _AHEAD:
            del self._times[:_AHEAD]
        after = bisect_right(self._times, at_seconds)
        shown = self._times[after] - at_seconds if after < len(self._times) else float("inf")
        usual = sorted(self._sizes)[3 * len(self._sizes) // 4] if self._sizes else 0
        if size > _LARGER * usual:  # its frame may begin a shot: those displayed just before it come now
            self._whole_until = max(self._whole_until, at_seconds)
        self._sizes.append(size)
        return packet, shown <= LONGEST_SECONDS and at_seconds > self._whole_until
