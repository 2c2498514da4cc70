"""Packets as they come out of a file, gathered into groups of pictures: held back until it is known where each ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from pipeline.decode.sampling import Group

Item = TypeVar("Item")

MOST_PACKETS, MOST_BYTES = 1500, 24_000_000
"""A longer group is handed on in parts, which are decoded one after the other: memory is bounded whatever a film does."""
_REORDERED = 1e-4


@dataclass(frozen=True)
class Arrival(Generic[Item]):
    """A packet of a video stream, as far as planning goes."""

    at_seconds: float
    """When its frame is displayed."""
    seconds: float
    """For how long, if nothing follows."""
    size: int
    is_key: bool
    packet: Item


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
            if arrival.at_seconds < self._next[0].at_seconds - _REORDERED and not arrival.is_key:
                return
            begun, self._next = self._next, []
            yield self._release(begun[0].at_seconds, leads_on=len(begun) > 2)
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
            yield self._release(begun[0].at_seconds, leads_on=len(begun) > 1)
            self._keyed = True
            for waited in begun:
                self._hold(waited)
        if self._held:
            last = max(self._held, key=lambda a: a.at_seconds)
            yield self._release(last.at_seconds + last.seconds)

    def _hold(self, arrival: Arrival[Item]) -> None:
        self._held.append(arrival)
        self._n_bytes += arrival.size

    def _release(
        self, stop_seconds: float, *, goes_on: bool = False, leads_on: bool = False
    ) -> tuple[Group, list[Item]]:
        held, self._held, self._n_bytes = self._held, [], 0
        at = np.array([a.at_seconds for a in held], np.float64)
        sizes = np.array([a.size for a in held], np.int64)
        return Group(at, sizes, stop_seconds, self._keyed, goes_on, leads_on), [a.packet for a in held]
