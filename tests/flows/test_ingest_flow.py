"""The flow `ingest` on a real server: what people see, and what is left when it is stopped, killed, or started twice."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.states import Cancelling, Scheduled

import encoders.profiles
import encoders.registry
from flows.names import slug
from pipeline.archive import Archive, create_archive, open_archive
from pipeline.store.tables import Tables
from tests.flows.serving import Served, serving, until
from tests.media import film, picture
from tests.toys import TOY, TOYS

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
HOSTILE = ("<img src=x onerror=alert(1)>", "[x](javascript:alert(1)) `b` | www.evil.com", "__init__ &lt;b&gt; \"'\n.x")
CANCEL_SECONDS = 15.0
N_FOR_RAY = 70


@dataclass(frozen=True)
class Night:
    """A server with archives, and what a test does with them."""

    served: Served
    archives: dict[str, Archive]
    hold: Path
    """While it exists, runs wait at the first picture."""

    def begin(self, name: str, flow: str = "ingest", *, tags: tuple[str, ...] = (), at: datetime | None = None) -> UUID:
        """Ask for a run of an archive's deployment; return its id."""
        with self.served.client() as client:
            deployment = client.read_deployment_by_name(f"{flow}/{slug(self.archives[name].root)}")
            state = Scheduled(scheduled_time=at or datetime.now(UTC))
            return client.create_flow_run_from_deployment(deployment.id, state=state, tags=list(tags)).id

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

    def process(self, name: str) -> psutil.Process:
        """Return the process that works on a run of an archive, once it holds it."""
        lock = self.archives[name].root / ".lock"
        return until(lambda: lock.exists() and _flow_process(lock.read_text("utf8")))


@pytest.fixture(scope="module", autouse=True)
def _toys() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders.registry, "FACTORIES", {**encoders.registry.FACTORIES, **TOYS})
        patch.setattr(encoders.profiles, "PROFILES", {**encoders.profiles.PROFILES, TOY.name: TOY})
        yield


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, _toys: None) -> Iterator[Night]:
    place = tmp_path_factory.mktemp("night")
    archives = {name: _archive(place / name) for name in ("hostile", "wrong", "twice", "killed", "cancelled", "window")}
    film(place / "hostile/source/films/show.mp4", ["red", "blue"])
    for name in HOSTILE:
        picture(place / "hostile/source" / f"{name}.png".replace("/", "∕"), "white", (40 + len(name), 30))
        (place / "hostile/source" / f"{name}.mp4".replace("/", "∕")).write_bytes(b"\0\0\0\x18ftypisom" + name.encode())
    for name, n_pictures in {"twice": 3, "killed": 5, "cancelled": N_FOR_RAY, "window": 4}.items():
        for n in range(n_pictures):
            picture(place / name / f"source/{n}.png", "green", (40 + n, 30))
    hold = place / "hold"
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests/flows/toyed'}", "TOYS_HOLD": str(hold)}
    with serving(place / "home", *(each.root for each in archives.values()), environment=environment) as served:
        yield Night(served, archives, hold)


@pytest.fixture(autouse=True)
def _let_go(night: Night) -> Iterator[None]:
    yield
    night.hold.unlink(missing_ok=True)


def _archive(place: Path) -> Archive:
    (place / "source").mkdir(parents=True)
    archive = create_archive(place / "archive", [str(place / "source")], TOY.name)
    settings = archive.root / "rushes.toml"
    settings.write_text(settings.read_text("utf8").replace("stable_seconds = 10.0", "stable_seconds = 0"), "utf8")
    return open_archive(archive.root)


def _flow_process(holder: str) -> psutil.Process | None:
    try:
        process = psutil.Process(int(holder))
        return process if "prefect.engine" in process.cmdline() else None
    except (psutil.Error, ValueError):
        return None


def _alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _rows(archive: Archive) -> list[tuple[str, int]]:
    """Return asset and moment of every stored row."""
    rows = Tables(archive.tables).moments(columns=["asset_id", "moment_id"])
    return sorted(zip(rows["asset_id"].to_pylist(), rows["moment_id"].to_pylist(), strict=True))


def test_a_night_is_a_few_named_steps_and_leaves_what_people_read(night: Night) -> None:
    run = night.begin("hostile")
    ended = night.ended(run)
    name = slug(night.archives["hostile"].root)
    assert ended.state.is_completed(), ended.state
    assert ended.name == f"ingest {name} · gen-000001"
    assert {"rushes", name, "gen-000001"} <= set(ended.tags)
    steps = [step.name for step in night.steps(run)]
    assert 6 <= len(steps) <= 10
    assert steps[0] == "scan the sources"
    assert [step.split()[0] for step in steps] == [
        "scan", "plan", "process", "commit", "index", "verify", "publish", "report",
    ]  # fmt: skip
    artifacts = night.artifacts(run)
    kinds = {key.removesuffix(f"-{name}"): artifact.type for key, artifact in artifacts.items()}
    assert kinds == {
        "progress": "progress", "outcomes": "table", "quarantine": "table", "generation": "table", "report": "markdown",
        "to-quarantine": "markdown", "to-generation": "markdown",
    }  # fmt: skip
    assert float(artifacts[f"progress-{name}"].data) == 100
    assert "7/7 files" in artifacts[f"progress-{name}"].description
    report = str(artifacts[f"report-{name}"].data)
    assert "4 indexed, 3 quarantined" in report
    assert "data:image/webp;base64," in report
    assert "unreadable" in report
    for text in (report, str(artifacts[f"quarantine-{name}"].data), str(artifacts[f"outcomes-{name}"].data)):
        for harm in ("<img", "](javascript", "javascript:", "`b`", "| www", "www.evil", "&lt;", "__init__", "<b>"):
            assert harm not in text
    assert any("quarantined" in line and "onerror" in line for line in night.logs(run))


