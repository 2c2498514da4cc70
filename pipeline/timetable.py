"""When an archive is worked on, where, and for how long: the tables of rushes.toml that `rushes up` goes by."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_ENDPOINT = re.compile(r"[^\s:/]+:\d{1,5}")


@dataclass(frozen=True)
class Schedule:
    """[schedule]: the nightly run, its window, and what comes first in it."""

    nightly: str = "0 1 * * *"
    """Cron, in `time_zone`; empty: never."""
    time_zone: str = "UTC"
    """An IANA name, such as Europe/Zurich."""
    stop_at: str = ""
    """Time of day, HH:MM in `time_zone`, at which a run stops cleanly; empty: it runs to its end."""
    max_gpu_hours: float = 0.0
    """GPU hours after which a run stops cleanly; 0: no limit."""
    first: tuple[str, ...] = ()
    """Patterns of paths below their source, as in `news/*`; matching files are processed first, in this order."""

    def __post_init__(self) -> None:
        """Refuse what cannot be; the message names the field, its value and the cure."""
        if self.nightly and not _is_cron(self.nightly):
            raise ValueError(f'nightly = {self.nightly!r} is no cron line; write five fields, such as "0 1 * * *".')
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
            raise ValueError(f"time_zone = {self.time_zone!r} is not known; write one such as Europe/Zurich.") from exc
        if self.stop_at and not _CLOCK.fullmatch(self.stop_at):
            raise ValueError(f'stop_at = {self.stop_at!r} is no time of day; write it as "06:00".')
        if not 0 <= self.max_gpu_hours < float("inf"):
            raise ValueError(f"max_gpu_hours = {self.max_gpu_hours} needs to be 0 (no limit) or more.")

    def stops(self, began: datetime) -> datetime | None:
        """Return when a run that began then (aware) has to stop: the next `stop_at` after it; None: never."""
        if not self.stop_at:
            return None
        hour, minute = (int(part) for part in self.stop_at.split(":"))
        zone = ZoneInfo(self.time_zone)
        local = began.astimezone(zone)
        at = datetime.combine(local.date(), time(hour, minute), zone)
        if at.astimezone(UTC) <= began.astimezone(UTC):  # compared in UTC: clocks that are put back repeat an hour
            at = datetime.combine(local.date() + timedelta(days=1), time(hour, minute), zone)
        return at.astimezone(UTC)


@dataclass(frozen=True)
class Arrivals:
    """[arrivals]: what happens to files that arrive during the day."""

    watch: bool = True
    """Look at the sources all the time, and ingest what arrives."""
    stable_seconds: float = 10.0
    """A file that changed within this time is still being written, and left alone."""
    listen: str = ""
    """HOST:PORT where notifications of object stores are taken; empty: nowhere."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0 <= self.stable_seconds < float("inf"):
            raise ValueError(f"stable_seconds = {self.stable_seconds} needs to be 0 or more.")
        if self.listen and not _ENDPOINT.fullmatch(self.listen):
            raise ValueError(f'listen = {self.listen!r} is no HOST:PORT; write it as "127.0.0.1:4300".')


@dataclass(frozen=True)
class Cluster:
    """[ray]: where Ray runs."""

    address: str = ""
    """The Jobs API of a cluster, such as http://head:8265; empty: Ray starts inside the run, on this machine."""

    def __post_init__(self) -> None:
        """Refuse Ray Client addresses, which end the work when the connection breaks."""
        if self.address and not self.address.startswith(("http://", "https://")):
            raise ValueError(f'address = {self.address!r} is no Jobs API; write it as "http://head:8265".')


@dataclass(frozen=True)
class Keep:
    """[keep]: how long what is out of force stays."""

    days: float = 7.0
    """Age after which `rushes maintain` removes old index generations and files of old table versions."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0 <= self.days < float("inf"):
            raise ValueError(f"days = {self.days} needs to be 0 or more.")


def local_time_zone() -> str:
    """Return this machine's time zone by its IANA name; UTC where it has none."""
    named = os.environ.get("TZ", "").removeprefix(":")
    link = Path("/etc/localtime")
    name = named or (link.resolve().as_posix().partition("zoneinfo/")[2] if link.is_symlink() else "")
    try:
        return ZoneInfo(name).key if name else "UTC"
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "UTC"


def _is_cron(line: str) -> bool:
    from cronsim import CronSim, CronSimError

    try:
        CronSim(line, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError:
        return False
    return len(line.split()) == 5
