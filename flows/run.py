"""A whole run: ingest, then build and publish the index when the tables have changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from index.build import build, is_settled
from index.hits import clock
from pipeline.archive import Archive
from pipeline.budget import Budget
from pipeline.executors.contract import Executor
from pipeline.ingest import Ingest, ingesting
from pipeline.media import Outcome
from pipeline.report import Planned, Report, Watcher

RAY_FROM_FILES, RAY_FROM_BYTES = 64, 1 << 30
"""So much work takes a local executor a minute or more, of which Ray's start is the smaller part."""


@dataclass(frozen=True)
class Run:
    """How a run ended."""

    ingested: Report
    published: str | None
    """The generation that was built; None: the one in force is still right."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        report = self.ingested
        return {
            "discovered": report.discovered,
            **{str(state): report.states[state] for state in (*Outcome, "unchanged", "deferred")},
            "reasons": dict(report.reasons),
            "left_out": dict(report.left_out),
            "moments": report.n_moments,
            "media_seconds": round(report.media_seconds, 3),
            "seconds": round(report.seconds, 3),
            "stage_seconds": {stage: round(spent, 3) for stage, spent in report.stage_seconds.items()},
            "gpu_seconds": round(report.gpu_seconds, 3),
            "interrupted": report.interrupted,
            "stopped": report.stopped,
            "left": report.n_left,
            "left_bytes": report.left_bytes,
            "nights_left": report.nights_left,
            "generation": self.published,
        }

    def as_text(self) -> str:
        """Return it as a few lines for people."""
        report = self.ingested
        states = ", ".join(f"{n} {state}" for state, n in report.states.most_common())
        if not report.changed and not report.n_left:
            return f"Nothing to do: {states or 'the sources are empty'} ({report.seconds:.1f} s)."
        lines = [f"{report.discovered} assets: {states}."]
        if report.n_moments:
            of = f" from {clock(report.media_seconds)} of film and sound" if report.media_seconds else ""
            lines.append(f"{report.n_moments} moments{of} in {report.seconds:.0f} s.")
        if report.reasons:
            told = ", ".join(f"{reason} ({n})" for reason, n in report.reasons.most_common())
            lines.append(f"Not (wholly) indexed: {told}; see `rushes quarantine`.")
        if report.left_out:
            lines.append(f"Left out as invented: {report.doubts}.")
        if report.stopped:
            lines.append(f"Stopped because {report.stopped}; {_waiting(report)}.")
        if self.published:
            lines.append(f"Published {self.published}.")
        return "\n".join(lines)


def _waiting(report: Report) -> str:
    """Return what is left, and for how many nights about."""
    left = f"{report.n_left} files ({report.left_bytes / 1e9:.1f} GB) wait for the next run"
    nights = report.nights_left
    return f"{left}: about {nights} night{'s' if nights > 1 else ''}" if nights else left


def engine_for(planned: Planned) -> str:
    """Return which executor suits what was planned: Ray costs about 8 s and 600 MB, whatever it is given to do."""
    return "ray" if planned.n_files >= RAY_FROM_FILES or planned.n_bytes >= RAY_FROM_BYTES else "local"


def executor(name: str) -> Executor:
    """Return the executor of a name; Ray loads only when it is asked for."""
    run: Executor = import_module(f"pipeline.executors.{name}").run
    return run


def ingest_and_publish(
    archive: Archive, executor: Executor, watcher: Watcher, *, limit: int | None = None, budget: Budget | None = None,
    first: Sequence[str] = (),
) -> Run:  # fmt: skip
    """Ingest what is new, then publish an index of it; the archive is held for writing until both are done.

    An interrupted run publishes nothing: the next one does, with all that was committed. Arguments are those of
    `pipeline.ingest.ingesting`.
    """
    with ingesting(archive, watcher, limit=limit, budget=budget, first=first) as run:
        return carried_out(run, run.plan, lambda _: run.process(executor), run.settle, build)


def carried_out(
    run: Ingest, plan: Callable[[], Planned], process: Callable[[Planned], None], settle: Callable[[], Report],
    publish: Callable[[Archive], str],
) -> Run:  # fmt: skip
    """Go through a run, with whatever does its parts: calls here, task runs in a flow."""
    planned = plan()
    if planned.n_files:
        process(planned)
    report = settle()
    if report.interrupted or is_settled(run.archive):
        return Run(report, None)
    return Run(report, publish(run.archive))
