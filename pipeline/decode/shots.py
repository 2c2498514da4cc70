"""How a film is divided into shots, from the times of its frames and cuts alone. Pure functions; no media here."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

from pipeline.media import Shot

SHORTEST_SECONDS = 0.5
"""A cut that follows another sooner is not one that a person would search for."""


def divide(start_seconds: float, stop_seconds: float, longest_seconds: float) -> list[float]:
    """Return the bounds of the parts of one shot, first and last included; no part is longer than `longest_seconds`.

    Up to twice the longest, the parts are equal; beyond that, whole longest parts come first, so that a shot without
    end (a static camera) can be divided before its end is known.
    """
    bounds = [start_seconds]
    while stop_seconds - bounds[-1] > 2 * longest_seconds:
        bounds.append(bounds[-1] + longest_seconds)
    if stop_seconds - bounds[-1] > longest_seconds:
        bounds.append((bounds[-1] + stop_seconds) / 2)
    return [*bounds, stop_seconds]


def shots_of(bounds: Sequence[float], at_seconds: Sequence[float]) -> list[Shot]:
    """Return the shots between bounds, each with its rows of the frames.

    A part without a frame belongs to the shot before it, whose last frame stays on display; at the start, to the next.

    Args:
        bounds: rising; the first is at or before the first frame's time.
        at_seconds: rising; at least one.
    """
    shots: list[Shot] = []
    for stop in bounds[1:]:
        first = shots[-1].last if shots else 0
        last = bisect_left(at_seconds, stop)
        if last > first:
            shots.append(Shot(shots[-1].stop_seconds if shots else bounds[0], stop, first, last))
        elif shots:
            shots[-1] = replace(shots[-1], stop_seconds=stop)
    if not shots or shots[-1].last < len(at_seconds):  # a frame at the very end
        begun = shots.pop() if shots else Shot(bounds[0], bounds[-1], 0, 0)
        shots.append(replace(begun, last=len(at_seconds)))
    return shots


class Divider:
    """Closes shots as their cuts become known, and parts of long ones before."""

    def __init__(self, longest_seconds: float) -> None:
        self._longest = longest_seconds
        self.start_seconds: float | None = None
        """Where the running shot, or the part of it that is not closed yet, begins; None before the first frame."""

    def begin(self, at_seconds: float) -> None:
        """Begin the first shot, unless one runs."""
        if self.start_seconds is None:
            self.start_seconds = at_seconds

    def cut(self, at_seconds: float) -> list[float]:
        """End the shot at a cut; return the bounds of its parts, or nothing where it would be too short."""
        if self.start_seconds is None or at_seconds - self.start_seconds < SHORTEST_SECONDS:
            return []
        return self.restart(at_seconds)

    def restart(self, at_seconds: float) -> list[float]:
        """End the shot here, however short it is, since the picture's shape changes; return the bounds of its parts."""
        bounds = self.end(at_seconds)
        self.start_seconds = at_seconds
        return bounds

    def grown(self, seen_seconds: float) -> list[float]:
        """Return the bounds of those parts of the running shot that are certain already, if any.

        Args:
            seen_seconds: time of a frame that has a successor, so that the shot is known to go on until then.
        """
        if self.start_seconds is None:
            return []
        bounds = [self.start_seconds]
        while seen_seconds - bounds[-1] > 2 * self._longest:
            bounds.append(bounds[-1] + self._longest)
        self.start_seconds = bounds[-1]
        return bounds if len(bounds) > 1 else []

    def end(self, at_seconds: float) -> list[float]:
        """End the film; return the bounds of the last shot's parts."""
        start = self.start_seconds
        return [] if start is None else divide(start, max(at_seconds, start), self._longest)
