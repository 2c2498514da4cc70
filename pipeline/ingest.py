"""One run over an archive's sources: list → plan → decode and encode → commit, batch by batch → settle.

Takes no date and no list: it looks for what is new, changed, gone, or made by an older recipe. Every asset ends in one
state, and the states add up (`Report`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from pipeline.accounts import Accounts
from pipeline.archive import Archive, writing
from pipeline.budget import Budget, Meter, nights_left, window_seconds
from pipeline.executors.contract import Executor
from pipeline.order import in_order
from pipeline.processing import Processing
from pipeline.report import Planned, Report, Watcher
from pipeline.store.discover import Found, open_source


def ingest(
    archive: Archive, executor: Executor, watcher: Watcher, *, limit: int | None = None, budget: Budget | None = None,
    first: Sequence[str] = (), stable_seconds: float = 0.0,
) -> Report:  # fmt: skip
    """Bring the tables of an archive up to date with its sources; `ingesting`, with its three phases in one call.

    Args:
        archive: the archive; held for writing while this runs.
        executor: where the stages run.
        watcher: told of progress.
        limit: see `ingesting`, as for the others.
        budget: where it stops cleanly.
        first: what it begins with.
        stable_seconds: how long a file has to be left alone.

    Raises:
        ArchiveError: another run holds the archive, or a source is not there.
    """
    with ingesting(
        archive, watcher, limit=limit, budget=budget, first=first, stable_seconds=stable_seconds
    ) as run:  # fmt: skip
        run.plan()
        run.process(executor)
        return run.settle()


@contextmanager
def ingesting(
    archive: Archive, watcher: Watcher, *, limit: int | None = None, budget: Budget | None = None,
    first: Sequence[str] = (), stable_seconds: float = 0.0,
) -> Iterator[Ingest]:  # fmt: skip
    """Hold an archive for writing, finish what a killed run had staged, and yield a run: plan, process, settle.

    Args:
        archive: the archive.
        watcher: told of progress.
        limit: process at most so many files; the rest is deferred to the next run.
        budget: where work stops cleanly; the rest is deferred.
        first: patterns of paths below their source that are processed first, before `first` of rushes.toml.
        stable_seconds: a file that changed within this time before it was listed may still be being written: it comes
            last, once it has been left alone for so long, and is deferred if it changed again. 0, as for a person who
            asks for what is there now: files are taken as they are. Either way one that changes while it is read is
            deferred, and one that changes later is done again by the next run.

    Raises:
        ArchiveError: another run holds the archive.
    """
    with writing(archive):
        yield Ingest(archive, watcher, limit, budget or Budget(), first, stable_seconds)


class Ingest:
    """One run: `plan`, then `process`, then `settle`. Made by `ingesting`."""

    def __init__(
        self, archive: Archive, watcher: Watcher, limit: int | None, budget: Budget, first: Sequence[str],
        stable_seconds: float,
    ) -> None:  # fmt: skip
        self.archive, self.watcher = archive, watcher
        self._limit, self._first = limit, (*first, *archive.settings.schedule.first)
        self._began, self._began_at = time.monotonic(), datetime.now(UTC)
        self._meter = Meter(budget)
        self._accounts = Accounts(archive)
        self._work = Processing(self._accounts, watcher, self._meter, stable_seconds)

    def plan(self) -> Planned:
        """List the sources, and sort what lies there into what is done and what is to do. Opens no file.

        Raises:
            ArchiveError: a source is not there.
        """
        began, work = time.monotonic(), self._work
        plan = self._accounts.ledger.plan(self._listed(), work.recipe)
        for asset_id, places in plan.unchanged.items():
            self._accounts.unchanged(asset_id, places)
        for asset_id in plan.forgotten:
            self._accounts.forgotten(asset_id)
        self._accounts.skip(plan.skipped)
        files = in_order(plan.look, self._first)
        files.sort(key=lambda file: work.wait_seconds(file[0].place) > 0)  # what may still be being written: last
        work.wanted = files[: self._limit]
        work.waiting = {found.place.location: found for found, _ in files}
        self._accounts.report.stage_seconds["list"] += time.monotonic() - began
        planned = Planned(
            n_unchanged=sum(len(places) for places in plan.unchanged.values()),
            n_skipped=len(plan.skipped),
            n_files=len(work.wanted),
            n_bytes=sum(found.place.size for found, _ in work.wanted),
            n_beyond_limit=len(files) - len(work.wanted),
        )
        self.watcher.planned(planned.n_files, planned.n_bytes)
        return planned

    def process(self, executor: Executor) -> None:
        """Decode, encode and commit, batch by batch, until all is done, the budget is spent, or somebody interrupts."""
        self._work.run(executor)

    def settle(self) -> Report:
        """Write down where everything lies now and what is gone; say how it all ended.

        An interrupted run writes nothing of that: it has not seen all.
        """
        work, report = self._work, self._accounts.report
        work.defer_rest()
        if not report.interrupted:
            self._accounts.settle()
        report.states = self._accounts.total()
        report.gpu_seconds, report.stopped = self._meter.gpu_seconds, self._meter.stopped
        report.n_left = len(work.waiting)
        report.left_bytes = sum(found.place.size for found in work.waiting.values())
        if report.stopped:
            window = window_seconds(self.archive.settings.schedule, self._began_at) or work.seconds
            report.nights_left = nights_left(report.left_bytes, work.done_bytes, work.seconds, window)
        report.seconds = time.monotonic() - self._began
        return report

    def _listed(self) -> Iterator[Found]:
        settings = self.archive.settings
        for uri in settings.sources:
            yield from open_source(uri, self.archive.root, follow_links=settings.follow_links).list()
