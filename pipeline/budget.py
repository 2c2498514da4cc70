"""How long a run may work, and what that leaves for the nights to come."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from pipeline.timetable import Schedule

GRACE_SECONDS = 60.0
"""So long after the budget is spent, what is running may still end; then it is dropped, and begun again next time."""


@dataclass(frozen=True)
class Budget:
    """Where a run stops cleanly. The default never does."""

    stops_at: datetime | None = None
    """Aware; people read its HH:MM in its own time zone."""
    max_gpu_seconds: float | None = None

    @classmethod
    def of(cls, schedule: Schedule, began: datetime) -> Budget:
        """Return the budget that rushes.toml gives a run that began then (aware)."""
        stops = schedule.stops(began)
        return cls(
            stops_at=stops.astimezone(ZoneInfo(schedule.time_zone)) if stops else None,
            max_gpu_seconds=schedule.max_gpu_hours * 3600 or None,
        )

    def spent(self, now: datetime, gpu_seconds: float) -> str:
        """Return by what the budget is spent, for people; empty while it is not."""
        if self.stops_at is not None and now >= self.stops_at:
            return f"it was {self.stops_at:%H:%M}"
        if self.max_gpu_seconds is not None and gpu_seconds >= self.max_gpu_seconds:
            return f"{self.max_gpu_seconds / 3600:g} GPU hours were used"
        return ""


class Meter:
    """Holds the work of one run against its budget."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.gpu_seconds = 0.0
        self.stopped = ""
        """What ended the run early; empty: nothing has."""
        self._beat_at = time.monotonic()
        self._n_gpus = 0.0
        self._spent_at: float | None = None

    def beat(self, n_gpus: float | None = None) -> None:
        """Count the time since the last beat; so many GPUs are held from now on (None: as many as before)."""
        now = time.monotonic()
        self.gpu_seconds += (now - self._beat_at) * self._n_gpus
        self._beat_at = now
        if n_gpus is not None:
            self._n_gpus = n_gpus

    def may_begin(self) -> bool:
        """Tell whether another file may be begun; a run that asks in vain was stopped by its budget."""
        if reason := self._spent():
            self.stopped = reason
        return not reason

    def must_end(self) -> bool:
        """Tell whether what is still running has to be dropped."""
        reason = self._spent()
        if not reason or self._spent_at is None or time.monotonic() - self._spent_at < GRACE_SECONDS:
            return False
        self.stopped = reason
        return True

    def _spent(self) -> str:
        reason = self.budget.spent(datetime.now(UTC), self.gpu_seconds)
        if reason and self._spent_at is None:
            self._spent_at = time.monotonic()
        return reason


def window_seconds(schedule: Schedule, now: datetime) -> float | None:
    """Return how long the next night's run may work; None where the schedule does not bound it."""
    from cronsim import CronSim

    if not schedule.nightly or not schedule.stop_at:
        return None
    begins = next(CronSim(schedule.nightly, now.astimezone(ZoneInfo(schedule.time_zone))))
    stops = schedule.stops(begins)
    return (stops - begins).total_seconds() if stops else None


def nights_left(left_bytes: int, done_bytes: int, seconds: float, window_seconds: float) -> int | None:
    """Return how many windows the rest needs at the speed so far, at least one; None: nothing was done to judge by.

    Args:
        left_bytes: size of the files that wait.
        done_bytes: size of the files that are done.
        seconds: the time that those took.
        window_seconds: the length of one window.
    """
    if not left_bytes:
        return 0
    if not done_bytes or seconds <= 0 or window_seconds <= 0:
        return None
    return max(1, math.ceil(left_bytes / done_bytes * seconds / window_seconds))
