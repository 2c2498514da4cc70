"""A server with archives for the tests of flows, and what those do with it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.states import Scheduled

from flows.names import slug
from pipeline.archive import Archive, create_archive, open_archive
from pipeline.store.tables import Tables
from tests.flows.serving import Served, until
from tests.toys import TOY


@dataclass(frozen=True)
class Night:
    """A server with archives, and what a test does with them."""

    served: Served
    archives: dict[str, Archive]
    hold: Path
    """While it exists, runs wait at the first picture."""
    token: Path
    """What is in it lets the worker into a Ray cluster."""

    def begin(
        self, name: str, flow: str = "ingest", *, tags: tuple[str, ...] = (), at: datetime | None = None,
        **parameters: Any,
    ) -> UUID:  # fmt: skip
        """Ask for a run of an archive's deployment; return its id."""
        with self.served.client() as client:
            deployment = client.read_deployment_by_name(f"{flow}/{slug(self.archives[name].root)}")
            state = Scheduled(scheduled_time=at or datetime.now(UTC))
            return client.create_flow_run_from_deployment(
                deployment.id, state=state, tags=list(tags), parameters=parameters
            ).id

    def ended(self, run: UUID, seconds: float = 240.0) -> Any:
        """Return a run once it has ended."""
        return until(lambda: (found := self.run(run)).state.is_final() and found, seconds)

    def run(self, run: UUID) -> Any:
        with self.served.client() as client:
            return client.read_flow_run(run)

    def steps(self, run: UUID) -> list[Any]:
        with self.served.client() as client:
            ours = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
            return sorted(client.read_task_runs(flow_run_filter=ours), key=lambda step: step.start_time)

    def artifacts(self, run: UUID) -> dict[str, Any]:
        with self.served.client() as client:
            ours = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
            return {artifact.key: artifact for artifact in client.read_artifacts(artifact_filter=ours) if artifact.key}

    def logs(self, run: UUID) -> list[str]:
        with self.served.client() as client:
            ours = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
            return [log.message for log in client.read_logs(ours, limit=200)]

    def source(self, name: str) -> Path:
        """Return the folder that an archive reads."""
        return self.archives[name].root.parent / "source"

    def process(self, name: str) -> psutil.Process:
        """Return the process that works on a run of an archive, once it holds it."""
        lock = self.archives[name].root / ".lock"
        return until(lambda: lock.exists() and _flow_process(lock.read_text("utf8")))

    def reaching(self) -> dict[str, str]:
        """Return the environment of a process that reaches the server without its worker."""
        return {
            **self.served.environment,
            "PREFECT_API_URL": f"{self.served.url}/api",
            "PREFECT_API_AUTH_STRING": self.served.home.secret(),
            "PREFECT_HOME": str(self.served.home.prefect),
        }


def toy_archive(place: Path, stable_seconds: float = 0.0) -> Archive:
    """Make an archive with toy models over place/source; watched where files have to be left alone for a while."""
    (place / "source").mkdir(parents=True)
    archive = create_archive(place / "archive", [str(place / "source")], TOY.name)
    settings = archive.root / "rushes.toml"
    text = settings.read_text("utf8").replace("stable_seconds = 10.0", f"stable_seconds = {stable_seconds}")
    if not stable_seconds:
        text = text.replace("watch = true", "watch = false")  # a test says itself when a run begins
    settings.write_text(text.replace('nightly = "0 1 * * *"', 'nightly = ""') if stable_seconds else text, "utf8")
    return open_archive(archive.root)


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def rows(archive: Archive) -> list[tuple[str, int]]:
    """Return asset and moment of every stored row."""
    rows = Tables(archive.tables).moments(columns=["asset_id", "moment_id"])
    return sorted(zip(rows["asset_id"].to_pylist(), rows["moment_id"].to_pylist(), strict=True))


def _flow_process(holder: str) -> psutil.Process | None:
    try:
        process = psutil.Process(int(holder))
        return process if "prefect.engine" in process.cmdline() else None
    except (psutil.Error, ValueError):
        return None
