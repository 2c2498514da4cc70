"""The Ray executor keeps the local one's contract, also when its workers are killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import encoders.registry
from pipeline.errors import ArchiveError
from pipeline.executors import local
from pipeline.executors import ray as on_ray
from pipeline.executors.cluster import ENCODER_CPUS, Demands
from pipeline.executors.suspects import ENCODER_CRASH
from pipeline.ingest import ingest
from pipeline.media import Outcome
from pipeline.store.tables import Tables
from tests.media import film, picture, sound
from tests.pipeline.clusters import ROOT, TOYED, until
from tests.pipeline.test_budget import stopped_run
from tests.pipeline.test_ingest import Silent, rows
from tests.pipeline.test_seeing import of_profile

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]


@pytest.fixture
def source(tmp_path):
    source = tmp_path / "source"
    for n, colours in enumerate((["red", "blue"], ["green", "white"], ["blue", "red", "green"])):
        film(source / f"films/{n}.mp4", colours)
    for n in range(12):
        picture(source / f"pictures/{n}.png", "green", (40 + n, 30))
    sound(source / "sounds/low.flac", "low")
    (source / "broken.mp4").write_bytes(b"\0\0\0\x18ftypisom" + b"x" * 200)
    return source


def workers(of: str) -> list[int]:
    """Return the processes that Ray has named after what they run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if command.startswith("ray::") and of in command:
                found.append(int(entry.name))
    return found


def both(archive, tmp_path, killing=None):
    ingest(archive, local.run, Silent())
    expected = rows(archive)
    (archive.root / "tables").rename(tmp_path / "local-tables")
    stop = threading.Event()
    killed: list[int] = []

    def kill() -> None:
        while not stop.is_set() and len(killed) < 2:
            for process in workers(killing):
                if process not in killed:
                    os.kill(process, signal.SIGKILL)
                    killed.append(process)
                    break
            time.sleep(0.05)

    killer = threading.Thread(target=kill) if killing else None
    if killer:
        killer.start()
    try:
        report = ingest(archive, on_ray.run, Silent())
    finally:
        stop.set()
        if killer:
            killer.join()
    return archive, expected, report, killed


def test_ray_gives_the_same_rows_as_local(source, make_archive, tmp_path):
    archive, expected, report, _ = both(of_profile(make_archive(), "toy-all"), tmp_path)
    assert {track for _, _, track, *_ in expected} >= {"v:0", "clip:0", "caption", "ocr", "a:0", "speech", "scene"}
    assert report.states == {"indexed": 16, "quarantined": 1}
    assert rows(archive) == expected


@pytest.mark.parametrize("killing", ["ray::decode_jobs", "ray::Encoder"])
def test_a_worker_that_is_killed_in_the_middle_changes_no_row(source, make_archive, tmp_path, killing):
    archive, expected, report, killed = both(make_archive(), tmp_path, killing)
    assert killed
    if report.states["deferred"]:  # retries are finite: what was lost for good is taken up by the next run
        ingest(archive, local.run, Silent())
    assert rows(archive) == expected


def test_what_kills_encoders_is_found_and_quarantined(source, make_archive, monkeypatch):
    """A film among others and a picture among others: both in parcels with what is innocent."""
    picture(source / "pictures/white.png", "white")
    archive = dying_of(make_archive, monkeypatch, "AfraidOfWhite")
    report = ingest(archive, on_ray.run, Silent())
    assert report.states == {"indexed": 15, "quarantined": 3}
    refused = {uri: row.reason for uri, row in by_uri(archive).items() if row.outcome == Outcome.QUARANTINED}
    assert refused.pop("broken.mp4") != ENCODER_CRASH
    assert refused == {"films/1.mp4": ENCODER_CRASH, "pictures/white.png": ENCODER_CRASH}
    assert ingest(archive, local.run, Silent()).states == {"unchanged": 18}


def test_encoders_that_die_of_everything_accuse_no_file(tmp_path, make_archive, monkeypatch):
    picture(tmp_path / "source/a.png", "green")
    assert ingest(dying_of(make_archive, monkeypatch, "Broken"), on_ray.run, Silent()).states == {"deferred": 1}


def dying_of(make_archive, monkeypatch, encoder):
    archive = make_archive()
    factories = {**encoders.registry.FACTORIES, "toy-colours": f"tests.pipeline.deadly:{encoder}"}
    monkeypatch.setattr(encoders.registry, "FACTORIES", factories)
    return archive


def by_uri(archive):
    return {place.uri: row for row in Tables(archive.tables).assets() for place in row.locations}


