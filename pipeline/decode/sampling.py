"""Which frames of a film are kept, and how its shots are divided. Pure functions of times; no media here."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

from pipeline.media import Sampling, Shot

SETTLED_SECONDS = 0.3
"""The first frame of a shot is taken this long after its cut: past compression's worst and a fade's last trace."""
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


class Sampler:
    """Says frame by frame which are kept, and closes shots, from the times of frames and cuts alone."""

    def __init__(self, sampling: Sampling) -> None:
        self._longest = sampling.longest_shot_seconds
        # Half the longest shot at most, so that no part of a divided shot is without a frame.
        self._interval = min(sampling.interval_seconds, sampling.longest_shot_seconds / 2)
        self._start: float | None = None
        self._due = 0.0

    def wants(self, from_seconds: float, to_seconds: float) -> bool:
        """Tell whether to keep the frame that is on display in [from_seconds, to_seconds)."""
        if self._start is None:
            self._start, self._due = from_seconds, from_seconds + SETTLED_SECONDS
        if to_seconds <= self._due:
            return False
        missed = (to_seconds - self._due) // self._interval
        self._due += (missed + 1) * self._interval
        if self._due <= to_seconds:  # the division above rounded down
            self._due += self._interval
        return True

    def cut(self, at_seconds: float, now_seconds: float) -> list[float]:
        """End the shot at a cut that is known now; return the bounds of its parts, or nothing where it is too short."""
        if self._start is None or at_seconds - self._start < SHORTEST_SECONDS:
            return []
        bounds = self.restart(at_seconds)
        self._due = max(self._due, now_seconds)
        return bounds

    def restart(self, at_seconds: float) -> list[float]:
        """End the shot here, however short it is, since the picture's shape changes; return the bounds of its parts."""
        bounds = self.end(at_seconds)
        self._start, self._due = at_seconds, at_seconds + SETTLED_SECONDS
        return bounds

    def grown(self, seen_seconds: float) -> list[float]:
        """Return the bounds of those parts of the running shot that are certain already, if any.

        Args:
            seen_seconds: time of a frame that has a successor, so that the shot is known to go on until then.
        """
        if self._start is None:
            return []
        bounds = [self._start]
        while seen_seconds - bounds[-1] > 2 * self._longest:
            bounds.append(bounds[-1] + self._longest)
        self._start = bounds[-1]
        return bounds if len(bounds) > 1 else []

    def end(self, at_seconds: float) -> list[float]:
        """End the film; return the bounds of the last shot's parts."""
        return [] if self._start is None else divide(self._start, max(at_seconds, self._start), self._longest)
