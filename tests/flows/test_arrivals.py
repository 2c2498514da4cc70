"""From files that land in a folder to moments that are found: a real server, a real worker, a real watcher."""

import shutil
import threading
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import index
from flows import saved_queries
from flows.cli import main
from flows.events import ARRIVED, QUERY_MATCHED, RUN_FINISHED, SETTLING, arrival_automation, emit, install, resource_of
from flows.names import slug
from index.generation import current
from pipeline.archive import Archive
from pipeline.store.tables import Tables
from tests.flows.serving import Served, until
from tests.media import film, picture

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]
STABLE_SECONDS = 3.0
"""As tests/flows/conftest.py has it."""


@pytest.fixture
def archive(night) -> Archive:
    return night.archives["arrivals"]


@pytest.fixture
def served(night) -> Served:
    return night.served


@pytest.fixture
def source(archive) -> Path:
    return Path(archive.settings.sources[0])


def happened(served: Served, name: str, root: Path) -> list[dict[str, Any]]:
    """Return the payloads of an archive's events of a name."""
    which = {"event": {"name": [name]}, "resource": {"id": [resource_of(slug(root))]}}
    with served.client() as client:
        found = client.request("POST", "/events/filter", json={"filter": which}).json()["events"]
    return [each["payload"] for each in found]


def runs(served: Served, root: Path) -> list[dict[str, Any]]:
    """Return the ingest runs of an archive, the latest first."""
    which = {"deployments": {"name": {"any_": [slug(root)]}}, "flows": {"name": {"any_": ["ingest"]}}}
    with served.client() as client:
        return list(
            client.request("POST", "/flow_runs/filter", json={**which, "sort": "EXPECTED_START_TIME_DESC"}).json()
        )


def is_watching(served: Served) -> bool:
    """Tell whether the system tells the watcher of a folder."""
    told = Path(f"/proc/{served.part('watch').pid}/fdinfo")
    return any("inotify wd:" in each.read_text() for each in told.iterdir())


