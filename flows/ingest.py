"""The flow that brings an archive up to date: scan → plan → process → commit → index → verify → publish → report.

Runs every night, on arrivals and when somebody asks. It takes no date: it looks for what is new. A second run beside
it finds the archive held, and ends well with nothing done; Prefect's own limit of one run is only the first net.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.logging import get_run_logger

from encoders import ahead
from flows import events, saved_queries
from flows.hooks import is_over, stop_work, stoppable
from flows.names import slug
from flows.reporting import Night, leave, sized
from flows.run import Run, carried_out, engine_for, executor
from flows.saved_queries import Match
from flows.shown import Shown
from flows.steps import is_scheduled, named, patient_step, plainly, rename, step, this_run
from index.build import check, is_settled, put_in_force, stage
from index.generation import Manifest, current, read_manifest
from pipeline.archive import Archive, open_archive, writing
from pipeline.budget import Budget
from pipeline.errors import ArchiveError, RushesError
from pipeline.executors import jobs
from pipeline.ingest import Ingest, ingesting
from pipeline.media import Outcome
from pipeline.report import Planned, Report


@flow(
    name="ingest", flow_run_name=named("ingest"), persist_result=True, result_serializer="json",
    on_cancellation=[stop_work], on_crashed=[stop_work],
)  # fmt: skip
@plainly
def ingest(archive: str, limit: int | None = None, first: list[str] | None = None) -> dict[str, Any]:
    """Process what is new or changed in an archive's sources, then index and publish it.

    Args:
        archive: the archive's folder.
        limit: process at most so many files; the rest waits for the next run.
        first: patterns of paths that are processed first, such as `news/*`.

    Returns:
        Counts: how many assets ended in which state and why, how long it took, which generation was published.
    """
    place = open_archive(Path(archive))
    asked = _Asked(limit, tuple(first or ()), _budget(place))
    begin = _on_cluster if place.settings.ray.address else _here
    watcher = Shown(slug(place.root))
    report, engine, published = begin(place, asked, watcher)
    matches, wrong = _ask(place, published)
    done = Run(report, published)
    night = Night(
        place, report, engine, watcher.fresh, watcher.refused, published, _in_force(place), matches
    )  # fmt: skip
    step("report", _report, night, done)
    if wrong:
        raise wrong
    return done.as_dict()


@dataclass(frozen=True)
class _Asked:
    """What a run is to do, and until when."""

    limit: int | None
    first: tuple[str, ...]
    budget: Budget | None


def _here(place: Archive, asked: _Asked, watcher: Shown) -> tuple[Report, str, str | None]:
    """Do the work in this process, or on a Ray that it starts; the archive is held until its index is published."""
    with ingesting(
        place, watcher, limit=asked.limit, budget=asked.budget, first=asked.first,
        stable_seconds=place.settings.arrivals.stable_seconds,
    ) as run:  # fmt: skip
        engine = ""

        def plan() -> Planned:
            nonlocal engine
            planned = patient_step("scan the sources", run.plan)
            engine = step(f"plan {sized(planned.n_files, planned.n_bytes)}", _plan, planned)
            return planned

        def process(planned: Planned) -> None:
            todo = sized(planned.n_files, planned.n_bytes)
            step(f"process {todo}, engine {engine}", _process, run, watcher, engine)

        def settle() -> Report:
            return step("commit where everything lies now", run.settle)

        done = carried_out(run, plan, process, settle, publish)
    if done.ingested.interrupted:
        raise KeyboardInterrupt
    return done.ingested, engine, done.published


def _on_cluster(place: Archive, asked: _Asked, watcher: Shown) -> tuple[Report, str, str | None]:
    """Have the work done by a job on the cluster, which holds the archive meanwhile; then publish from here."""
    address = place.settings.ray.address
    step("stop jobs whose run is over", jobs.reap, address, is_over)
    report = step(f"process on the Ray cluster at {address}", _follow, place, asked, watcher)
    with writing(place):
        return report, f"Ray cluster at {address}", None if is_settled(place) else publish(place)


def _follow(place: Archive, asked: _Asked, watcher: Shown) -> Report:
    with watcher.shown():
        return jobs.ingest_on_cluster(
            place, str(this_run().id), watcher, limit=asked.limit, budget=asked.budget, first=asked.first,
            stable_seconds=place.settings.arrivals.stable_seconds,
        )  # fmt: skip


def publish(place: Archive) -> str:
    """Build, verify and publish a generation, each as a step of the flow that this is called in; return its name."""
    staged = step("index", stage, place)
    name = read_manifest(staged, check_files=False).generation
    step(f"verify {name}", check, staged)
    return step(f"publish {name}", put_in_force, place, staged)


def _budget(place: Archive) -> Budget | None:
    """Return the window of a nightly run; who starts one by hand, or by a file that arrives, wants it done.

    The window is that of the time for which the run was planned: one that starts late, in the morning, is over at once.
    """
    run = this_run()
    if not is_scheduled(run):
        return None
    return Budget.of(place.settings.schedule, run.expected_start_time or datetime.now(UTC))


def _plan(planned: Planned) -> str:
    """Choose where the work is done, by how much there is."""
    engine = engine_for(planned)
    log = get_run_logger()
    log.info(
        "%d files as they were, %d not looked into, %d to look at; engine %s",
        planned.n_unchanged, planned.n_skipped, planned.n_files, engine,
    )  # fmt: skip
    if planned.n_beyond_limit:
        log.info("%d files wait for the next run because of the limit", planned.n_beyond_limit)
    return engine


def _process(run: Ingest, watcher: Shown, engine: str) -> None:
    # on Ray others encode, but this process asks the new index its questions: it gets ready while Ray starts
    with watcher.shown(), stoppable(), ahead.loading() if engine == "ray" else nullcontext():
        run.process(executor(engine))


def _ask(place: Archive, published: str | None) -> tuple[list[Match], RushesError | None]:
    """Ask what is new the saved questions; an error in them is told when the run has done all else."""
    try:
        if published is None or not saved_queries.read(place):
            return [], None
        return step("ask the saved questions", saved_queries.ask, place, published), None
    except RushesError as error:
        return [], error


def _report(night: Night, done: Run) -> None:
    """Leave in the UI what people read in the morning, and tell Prefect what has happened."""
    address = night.archive.settings.ray.address
    leave(night, f"{address}/#/jobs" if address else "")
    log = get_run_logger()
    for line in done.as_text().splitlines():
        log.info(line)
    root, report = night.archive.root, night.report
    if night.published:
        rename(f"ingest {night.name} · {night.published}", night.published)
        events.emit(events.PUBLISHED, root, {"generation": night.published, "new": len(night.fresh)})
    if report.states[Outcome.QUARANTINED]:
        events.emit(events.QUARANTINED, root, _quarantined(night, report))
    events.emit(events.RUN_FINISHED, root, done.as_dict())


def _quarantined(night: Night, report: Report) -> dict[str, Any]:
    names = [f"{uri} ({reason})" for uri, state, reason in night.refused if state == Outcome.QUARANTINED]
    return {"files": report.states[Outcome.QUARANTINED], "reasons": dict(report.reasons), "such as": names}


def _in_force(place: Archive) -> Manifest | None:
    try:
        return read_manifest(current(place.index), check_files=False)
    except ArchiveError:
        return None
