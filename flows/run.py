"""A whole run: ingest, then build and publish the index when the tables have changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from index.build import build, is_current
from index.hits import clock
from pipeline.archive import Archive, writing
from pipeline.executors.contract import Executor
from pipeline.ingest import ingest
from pipeline.media import Outcome
from pipeline.report import Report, Watcher


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
            "moments": report.n_moments,
            "media_seconds": round(report.media_seconds, 3),
            "seconds": round(report.seconds, 3),
            "interrupted": report.interrupted,
            "generation": self.published,
        }

    def as_text(self) -> str:
        """Return it as a few lines for people."""
        report = self.ingested
        states = ", ".join(f"{n} {state}" for state, n in report.states.most_common())
        if not report.changed:
            return f"Nothing to do: {states or 'the sources are empty'} ({report.seconds:.1f} s)."
        lines = [f"{report.discovered} assets: {states}."]
        if report.n_moments:
            of = f" from {clock(report.media_seconds)} of film and sound" if report.media_seconds else ""
            lines.append(f"{report.n_moments} moments{of} in {report.seconds:.0f} s.")
        if report.reasons:
            told = ", ".join(f"{reason} ({n})" for reason, n in report.reasons.most_common())
            lines.append(f"Not (wholly) indexed: {told}; see `rushes quarantine`.")
        if self.published:
            lines.append(f"Published {self.published}.")
        return "\n".join(lines)


def ingest_and_publish(archive: Archive, executor: Executor, watcher: Watcher, *, limit: int | None = None) -> Run:
    """Ingest what is new, then publish an index of it.

    An interrupted run publishes nothing: the next one does, with all that was committed.
    """
    report = ingest(archive, executor, watcher, limit=limit)
    if report.interrupted or is_current(archive):
        return Run(report, None)
    with writing(archive):
        return Run(report, build(archive))
