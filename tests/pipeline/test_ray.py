"""The Ray executor keeps the local one's contract, also when its workers are killed."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from pipeline.errors import ArchiveError
from pipeline.executors import local
from pipeline.executors import ray as on_ray
from pipeline.ingest import ingest
from tests.media import film, picture, sound
from tests.pipeline.test_ingest import Silent, rows

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


def both(make_archive, tmp_path, killing=None):
    archive = make_archive()
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
    archive, expected, report, _ = both(make_archive, tmp_path)
    assert report.states == {"indexed": 16, "quarantined": 1}
    assert rows(archive) == expected


@pytest.mark.parametrize("killing", ["ray::_decode", "_Encoder"])
def test_a_worker_that_is_killed_in_the_middle_changes_no_row(source, make_archive, tmp_path, killing):
    archive, expected, report, killed = both(make_archive, tmp_path, killing)
    assert killed
    if report.states["deferred"]:  # retries are finite: what was lost for good is taken up by the next run
        ingest(archive, local.run, Silent())
    assert rows(archive) == expected


def test_a_ray_client_address_is_refused(source, make_archive, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://somewhere:10001")
    with pytest.raises(ArchiveError, match="ray://somewhere"):
        ingest(make_archive(), on_ray.run, Silent())
