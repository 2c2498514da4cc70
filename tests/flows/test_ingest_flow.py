"""The flow `ingest` on a real server: what people see, and what is left when it is stopped, killed, started twice."""

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.states import Cancelling

from flows.names import slug
from tests.flows.nights import Night, alive, rows
from tests.flows.serving import rushes, until
from tests.media import film, picture

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
HOSTILE = ("<img src=x onerror=alert(1)>", "[x](javascript:alert(1)) `b` | www.evil.com", "__init__ &lt;b&gt; \"'\n.x")
CANCEL_SECONDS = 15.0
N_FOR_RAY = 70


@pytest.fixture(scope="module")
def first(served_night: Night, toys_known: None) -> Any:
    """Ingest an archive with names that mean harm; return the run, which has ended."""
    source = served_night.source("hostile")
    film(source / "films/show.mp4", ["red", "blue"])
    for name in (each.replace("/", "∕") for each in HOSTILE):
        picture(source / f"{name}.png", "white", (40 + len(name), 30))
        (source / f"{name}.mp4").write_bytes(b"\0\0\0\x18ftypisom" + name.encode())
    return served_night.ended(served_night.begin("hostile"))


def test_a_night_is_a_few_named_steps_and_leaves_what_people_read(night: Night, first: Any) -> None:
    ended, run = first, first.id
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


def test_a_second_night_finds_nothing_to_do(night: Night, first: Any) -> None:
    archive = night.archives["hostile"]
    before = rows(archive)
    assert before
    run = night.begin("hostile")
    assert night.ended(run).state.is_completed()
    assert [step.name.split()[0] for step in night.steps(run)] == ["scan", "plan", "commit", "report"]
    assert rows(archive) == before


def test_what_is_new_is_asked_the_saved_questions(night: Night, first: Any) -> None:
    archive = night.archives["hostile"]
    rushes(night.reaching(), "watch-query", "add", str(archive.root), "red", "--media", "image")
    picture(night.source("hostile") / "`late`.png", "red")
    run = night.begin("hostile")
    ended = night.ended(run)
    name = slug(archive.root)
    assert ended.name == f"ingest {name} · gen-000002"
    assert [step.name for step in night.steps(run)][-2:] == ["ask the saved questions", "report"]
    report = str(night.artifacts(run)[f"report-{name}"].data)
    assert "## Saved questions" in report
    assert "| ˋlateˋ.png |" in report
    assert "1 file." in report


def test_what_a_person_can_cure_is_the_message_of_a_failed_run(night: Night) -> None:
    settings = night.archives["wrong"].root / "rushes.toml"
    settings.write_text(settings.read_text("utf8") + '\n[sound]\nrate = "high"\n', "utf8")
    ended = night.ended(night.begin("wrong"))
    assert ended.state.is_failed()
    assert ended.state.message.startswith(f"{settings}: 'sound' means nothing; known are ")
    assert "Traceback" not in "\n".join(night.logs(ended.id))


def test_of_two_runs_at_once_the_second_ends_well_and_says_who_is_at_work(night: Night) -> None:
    _pictures(night, "twice", 3)
    night.hold.touch()
    archive = night.archives["twice"]
    run = night.begin("twice")
    holder = night.process("twice").pid
    code = "import sys; from flows.ingest import ingest; ingest(sys.argv[1], return_state=True)"
    subprocess.run(
        [sys.executable, "-c", code, str(archive.root)], env=night.reaching(), check=True, timeout=240, cwd=ROOT
    )
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
    stored = rows(archive)
    assert len(stored) == len(set(stored)) > 0


def test_a_killed_run_is_seen_as_crashed_and_the_next_one_completes(night: Night) -> None:
    _pictures(night, "killed", 5)
    night.hold.touch()
    run = night.begin("killed")
    process = night.process("killed")
    family = [process, *process.children(recursive=True)]
    process.send_signal(signal.SIGKILL)
    assert night.ended(run).state.is_crashed()
    until(lambda: not any(alive(each) for each in family))
    night.hold.unlink()
    assert night.ended(night.begin("killed")).state.is_completed()
    stored = rows(night.archives["killed"])
    assert len({asset for asset, _ in stored}) == 5
    assert len(stored) == len(set(stored))


def test_cancelling_stops_the_work_on_ray_and_leaves_no_process(night: Night) -> None:
    _pictures(night, "cancelled", N_FOR_RAY)
    night.hold.touch()
    run = night.begin("cancelled")
    process = night.process("cancelled")
    family = until(lambda: _with_encoder(process))
    began = datetime.now(UTC)
    with night.served.client() as client:
        client.set_flow_run_state(run, Cancelling())
    until(lambda: not any(alive(each) for each in family), CANCEL_SECONDS)
    assert datetime.now(UTC) - began < timedelta(seconds=CANCEL_SECONDS)
    assert night.ended(run).state.is_cancelled()
    night.hold.unlink()
    assert night.ended(night.begin("cancelled")).state.is_completed()
    assert len({asset for asset, _ in rows(night.archives["cancelled"])}) == N_FOR_RAY


def test_a_scheduled_run_beyond_its_window_stops_and_the_rest_carries_over(night: Night) -> None:
    _pictures(night, "window", 4)
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
    assert len({asset for asset, _ in rows(archive)}) == 4


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


def _pictures(night: Night, name: str, n_pictures: int) -> None:
    for n in range(n_pictures):
        picture(night.source(name) / f"{n}.png", "green", (40 + n, 30))
