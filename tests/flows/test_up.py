"""`rushes up`: what it starts is there, guarded, found again, and gone in the end. One server for all of these."""

import json
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from flows.checks.server import scheduled
from flows.doctor import examine
from flows.names import slug
from flows.server import processes
from flows.server.home import Home
from flows.server.parts import WORK_POOL
from pipeline.archive import create_archive, open_archive
from tests.flows.serving import ROOT, Served, rushes, serving, until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("archives")
    (place / "source").mkdir()
    for name in ("a", "b"):
        create_archive(place / name, [str(place / "source")])
    return place / "a"


@pytest.fixture(scope="module")
def served(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    # a key of Prefect Cloud would take precedence over the secret, and nothing would get in
    key = {"PREFECT_API_KEY": "pnu_none", "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "*"}
    with serving(tmp_path_factory.mktemp("home"), archive, environment=key) as served:
        yield served


@pytest.fixture(scope="module")
def waiting(served: Served) -> UUID:
    """Register a flow that waits; return its deployment."""
    with served.client() as client:
        return client.create_deployment(
            client.create_flow_from_name("wait"), "waits", entrypoint="tests.flows.waiting.wait",
            work_pool_name=WORK_POOL, job_variables={"command": "python -m prefect.engine"},
        )  # fmt: skip


def state_of(served: Served, run: UUID) -> str:
    with served.client() as client:
        state = client.read_flow_run(run).state
        return state.name if state else ""


def begin(served: Served, deployment: UUID, flag: Path) -> tuple[UUID, psutil.Process]:
    """Start a run that lasts as long as the flag is there; return it and its process once it is Running."""
    flag.touch()
    with served.client() as client:
        run = client.create_flow_run_from_deployment(deployment, parameters={"archive": str(flag)}).id
    until(lambda: state_of(served, run) == "Running")
    return run, next(p for p in served.parts("prefect.engine") if p.environ()["PREFECT__FLOW_RUN_ID"] == str(run))


def ended(state: str) -> str:
    return state if state in ("Completed", "Crashed", "Failed", "Cancelled") else ""


def completes(served: Served, deployment: UUID, flag: Path) -> bool:
    flag.unlink(missing_ok=True)
    with served.client() as client:
        run = client.create_flow_run_from_deployment(deployment, parameters={"archive": str(flag)}).id
    return until(lambda: ended(state_of(served, run))) == "Completed"


def preflight(served: Served, origin: str) -> str | None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    asked = urllib.request.Request(f"{served.url}/api/work_pools/", method="OPTIONS", headers=headers)
    try:
        with urllib.request.urlopen(asked) as answer:
            return answer.headers["Access-Control-Allow-Origin"]
    except urllib.error.HTTPError as error:
        return error.headers["Access-Control-Allow-Origin"]


def test_nobody_gets_in_without_the_secret(served: Served) -> None:
    assert stat.S_IMODE(served.home.auth.stat().st_mode) == 0o600
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{served.url}/api/admin/version")
    with pytest.raises(urllib.error.HTTPError, match="403"):  # the check against forged requests comes before
        urllib.request.urlopen(f"{served.url}/api/deployments/filter", b"{}")
    with served.client() as client:
        assert client.read_deployments()


def test_no_other_page_of_a_browser_may_ask(served: Served) -> None:
    assert preflight(served, "http://evil.example") is None
    assert preflight(served, served.url) == served.url


def test_the_secret_is_on_no_command_line_and_in_no_log(served: Served) -> None:
    secret = served.home.secret()
    assert all(secret not in " ".join(process.cmdline()) for process in processes.marked(served.home))
    assert all(secret.encode() not in log.read_bytes() for log in served.home.logs.iterdir())


def test_the_nightly_run_is_scheduled(served: Served, archive: Path) -> None:
    with served.client() as client:
        deployment = client.read_deployment_by_name(f"ingest/{slug(archive)}")
        assert deployment.parameters == {"archive": str(archive)}
        runs = until(lambda: [r for r in client.read_flow_runs() if r.deployment_id == deployment.id])
    assert {run.state.name for run in runs if run.state} == {"Scheduled"}
    assert {run.expected_start_time.hour for run in runs if run.expected_start_time} == {1}


def test_a_run_that_dies_unheard_is_looked_for(served: Served) -> None:
    with served.client() as client:
        (zombies,) = client.read_automations_by_name("rushes-zombies")
    assert zombies.enabled
    assert zombies.trigger.within.total_seconds() == 540


def off(served: Served) -> list[str]:
    """Return what the doctor says is off."""
    return [sentence for finding in examine([], served.home) if finding.grade == "off" for sentence in finding.wrong]


def test_the_doctor_sees_what_is_off_in_the_server_and_up_puts_it_right(served: Served, archive: Path) -> None:
    assert off(served) == []
    with served.client() as client:
        (zombies,) = client.read_automations_by_name("rushes-zombies")
        client.delete_automation(zombies.id)
        ingest = client.read_deployment_by_name(f"ingest/{slug(archive)}")
        schedule = ingest.schedules[0].schedule.model_copy(update={"cron": "7 7 * * *"})
        client.update_deployment_schedule(ingest.id, ingest.schedules[0].id, schedule=schedule)
        missing, changed = off(served)
        assert "rushes-zombies is missing" in missing
        assert "runs at 7 7 * * *" in changed
        client.pause_deployment(ingest.id)
        served.up()
        assert "is paused" in off(served)[0]  # since somebody meant it, it stays so
        client.resume_deployment(ingest.id)
        until(lambda: off(served) == [])


def test_a_scheduler_that_plans_nothing_is_noticed(served: Served, archive: Path) -> None:
    name = f"ingest/{slug(archive)}"
    with served.client() as client:
        there = open_archive(archive)
        assert until(lambda: not list(scheduled(client, there)))
        for run in client.read_flow_runs():
            if run.deployment_id == client.read_deployment_by_name(name).id:
                client.delete_flow_run(run.id)
        assert "scheduler does not work" in next(scheduled(client, there))


def test_a_second_up_finds_the_first(served: Served) -> None:
    before = {name: served.part(name).pid for name in ("server", "worker")}
    told = json.loads(served.up("--json"))
    assert told["url"] == served.url
    assert served.home.secret() not in json.dumps(told)
    assert {name: served.part(name).pid for name in before} == before


def test_a_killed_run_is_seen_as_crashed(served: Served, waiting: UUID, tmp_path: Path) -> None:
    run, process = begin(served, waiting, tmp_path / "flag")
    process.kill()
    assert until(lambda: state_of(served, run) == "Crashed", 60)
    assert completes(served, waiting, tmp_path / "flag")


def test_a_killed_worker_takes_its_runs_along_and_comes_back(served: Served, waiting: UUID, tmp_path: Path) -> None:
    run, process = begin(served, waiting, tmp_path / "flag")
    family = {process, *process.children(recursive=True)}
    assert len(family) > 1
    served.part("worker").kill()
    assert until(lambda: state_of(served, run) == "Crashed", 120)
    assert until(lambda: not any(p.is_running() for p in family))
    assert completes(served, waiting, tmp_path / "flag")


def test_worker_and_run_killed_at_once_are_no_run_for_ever(served: Served, waiting: UUID, tmp_path: Path) -> None:
    run, process = begin(served, waiting, tmp_path / "flag")
    served.part("worker").kill()
    process.kill()
    assert until(lambda: state_of(served, run) == "Crashed", 120)


def test_a_killed_server_comes_back_and_a_run_goes_on_meanwhile(served: Served, waiting: UUID, tmp_path: Path) -> None:
    run, _ = begin(served, waiting, tmp_path / "flag")
    server = served.part("server")
    server.kill()
    (tmp_path / "flag").unlink()  # it has to tell how it ended while nobody listens
    assert until(lambda: served.parts("server") and served.part("server") != server)
    with served.client() as client:
        assert until(lambda: client.api_healthcheck() is None)
        assert client.read_deployments()
    assert until(lambda: ended(state_of(served, run))) == "Completed"


def test_what_a_killed_supervisor_leaves_is_taken_over(served: Served) -> None:
    supervisor = psutil.Process(served.home.supervisor())
    server = served.part("server")
    supervisor.kill()
    supervisor.wait()
    assert server.is_running()
    (served.home.root / "registered.json").write_text('{"request": 7')  # as if the disk had been full
    assert json.loads(served.up("--json"))["url"] == served.url
    assert served.parts("server") == [server]
    assert served.home.supervisor() != supervisor.pid


def test_somebody_elses_server_is_used_and_left_alone(served: Served, archive: Path, tmp_path: Path) -> None:
    other = archive.with_name("b")
    there = {
        key: value for key, value in served.environment.items() if not key.startswith("PREFECT_")
    } | {
        "RUSHES_HOME": str(tmp_path / "home"), "PREFECT_API_URL": f"{served.url}/api",
        "PREFECT_API_AUTH_STRING": served.home.secret(),
    }  # fmt: skip
    server = served.part("server")
    try:
        done = rushes(there, "up", str(other))
        assert done.stdout.strip() == served.url
        assert "none was started" in done.stderr
        with served.client() as client:
            assert {slug(archive), slug(other)} <= {d.name for d in client.read_deployments()}
        theirs = [p.cmdline()[3] for p in processes.marked(Home(tmp_path / "home"))]
        assert "worker" in theirs
        assert "server" not in theirs
        wrong = rushes(there | {"PREFECT_API_AUTH_STRING": "a:b"}, "up", code=2)
        assert "PREFECT_API_AUTH_STRING" in wrong.stderr
    finally:
        rushes(there, "down")
    assert served.parts("server") == [server]


def test_a_changed_schedule_and_other_archives(served: Served, archive: Path) -> None:
    other = archive.with_name("b")
    config = (other / "rushes.toml").read_text()
    (other / "rushes.toml").write_text(config.replace('nightly = "0 1 * * *"', 'nightly = "30 3 * * 1-5"'))
    served.up(str(other))
    with served.client() as client:
        assert {d.name for d in client.read_deployments()} == {slug(other), "waits"}
        (schedule,) = client.read_deployment_by_name(f"ingest/{slug(other)}").schedules
    assert schedule.schedule.cron == "30 3 * * 1-5"
    served.up(str(archive))
    with served.client() as client:
        assert {d.name for d in client.read_deployments()} == {slug(archive), "waits"}


def test_down_leaves_nothing_and_up_goes_on_where_it_was(served: Served, archive: Path) -> None:
    with served.client() as client:
        ingest = client.read_deployment_by_name(f"ingest/{slug(archive)}")
    assert "server" in served.down()
    assert processes.marked(served.home) == []
    assert served.home.supervisor() is None
    assert "Nothing" in served.down()
    port = int(served.url.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        # as a service manager starts it: without archives, those that it had before
        command = [sys.executable, "-m", "flows.cli", "up", "--foreground", "--port", str(port)]
        service = subprocess.Popen(command, env=dict(served.environment), cwd=ROOT)
        told = until(lambda: served.home.supervisor() == service.pid and served.up("--json"))
    assert "rushes down" in served.up("--foreground", code=2)
    moved = Served(served.home, served.environment, json.loads(told)["url"])
    assert moved.url != served.url
    with moved.client() as client:
        again = client.read_deployment_by_name(f"ingest/{slug(archive)}")
        assert again.id == ingest.id
        assert not again.paused
        assert [s.active for s in again.schedules] == [True]
    service.terminate()
    assert service.wait(60) == 0
    assert processes.marked(served.home) == []
