"""An ingest as a job on a real Ray cluster: found again, followed, stopped, and the same rows whatever dies."""

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

import encoders.profiles
import encoders.registry
from pipeline.archive import create_archive, open_archive
from pipeline.errors import ArchiveError
from pipeline.executors import jobs, local
from pipeline.ingest import ingest
from tests.media import film, picture
from tests.pipeline.clusters import ROOT, TOYED, cluster, until
from tests.pipeline.test_ingest import Silent, rows
from tests.toys import TOY, TOYS

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]
WORK = ("pipeline.executors.driver", "ray::decode_jobs", "ray::Encoder")


@pytest.fixture(scope="module")
def ray():
    with cluster(n_nodes=2) as started:
        yield started


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    source = tmp_path_factory.mktemp("media")
    for n in range(12):
        colours = [("red", "blue", "green", "white")[(n + k) % 4] for k in range(2 + n % 3)]
        film(source / f"films/{n}.mp4", colours)
    for n in range(20):
        picture(source / f"pictures/{n}.png", "green", (40 + n, 30))
    (source / "broken.mp4").write_bytes(b"\0\0\0\x18ftypisom" + b"x" * 200)
    return source


@pytest.fixture(scope="module")
def expected(media, tmp_path_factory):
    """The rows that the local executor makes of the media."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders.registry, "FACTORIES", {**encoders.registry.FACTORIES, **TOYS})
        patch.setattr(encoders.profiles, "PROFILES", {**encoders.profiles.PROFILES, TOY.name: TOY})
        archive = create_archive(tmp_path_factory.mktemp("local") / "archive", [str(media)], TOY.name)
        ingest(archive, local.run, Silent())
        return rows(archive)


@pytest.fixture
def archive(ray, media, expected, tmp_path, toys, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", ray.token)
    root = create_archive(tmp_path / "it's an archive; $(x)", [str(media)], toys).root
    text = (root / "rushes.toml").read_text().replace('address = ""', f'address = "{ray.address}"')
    (root / "rushes.toml").write_text(text)
    return open_archive(root)


class Seen(Silent):
    def __init__(self):
        self.n_files, self.states = 0, []
        self.began = threading.Event()

    def planned(self, n_files, n_bytes):
        self.n_files = n_files

    def started(self, asset_id, n_bytes):
        self.began.set()

    def finished(self, asset_id, uri, state, reason):
        self.states.append(state)


def names_of(archive, run_id):
    return [job.submission_id for job in jobs._attempts(jobs._client(archive.settings.ray.address), run_id)]


def test_a_job_gives_the_same_rows_as_local_and_is_found_again(archive, expected, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://elsewhere:10001")  # Ray would prefer it to the address that it is given
    watcher = Seen()
    report = jobs.ingest_on_cluster(archive, "one", watcher)
    assert report.states == {"indexed": 32, "quarantined": 1}
    assert rows(archive) == expected
    assert (watcher.n_files, len(watcher.states)) == (33, 33)
    assert jobs.ingest_on_cluster(archive, "one", Silent()) == report
    assert names_of(archive, "one") == ["rushes-one"]
    assert jobs.ingest_on_cluster(archive, "two", Silent(), limit=3).states == {"unchanged": 33}


def test_a_cluster_that_does_not_know_the_token_is_named(archive, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "guessed")
    with pytest.raises(ArchiveError, match=archive.settings.ray.address):
        jobs.ingest_on_cluster(archive, "intruder", Silent())


def test_what_ends_a_run_over_there_is_told_here(archive):
    (archive.root / "rushes.toml").write_text("sources = 3\n")
    with pytest.raises(Exception, match="sources = 3 needs at least one folder"):
        jobs.ingest_on_cluster(archive, "unreadable", Silent())


FOLLOWING = """
import sys
from pathlib import Path
from pipeline.archive import open_archive
from pipeline.executors import jobs
from tests.pipeline.test_jobs import Silent

