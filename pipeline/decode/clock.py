"""One steady clock out of a stream's time stamps: true presentation times, without the leaps of broken ones."""

from __future__ import annotations

_LEAP_SECONDS = 3600.0
"""A larger step in the time stamps is a broken clock, not a pause."""


class Clock:
    """Turns time stamps into seconds of the asset, which start at zero and never leap."""

    def __init__(self, origin_seconds: float, usual_seconds: float, slack_seconds: float = 1.0) -> None:
        """Prepare.

        Args:
            origin_seconds: the time stamp that is the asset's time zero.
            usual_seconds: from one stamp to the next, where there is none.
            slack_seconds: how far a stamp may lie before the last one: frames are coded out of their order.
        """
        self._origin, self._usual, self._slack = origin_seconds, usual_seconds, slack_seconds
        self._last: float | None = None

    def reach(self, at_seconds: float) -> None:
        """Go on from here: what comes next was sought in the middle of the file."""
        self._last = at_seconds

    def seconds(self, stamp_seconds: float | None) -> float:
        """Return the time of a stamp; below zero for what comes before the asset's start.

        Args:
            stamp_seconds: as the file says, or None where it says nothing.
        """
        last = self._last
        if stamp_seconds is None:
            at = 0.0 if last is None else last + self._usual
        else:
            at = stamp_seconds - self._origin
            expected = 0.0 if last is None else last + self._usual
            leaps = abs(at) >= _LEAP_SECONDS if last is None else not -self._slack <= at - last <= _LEAP_SECONDS
            if leaps:
                self._origin += at - expected
                at = expected
        self._last = at if last is None else max(at, last)
        return at
