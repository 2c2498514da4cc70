"""Packets as they come out of a file, gathered into groups of pictures: held back until it is known where each ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.clock import Clock

Item = TypeVar("Item")

MOST_PACKETS, MOST_BYTES = 1500, 24_000_000
"""A longer group is handed on in parts, which are decoded one after the other: memory is bounded for any film."""
_EPSILON = 1e-4
_REORDERED_FRAMES = 16
"""The most by which frames are coded out of order."""
_MOST_LEADING = 2 * _REORDERED_FRAMES
"""More packets after a key frame are not held back as frames that are displayed before it: their stamps are broken."""


@dataclass(frozen=True)
class Group:
    """The packets from one key frame to the next, in the order of decoding."""

    at_seconds: NDArray[np.float64]
    """float64 [N], presentation times; the key frame's first."""
    sizes: NDArray[np.int64]
    """int64 [N], bytes."""
    stop_seconds: float
    """When the next group's key frame is displayed, or the film ends."""
    keyed: bool = True
    """False: this goes on with a group that was too long to be held; it cannot be entered here."""
    goes_on: bool = False
    """The next one goes on with this one."""
    closes: bool = False
    """What comes next is not compared with it: the film, or a piece of it, ends here."""
    lead_seconds: float = float("inf")
    """From when frames are displayed that are coded after the next group's key frame, and need this group too."""

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Return the rows in the order of display; int64 [N]."""
        return np.argsort(self.at_seconds, kind="stable")

    @property
    def n_leading(self) -> int:
        """Return how many frames of it are displayed before its key frame; they follow the key frame directly."""
        return int((self.at_seconds < self.at_seconds[0] - _EPSILON).sum()) if self.keyed else 0

    @property
    def leading(self) -> Group:
        """Return the key frame and those frames, as the end of what comes before them."""
        n = self.n_leading + 1
        return Group(self.at_seconds[:n], self.sizes[:n], float(self.at_seconds[0]))


class Arrival(NamedTuple, Generic[Item]):
    """A packet of a video stream, as far as planning goes."""

    at_seconds: float
    """When its frame is displayed."""
    seconds: float
    """For how long, if nothing follows."""
    size: int
    is_key: bool
    packet: Item


class Arrivals:
    """Reads a stream's packets as arrivals, on one steady clock."""

    def __init__(
        self,
        tick_seconds: float,
        frames_per_second: float,
        origin_seconds: float,
        longest: float,
        *,
        enters: bool = True,
    ) -> None:
        """Prepare.

        Args:
            tick_seconds: the unit of the stream's time stamps.
            frames_per_second: on average.
            origin_seconds: the time stamp that is the asset's time zero.
            longest: seconds for which a frame is taken to be displayed at most.
            enters: False: only the first key frame is one.
        """
        self._tick, self._usual, self._longest = tick_seconds, 1 / frames_per_second, longest
        self._enters, self._entered = enters, False
        self.clock = Clock(origin_seconds, self._usual, max(1.0, _REORDERED_FRAMES * self._usual))

    def of(self, packet: Any) -> Arrival[Any]:
        """Return a packet as an arrival."""
        stamp, duration = packet.pts, packet.duration
        if stamp is None:
            stamp = packet.dts
        at = self.clock.seconds(None if stamp is None else stamp * self._tick)
        seconds = min(duration * self._tick if duration else self._usual, self._longest)
        is_key = packet.is_keyframe and (self._enters or not self._entered)
        self._entered |= is_key
        return Arrival(at, seconds, packet.size, is_key, packet)


class Grouper(Generic[Item]):
    """Gathers packets into groups."""

    def __init__(self) -> None:
        self._held: list[Arrival[Item]] = []
        self._keyed = False
        self._n_bytes = 0
        self._next: list[Arrival[Item]] = []
        """The next group's key frame, and what was coded directly after it and is displayed before it."""

    def push(self, arrival: Arrival[Item]) -> Iterator[tuple[Group, list[Item]]]:
        """Take the next packet in the order of decoding; yield a group that is complete, with its packets."""
        if self._next:
            self._next.append(arrival)
            leads = arrival.at_seconds < self._next[0].at_seconds - _EPSILON and len(self._next) <= _MOST_LEADING
            if leads and not arrival.is_key:
                return
            begun, self._next = self._next, []
            yield self._release(begun[0].at_seconds, leading=begun[1:-1])
            self._keyed = True
            for waited in begun[:-1]:
                self._hold(waited)
            if not arrival.is_key:
                self._hold(arrival)
            else:
                self._next = [arrival]
        elif arrival.is_key and self._held:
            self._next = [arrival]
        else:
            if not self._held:
                self._keyed = self._keyed or arrival.is_key
            self._hold(arrival)
            if len(self._held) >= MOST_PACKETS or self._n_bytes >= MOST_BYTES:
                stop = max(a.at_seconds for a in self._held) + arrival.seconds
                yield self._release(stop, goes_on=True)
                self._keyed = False

    def finish(self) -> Iterator[tuple[Group, list[Item]]]:
        """Yield what is left."""
        if self._next:
            begun, self._next = self._next, []
            yield self._release(begun[0].at_seconds, leading=begun[1:])
            self._keyed = True
            for waited in begun:
                self._hold(waited)
        if self._held:
            last = max(self._held, key=lambda a: a.at_seconds)
            yield self._release(last.at_seconds + last.seconds, closes=True)

    def _hold(self, arrival: Arrival[Item]) -> None:
        self._held.append(arrival)
        self._n_bytes += arrival.size

    def _release(
        self,
        stop_seconds: float,
        *,
        goes_on: bool = False,
        closes: bool = False,
        leading: Sequence[Arrival[Item]] = (),
    ) -> tuple[Group, list[Item]]:
        held, self._held, self._n_bytes = self._held, [], 0
        at = np.array([a.at_seconds for a in held], np.float64)
        sizes = np.array([a.size for a in held], np.int64)
        lead_seconds = min((a.at_seconds for a in leading), default=float("inf"))
        return Group(at, sizes, stop_seconds, self._keyed, goes_on, closes, lead_seconds), [a.packet for a in held]