class Telling(Silent):
    def started(self, asset_id, n_bytes):
        print("began", flush=True)

jobs.ingest_on_cluster(open_archive(Path(sys.argv[1])), sys.argv[2], Telling())
"""


def following(archive, ray, run_id):
    environment = {**os.environ, "PYTHONPATH": f"{TOYED}:{ROOT}"}
    command = [sys.executable, "-c", FOLLOWING, archive.root, run_id]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"began\n"
    return process


def test_a_flow_that_is_killed_finds_its_job_again(archive, ray, expected):
    first = following(archive, ray, "killed")
    first.kill()
    first.wait()
    report = jobs.ingest_on_cluster(archive, "killed", Silent())
    assert report.discovered == 33
    assert names_of(archive, "killed") == ["rushes-killed"]
    assert rows(archive) == expected


def test_stopping_leaves_no_process_and_the_next_run_completes(archive, ray, expected):
    flow = following(archive, ray, "stopped")
    working = until(lambda: ray.processes("ray::decode_jobs") and ray.processes(*WORK))
    began = time.monotonic()
    assert jobs.stop(ray.address, "stopped")
    until(lambda: not [p for p in working if p.is_running() and p.status() != "zombie"], 15 - time.monotonic() + began)
    assert flow.wait(60) != 0
    assert b"STOPPED" in flow.stderr.read()
    assert not jobs.stop(ray.address, "stopped")
    report = jobs.ingest_on_cluster(archive, "stopped", Silent())
    assert names_of(archive, "stopped") == ["rushes-stopped", "rushes-stopped.2"]
    assert report.states["deferred"] == 0
    assert rows(archive) == expected


def test_an_interruption_here_stops_the_job_over_there(archive, ray):
    flow = following(archive, ray, "interrupted")
    flow.send_signal(signal.SIGINT)
    assert flow.wait(60) != 0
    until(lambda: not ray.processes(*WORK), 15)


def test_jobs_whose_flow_run_is_over_are_reaped(archive, ray):
    flow = following(archive, ray, "orphan")
    flow.kill()
    flow.wait()
    assert jobs.reap(ray.address, lambda run_id: False) == []
    assert jobs.reap(ray.address, lambda run_id: run_id == "orphan") == ["orphan"]
    assert jobs.reap(ray.address, lambda run_id: True) == []


def test_a_driver_that_is_killed_is_told_and_the_next_run_completes(archive, ray, expected):
    flow = following(archive, ray, "driverless")
    for process in ray.processes("pipeline.executors.driver"):
        if "ray::" not in process.name():
            process.kill()
    assert flow.wait(120) != 0
    assert b"run again: what is done is kept" in flow.stderr.read()
    jobs.ingest_on_cluster(archive, "driverless", Silent())
    assert rows(archive) == expected


def test_two_at_once_give_each_row_once(archive, ray, expected):
    first = following(archive, ray, "first")
    with pytest.raises(ArchiveError, match="is being written by process"):
        ingest(archive, local.run, Silent())
    said = ""
    try:
        jobs.ingest_on_cluster(archive, "second", Silent())
    except ArchiveError as refused:
        said = str(refused)
    assert not said or "is being written by process" in said  # its job starts in seconds: the first may be done by then
    assert first.wait(240) == 0
    assert rows(archive) == expected


def test_a_raylet_that_is_killed_changes_no_row(archive, ray, expected):
    """Comes last: the cluster has one node less from here on."""
    flow = following(archive, ray, "smaller")
    raylets = [p for p in psutil.Process(ray.nodes[1].pid).children(recursive=True) if "raylet" in p.name()]
    assert raylets
    for process in raylets:
        process.kill()
    assert flow.wait(400) == 0, flow.stderr.read()
    if ingest(archive, local.run, Silent()).states["deferred"]:
        pytest.fail("the next run has to complete")
    assert rows(archive) == expected