def test_a_second_night_finds_nothing_to_do(night: Night) -> None:
    archive = night.archives["hostile"]
    before = _rows(archive)
    assert before
    run = night.begin("hostile")
    assert night.ended(run).state.is_completed()
    assert [step.name.split()[0] for step in night.steps(run)] == ["scan", "plan", "commit", "report"]
    assert _rows(archive) == before


def test_what_a_person_can_cure_is_the_message_of_a_failed_run(night: Night) -> None:
    settings = night.archives["wrong"].root / "rushes.toml"
    settings.write_text(settings.read_text("utf8") + '\n[sound]\nrate = "high"\n', "utf8")
    ended = night.ended(night.begin("wrong"))
    assert ended.state.is_failed()
    assert ended.state.message.startswith(f"{settings}: 'sound' means nothing; known are ")
    assert "Traceback" not in "\n".join(night.logs(ended.id))


def test_of_two_runs_at_once_the_second_ends_well_and_says_who_is_at_work(night: Night) -> None:
    night.hold.touch()
    archive = night.archives["twice"]
    run = night.begin("twice")
    holder = night.process("twice").pid
    code = "import sys; from flows.ingest import ingest; ingest(sys.argv[1], return_state=True)"
    environment = {**night.served.environment, **_reaching(night)}
    subprocess.run([sys.executable, "-c", code, str(archive.root)], env=environment, check=True, timeout=240, cwd=ROOT)
    with night.served.client() as client:
        (second,) = [
            each for each in client.read_flow_runs() if each.deployment_id is None and slug(archive.root) in each.name
        ]
    assert second.state.is_completed()
    assert second.state.message == (
        f"Nothing done: {archive.root} is being written by process {holder}; wait until it has finished."
    )
    night.hold.unlink()
    assert night.ended(run).state.is_completed()
    rows = _rows(archive)
    assert len(rows) == len(set(rows)) > 0


def test_a_killed_run_is_seen_as_crashed_and_the_next_one_completes(night: Night) -> None:
    night.hold.touch()
    run = night.begin("killed")
    process = night.process("killed")
    family = [process, *process.children(recursive=True)]
    process.send_signal(signal.SIGKILL)
    assert night.ended(run).state.is_crashed()
    until(lambda: not any(_alive(each) for each in family))
    night.hold.unlink()
    assert night.ended(night.begin("killed")).state.is_completed()
    rows = _rows(night.archives["killed"])
    assert len({asset for asset, _ in rows}) == 5
    assert len(rows) == len(set(rows))


def test_cancelling_stops_the_work_on_ray_and_leaves_no_process(night: Night) -> None:
    night.hold.touch()
    run = night.begin("cancelled")
    process = night.process("cancelled")
    family = until(lambda: _with_encoder(process))
    began = datetime.now(UTC)
    with night.served.client() as client:
        client.set_flow_run_state(run, Cancelling())
    until(lambda: not any(_alive(each) for each in family), CANCEL_SECONDS)
    assert datetime.now(UTC) - began < timedelta(seconds=CANCEL_SECONDS)
    assert night.ended(run).state.is_cancelled()
    night.hold.unlink()
    assert night.ended(night.begin("cancelled")).state.is_completed()
    assert len({asset for asset, _ in _rows(night.archives["cancelled"])}) == N_FOR_RAY


def test_a_scheduled_run_beyond_its_window_stops_and_the_rest_carries_over(night: Night) -> None:
    archive = night.archives["window"]
    settings = archive.root / "rushes.toml"
    now = datetime.now(UTC)
    stop_at = (now - timedelta(minutes=2)).strftime("%H:%M")
    settings.write_text(
        settings.read_text("utf8")
        .replace('stop_at = ""', f'stop_at = "{stop_at}"')
        .replace("time_zone = ", 'time_zone = "UTC" # '),
        "utf8",
    )
    late = night.begin("window", tags=("auto-scheduled",), at=now - timedelta(hours=1))
    ended = night.ended(late)
    assert ended.state.is_completed(), ended.state
    report = str(night.artifacts(late)[f"report-{slug(archive.root)}"].data)
    assert "4 deferred" in report
    assert f"It stopped because it was {stop_at}." in report
    assert "4 files, " in report
    by_hand = night.begin("window")
    assert night.ended(by_hand).state.is_completed()
    assert len({asset for asset, _ in _rows(archive)}) == 4


def _reaching(night: Night) -> dict[str, str]:
    return {
        "PREFECT_API_URL": f"{night.served.url}/api",
        "PREFECT_API_AUTH_STRING": night.served.home.secret(),
        "PREFECT_HOME": str(night.served.home.prefect),
    }


def _with_encoder(process: psutil.Process) -> list[psutil.Process] | None:
    """Return a process with all that it started, once Ray's workers encode."""
    family = [process, *process.children(recursive=True)]
    names = " ".join(" ".join(_words(each)) for each in family)
    return family if "ray::" in names and "Encod" in names else None


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
