"""How far a run is: a bar on a terminal, plain lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from index.hits import clock, harmless
from pipeline.executors.stages import Made
from pipeline.media import Modality

LINE_EVERY_SECONDS = 10.0


@contextmanager
def watching(*, as_json: bool = False) -> Iterator[Lines | Bar | JsonLines]:
    """Yield a watcher that suits where stderr and stdout lead."""
    if as_json:
        yield JsonLines()
    elif sys.stderr.isatty():
        with Bar() as bar:
            yield bar
    else:
        yield Lines()


class _Tally:
    """Counts what has happened; media time is the time up to which an asset's moments reach."""

    def __init__(self) -> None:
        self.n_files = 0
        self.n_finished = 0
        self.media_seconds = 0.0
        self.began = time.monotonic()
        self._reached: dict[str, float] = {}

    def add(self, made: Made) -> None:
        stops = [m.stop_seconds for m in made.moments if m.modality != Modality.TEXT]
        before = self._reached.get(made.asset_id, 0.0)
        now = max([before, *stops])
        self._reached[made.asset_id] = now
        self.media_seconds += now - before

    def __str__(self) -> str:
        speed = self.media_seconds / max(time.monotonic() - self.began, 1e-9)
        return f"{self.n_finished}/{self.n_files} files, {clock(self.media_seconds)} of media, {speed:.1f}x real time"

    def seconds_left(self) -> float | None:
        """Return a guess from the files that are done; None while there is nothing to guess from."""
        if not self.n_finished:
            return None
        return (time.monotonic() - self.began) / self.n_finished * max(self.n_files - self.n_finished, 0)


class Lines:
    """A plain line now and then, and one for each file that was not (wholly) indexed."""

    def __init__(self) -> None:
        self._tally = _Tally()
        self._told = time.monotonic()

    def planned(self, n_files: int) -> None:
        """See `Watcher`."""
        self._tally.n_files = n_files
        if n_files:
            self._say(f"{n_files} files to look at")

    def made(self, made: Made) -> None:
        """See `Watcher`."""
        self._tally.add(made)
        if time.monotonic() - self._told >= LINE_EVERY_SECONDS:
            self._told = time.monotonic()
            left = self._tally.seconds_left()
            self._say(f"{self._tally}" + (f", {clock(left)} left" if left is not None else ""))

    def finished(self, uri: str, state: str, reason: str) -> None:
        """See `Watcher`."""
        self._tally.n_finished += 1
        if reason:
            self._say(f"{state}: {harmless(uri)} ({reason})")

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Bar:
    """A bar with files, media time, speed and time left."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), TextColumn("{task.description}", markup=False), TimeRemainingColumn())
        from rich.console import Console

        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("looking", total=None)
        self._tally = _Tally()

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def planned(self, n_files: int) -> None:
        """See `Watcher`."""
        self._tally.n_files = n_files
        self._progress.update(self._task, total=n_files or 1, completed=0 if n_files else 1)

    def made(self, made: Made) -> None:
        """See `Watcher`."""
        self._tally.add(made)
        self._progress.update(self._task, description=str(self._tally))

    def finished(self, uri: str, state: str, reason: str) -> None:
        """See `Watcher`."""
        from rich.text import Text

        self._tally.n_finished += 1
        self._progress.update(self._task, completed=self._tally.n_finished, description=str(self._tally))
        if reason:
            self._progress.console.print(Text(f"{state}: {harmless(uri)} ({reason})"))


class JsonLines:
    """One JSON object for each asset that has ended, on stdout."""

    def planned(self, n_files: int) -> None:
        """See `Watcher`."""
        print(json.dumps({"event": "planned", "files": n_files}), flush=True)

    def made(self, made: Made) -> None:
        """See `Watcher`."""

    def finished(self, uri: str, state: str, reason: str) -> None:
        """See `Watcher`."""
        line = {"event": "asset", "uri": uri, "state": state, "reason": reason}
        print(json.dumps(line, ensure_ascii=False), flush=True)