def write_slowly(path: Path, body: bytes, seconds: float) -> None:
    with path.open("wb") as file:
        for n in range(20):
            file.write(body[n * len(body) // 20 : (n + 1) * len(body) // 20])
            file.flush()
            time.sleep(seconds / 20)


def test_a_burst_with_a_slow_writer_is_one_run_that_indexes_every_file(served, archive, source, tmp_path):
    until(lambda: is_watching(served))
    slow = film(tmp_path / "slow.mp4", ["red", "blue"]).read_bytes()
    writer = threading.Thread(target=write_slowly, args=(source / "slow.mp4", slow, 3 * STABLE_SECONDS))
    writer.start()
    (source / "new").mkdir()
    for n in range(10):
        picture(tmp_path / f"{n}.png", "green", (64 + n, 48))
        shutil.copy(tmp_path / f"{n}.png", source / "new")
    until(lambda: [run for run in runs(served, archive.root) if run["state_type"] == "COMPLETED"])
    writer.join()
    rows = Tables(archive.tables).assets()
    assert {str(row.outcome) for row in rows} == {"indexed"}
    assert len(rows) == 11
    (hit, *_) = index.open(archive.root).search("blue", k=1)
    assert (hit.uri, hit.start_seconds) == ("slow.mp4", 2.0)
    (told,) = until(lambda: happened(served, ARRIVED, archive.root))
    assert told["files"] == 11
    assert "new/3.png" in told["names"]
    (finished,) = until(lambda: happened(served, RUN_FINISHED, archive.root))
    assert finished["indexed"] == 11
    deadline = time.monotonic() + SETTLING.total_seconds() + 5
    while time.monotonic() < deadline:  # nothing of it sets off another
        assert len(runs(served, archive.root)) == 1
        time.sleep(1)
    assert len(happened(served, ARRIVED, archive.root)) == 1


def test_a_saved_question_is_told_of_new_footage_once(served, archive, source, tmp_path, capsys):
    assert main(["watch-query", "add", str(archive.root), "something blue", "--modality", "visual"]) == 0
    film(tmp_path / "night.mp4", ["green", "blue", "green"])
    until(lambda: is_watching(served))
    before = {path: path.read_bytes() for path in (archive.root / "told").iterdir()}
    shutil.copy(tmp_path / "night.mp4", source)
    (told,) = until(lambda: happened(served, QUERY_MATCHED, archive.root))
    assert {key: told[key] for key in ("question", "uri", "start_seconds", "stop_seconds", "modality")} == {
        "question": "something blue", "uri": "night.mp4", "modality": "visual", "start_seconds": 2.0,
        "stop_seconds": 4.0,
    }  # fmt: skip
    assert told["score"] >= saved_queries.FLOOR
    assert told["generation"] == current(archive.index).name
    until(lambda: runs(served, archive.root)[0]["state_type"] == "COMPLETED")
    with served.client():
        assert saved_queries.ask(archive, "gen-000002") == []
        for path in (
            archive.root / "told"
        ).iterdir():  # as if it was killed after Prefect was told, before it was noted
            path.unlink()
        for path, body in before.items():
            path.write_bytes(body)
        assert len(saved_queries.ask(archive, "gen-000002")) == 1
        assert emit(RUN_FINISHED, archive.root, {"after": "it"})
    until(lambda: {"after": "it"} in happened(served, RUN_FINISHED, archive.root))  # events are kept in order
    assert len(happened(served, QUERY_MATCHED, archive.root)) == 1


def test_events_close_together_start_one_run_which_waits_for_the_last(served, tmp_path):
    root = tmp_path / "another"
    with served.client() as client:
        deployment = {
            "name": slug(root),
            "flow_id": str(client.create_flow_from_name("ingest")),
            "concurrency_limit": 1,
        }
        made = client.request("POST", "/deployments/", json=deployment).json()["id"]
        automation = arrival_automation(slug(root), made)
        number = install(automation)
        client.pause_automation(number)
        assert install(automation) == number
        assert not client.read_automation(number).enabled  # what a person has paused stays paused
        client.resume_automation(number)
        assert len(client.read_automations_by_name(automation.name)) == 1
        for n in range(5):
            assert emit(ARRIVED, root, {"files": n})
        last = time.time()
    until(lambda: len(happened(served, ARRIVED, root)) == 5)
    (run,) = until(lambda: runs(served, root))
    assert _seconds(run["expected_start_time"]) >= last
    with served.client():
        until(lambda: time.time() > last + SETTLING.total_seconds() + 0.5)
        assert emit(ARRIVED, root, {})
    assert until(lambda: len(runs(served, root)) == 2)


class Unspeakable:
    """What cannot be put into words."""

    def __str__(self) -> str:
        raise ValueError("no words")


def test_an_event_is_bounded_and_names_in_it_are_data(served, tmp_path):
    root = tmp_path / "<b>odd</b>\n"
    nasty = "\x1b[31m{{ 7 * 7 }}\n\x00\udcff" + "x" * 1000
    with served.client():
        assert emit(ARRIVED, root, {"names": [nasty] * 1000, "deep": [[[[[["x"]]]]]], "nothing": None, "n": 1})
        assert not emit(ARRIVED, root, {"odd": Unspeakable()})
    (told,) = until(lambda: happened(served, ARRIVED, root))
    assert len(told["names"]) == 20
    assert told["names"][0].startswith("\\x1b[31m{{ 7 * 7 }}\\n\\x00\\udcff")
    assert len(told["names"][0]) == 500
    assert told["n"] == 1


def test_without_an_api_nothing_is_told_and_nothing_raised(monkeypatch, tmp_path):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert not emit(ARRIVED, tmp_path, {})
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert not emit(ARRIVED, tmp_path, {}, once=str(uuid4()))


def _seconds(time_of_day: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(time_of_day).timestamp()
