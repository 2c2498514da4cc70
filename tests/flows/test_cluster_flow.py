"""The flow `ingest` where rushes.toml names a Ray cluster: a real one on this machine, reached through its Jobs API."""

import signal
from collections.abc import Iterator

import psutil
import pytest
from prefect.states import Cancelling

from flows.names import slug
from tests.flows.nights import Night, alive, rows
from tests.flows.serving import until
from tests.media import picture
from tests.pipeline.clusters import Cluster, cluster

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]
N_PICTURES = 6
CANCEL_SECONDS = 15.0


@pytest.fixture(scope="module")
def ray(served_night: Night) -> Iterator[Cluster]:
    """Start a cluster that the server's worker may use, and that the archive's rushes.toml names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOYS_HOLD", str(served_night.hold))
        with cluster() as started:
            served_night.token.write_text(started.token, "utf8")
            settings = served_night.archives["cluster"].root / "rushes.toml"
            settings.write_text(
                settings.read_text("utf8").replace('address = ""', f'address = "{started.address}"'), "utf8"
            )
            for n in range(N_PICTURES):
                picture(served_night.source("cluster") / f"{n}.png", "green", (40 + n, 30))
            yield started


def at_work(ray: Cluster) -> list[psutil.Process]:
    """Return the processes of a job, once its encoders wait at a picture."""
    return until(lambda: ray.processes("ray::Encoder") and ray.processes("pipeline.executors.driver", "ray::_"))


def test_cancelling_stops_the_job_within_15_seconds(night: Night, ray: Cluster) -> None:
    night.hold.touch()
    run = night.begin("cluster")
    family = at_work(ray)
    with night.served.client() as client:
        client.set_flow_run_state(run, Cancelling())
    until(lambda: not any(alive(each) for each in family), CANCEL_SECONDS)
    assert night.ended(run).state.is_cancelled()


def test_the_job_of_a_killed_flow_is_stopped_and_the_next_run_completes(night: Night, ray: Cluster) -> None:
    night.hold.touch()
    killed = night.begin("cluster")
    family = at_work(ray)
    flow = until(lambda: _flow_of(night))
    flow.send_signal(signal.SIGKILL)
    assert night.ended(killed).state.is_crashed()
    until(lambda: not any(alive(each) for each in family))
    night.hold.unlink()
    run = night.begin("cluster")
    ended = night.ended(run)
    assert ended.state.is_completed(), ended.state
    assert len({asset for asset, _ in rows(night.archives["cluster"])}) == N_PICTURES
    name = slug(night.archives["cluster"].root)
    assert ended.name == f"ingest {name} · gen-000001"
    steps = [step.name for step in night.steps(run)]
    assert steps[:2] == ["stop jobs whose run is over", f"process on the Ray cluster at {ray.address}"]
    artifacts = night.artifacts(run)
    assert f"on the engine Ray cluster at {ray.address}, " in str(artifacts[f"report-{name}"].data)
    assert f"({ray.address}/#/jobs)" in str(artifacts[f"to-ray-dashboard-{name}"].data)
    assert f"{N_PICTURES}/{N_PICTURES} files" in artifacts[f"progress-{name}"].description


def _flow_of(night: Night) -> psutil.Process | None:
    worker = night.served.part("worker")
    flows = [p for p in worker.children(recursive=True) if "prefect.engine" in " ".join(p.cmdline())]
    return flows[-1] if flows else None