def test_a_ray_client_address_is_refused(source, make_archive, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://somewhere:10001")
    with pytest.raises(ArchiveError, match="ray://somewhere"):
        ingest(make_archive(), on_ray.run, Silent())


def test_a_run_on_ray_over_its_budget_stops_and_carries_over(source, make_archive):
    for n in range(60):
        picture(source / f"more/{n}.png", "blue", (40 + n, 31))
    archive = make_archive()
    report, _ = stopped_run(archive, executor=on_ray.run)
    assert report.stopped
    assert report.states["deferred"] == report.n_left > 0
    assert report.discovered == 77
    assert ingest(archive, local.run, Silent()).states["deferred"] == 0
    assert len({row[0] for row in rows(archive, "asset_id")}) == 76


def test_nothing_to_do_is_no_reason_to_start_ray(make_archive, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # nobody is there
    assert ingest(make_archive(), on_ray.run, Silent()).states == {}


def test_a_cluster_that_is_not_there_is_named(source, make_archive, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ArchiveError, match=r"RAY_ADDRESS = 127\.0\.0\.1:1"):
        ingest(make_archive(), on_ray.run, Silent())


@pytest.mark.parametrize(
    ("n_cpus", "n_gpus", "share", "expected"),
    [
        (1, 0, 0.25, (1, 1, 0)),
        (2, 0, 0.25, (1, 2, 0)),
        (16, 1, 0.25, (4, 18, 0.25)),
        (16, 8, 0.25, (8, 16, 0.25)),
        (64, 1, 0.25, (4, 82, 0.25)),
        (16, 1, 0.0, (4, 18, 0)),
    ],
)
def test_a_run_takes_what_suits_a_cluster(n_cpus, n_gpus, share, expected):
    demands = Demands.on(n_cpus, n_gpus, share)
    assert (demands.n_encoders, demands.n_lanes, demands.gpu_share) == expected
    taken = demands.n_encoders * ENCODER_CPUS + demands.n_lanes * demands.lane_cpus
    assert demands.lane_cpus > 0
    assert taken <= n_cpus, "all of it runs at once"


RUN = """
import sys
from pathlib import Path
from pipeline.archive import open_archive
from pipeline.errors import RushesError
from pipeline.executors import ray
from pipeline.executors.suspects import ENCODER_CRASH
from pipeline.ingest import ingest
from pipeline.media import Outcome
from pipeline.store.tables import Tables
from tests.pipeline.test_ray import Silent

class Telling(Silent):
    def made(self, made):
        print("made", file=sys.__stdout__, flush=True)

try:
    report = ingest(open_archive(Path(sys.argv[1])), ray.run, Telling())
except RushesError as error:
    sys.exit(f"told: {error}")
sys.exit(3 if report.interrupted else 0)
"""


class Apart:
    """A run on Ray in a process of its own, and all that it starts."""

    def __init__(self, archive, **environment):
        variables = {**os.environ, "PYTHONPATH": f"{TOYED}:{ROOT}", **environment}
        command = [sys.executable, "-c", RUN, archive.root]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )

    def working(self):
        """Wait until pieces are made; return all processes of the run."""
        assert self.process.stdout.readline() == b"made\n"
        return psutil.Process(self.process.pid).children(recursive=True)

    def ended(self):
        """Wait for its end; return the exit code and what it said."""
        with suppress(subprocess.TimeoutExpired):
            _, said = self.process.communicate(timeout=200)
            return self.process.returncode, said.decode()
        self.process.kill()
        return None, self.process.communicate()[1].decode()


@pytest.fixture
def expected(source, make_archive, tmp_path):
    """The rows that the local executor makes; its tables are put away."""
    for n in range(40):
        picture(source / f"more/{n}.png", "blue", (40 + n, 31))
    archive = make_archive()
    ingest(archive, local.run, Silent())
    made = rows(archive)
    (archive.root / "tables").rename(tmp_path / "local-tables")
    return made


def gone(processes):
    until(lambda: not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE], 120)


def completes(archive, expected):
    ingest(archive, local.run, Silent())
    assert rows(archive) == expected


def test_a_raylet_that_is_killed_ends_the_run_with_a_sentence(expected, make_archive):
    run = Apart(make_archive())
    processes = run.working()
    for process in processes:
        if process.name() == "raylet":
            process.kill()
    code, said = run.ended()
    assert code in (0, 1), said  # 0: what was under way was enough
    assert code == 0 or "told: Ray has died on this machine; run again" in said
    gone(processes)
    completes(make_archive(), expected)


def test_a_driver_that_is_killed_leaves_no_process(expected, make_archive):
    run = Apart(make_archive())
    processes = run.working()
    run.process.kill()
    run.ended()
    gone(processes)
    completes(make_archive(), expected)


def test_an_interruption_leaves_no_process(expected, make_archive):
    run = Apart(make_archive())
    processes = run.working()
    run.process.send_signal(signal.SIGINT)
    code, said = run.ended()
    assert code == 3, said
    gone(processes)
    completes(make_archive(), expected)


def test_memory_that_runs_out_ends_the_run_and_loses_nothing(expected, make_archive):
    """Ray's monitor sees the machine as full, and kills workers one after the other."""
    run = Apart(make_archive(), RAY_memory_usage_threshold="0.01", RAY_memory_monitor_refresh_ms="100")
    code, said = run.ended()
    assert code in (0, 1), said
    assert code == 0 or "told: " in said
    completes(make_archive(), expected)
