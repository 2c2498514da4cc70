"""How far a run is: a bar on a terminal, plain lines elsewhere, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from index.hits import clock, harmless
from pipeline.executors.stages import Made
from pipeline.media import Facts, Modality

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


@dataclass
class _Running:
    """An asset that is worked on."""

    n_bytes: int
    duration_seconds: float = 0.0
    reached_seconds: float = 0.0

    @property
    def share(self) -> float:
        """Return how much of it is done, in [0, 1]."""
        return min(self.reached_seconds / self.duration_seconds, 1.0) if self.duration_seconds else 0.0


class Tally:
    """Counts what has happened; media time is the time up to which an asset's moments reach."""

    def __init__(self) -> None:
        self.n_files = 0
        self.n_finished = 0
        self.media_seconds = 0.0
        self.began = time.monotonic()
        self._n_bytes = 0
        self._finished_bytes = 0
        self._running: dict[str, _Running] = {}

    def plan(self, n_files: int, n_bytes: int) -> None:
        """Note what there is to do."""
        self.n_files, self._n_bytes = n_files, n_bytes

    def start(self, asset_id: str, n_bytes: int) -> None:
        """Note that work on an asset has begun."""
        self._running[asset_id] = _Running(n_bytes)

    def add(self, made: Made) -> None:
        """Note a piece of an asset."""
        running = self._running.get(made.asset_id)
        if running is None:
            return
        if isinstance(made.news, Facts):
            running.duration_seconds = made.news.duration_seconds
        stops = [m.stop_seconds for m in made.moments if m.modality != Modality.TEXT]
        now = max([running.reached_seconds, *stops])
        self.media_seconds += now - running.reached_seconds
        running.reached_seconds = now

    def finish(self, asset_id: str) -> None:
        """Note that an asset has ended."""
        self.n_finished += 1
        if running := self._running.pop(asset_id, None):
            self._finished_bytes += running.n_bytes

    def told(self) -> str:
        """Return it in a line."""
        left = self.seconds_left()
        speed = self.media_seconds / max(time.monotonic() - self.began, 1e-9)
        so_far = f"{self.n_finished}/{self.n_files} files, {clock(self.media_seconds)} of media, {speed:.1f}x real time"
        return so_far if left is None else f"{so_far}, {clock(left)} left"

    def share(self) -> float:
        """Return how much is done, in [0, 1], by bytes."""
        return min(self._done_bytes() / self._n_bytes, 1.0) if self._n_bytes else 1.0

    def seconds_left(self) -> float | None:
        """Return a guess from the bytes that are done; None while there is too little to guess from."""
        done = self._done_bytes()
        passed = time.monotonic() - self.began
        if passed < LINE_EVERY_SECONDS / 2 or not done:
            return None
        return passed / done * max(self._n_bytes - done, 0)

    def _done_bytes(self) -> float:
        return self._finished_bytes + sum(r.n_bytes * r.share for r in list(self._running.values()))


class Lines:
    """A plain line now and then, and one for each file that was not (wholly) indexed."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._told = time.monotonic()

    def planned(self, n_files: int, n_bytes: int) -> None:
        """See `Watcher`."""
        self._tally.plan(n_files, n_bytes)
        if n_files:
            self._say(f"{n_files} files to look at")

    def started(self, asset_id: str, n_bytes: int) -> None:
        """See `Watcher`."""
        self._tally.start(asset_id, n_bytes)

    def made(self, made: Made) -> None:
        """See `Watcher`."""
        self._tally.add(made)
        if time.monotonic() - self._told >= LINE_EVERY_SECONDS:
            self._told = time.monotonic()
            self._say(self._tally.told())

    def finished(self, asset_id: str, uri: str, state: str, reason: str) -> None:
        """See `Watcher`."""
        self._tally.finish(asset_id)
        if reason:
            self._say(f"{state}: {harmless(uri)} ({reason})")

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Bar:
    """A bar with files, media time, speed and time left."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (BarColumn(), TextColumn("{task.description}", markup=False))
        from rich.console import Console

        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("looking", total=None)
        self._tally = Tally()

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def planned(self, n_files: int, n_bytes: int) -> None:
        """See `Watcher`."""
        self._tally.plan(n_files, n_bytes)
        self._progress.update(self._task, total=n_files or 1, completed=0 if n_files else 1)

    def started(self, asset_id: str, n_bytes: int) -> None:
        """See `Watcher`."""
        self._tally.start(asset_id, n_bytes)

    def made(self, made: Made) -> None:
        """See `Watcher`."""
        self._tally.add(made)
        self._progress.update(self._task, description=self._tally.told())

    def finished(self, asset_id: str, uri: str, state: str, reason: str) -> None:
        """See `Watcher`."""
        from rich.text import Text

        self._tally.finish(asset_id)
        self._progress.update(self._task, completed=self._tally.n_finished, description=self._tally.told())
        if reason:
            self._progress.console.print(Text(f"{state}: {harmless(uri)} ({reason})"))


class JsonLines:
    """One JSON object for each asset that has ended, on stdout."""

    def __init__(self) -> None:
        self._out = sys.stdout  # as it is now: what libraries print while a run goes on is not for programs

    def planned(self, n_files: int, n_bytes: int) -> None:
        """See `Watcher`."""
        self._say({"event": "planned", "files": n_files, "bytes": n_bytes})

    def started(self, asset_id: str, n_bytes: int) -> None:
        """See `Watcher`."""

    def made(self, made: Made) -> None:
        """See `Watcher`."""

    def finished(self, asset_id: str, uri: str, state: str, reason: str) -> None:
        """See `Watcher`."""
        self._say({"event": "asset", "asset_id": asset_id, "uri": uri, "state": state, "reason": reason})

    def _say(self, line: dict[str, object]) -> None:
        print(json.dumps(line, ensure_ascii=False), file=self._out, flush=True)
