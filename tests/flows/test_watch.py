"""What arrives is noticed, left until it is stable, and told once for a burst."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows import folders, listings
from flows import watch as watching
from flows.bursts import LONGEST_WAIT_SECONDS, Burst
from flows.cli import main
from flows.watch import Watched
from pipeline.archive import open_archive, writing
from pipeline.store.discover import Found
from pipeline.store.schemas import Location
from tests.flows.serving import until

STABLE = 0.3


def settled(burst: Burst) -> set[str]:
    burst.settle(time.monotonic())
    return set(burst.names)


@pytest.fixture
def followed(tmp_path, monkeypatch) -> Iterator[Callable[..., tuple[Burst, list[str]]]]:
    """Return a function that follows a folder; everything is stopped in the end."""
    monkeypatch.setattr(folders, "LOOK_AGAIN_SECONDS", 0.2)
    monkeypatch.setattr(folders, "POLL_SECONDS", 0.2)
    stop = threading.Event()
    threads = []

    def follow(folder: Path, archive: Path = tmp_path / "archive") -> tuple[Burst, list[str]]:
        burst, said = Burst(STABLE), []
        threads.append(threading.Thread(target=folders.follow, args=(folder, archive, burst, stop, said.append)))
        threads[-1].start()
        if folder.is_dir():  # wait until it is watched: what came before is not noticed
            probe = folder / "probe"
            until(lambda: probe.write_text(str(time.monotonic())) and (settled(burst) or burst._pending))
            until(lambda: settled(burst))
            probe.unlink()
            burst.told()
        return burst, said

    yield follow
    stop.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_files_are_noticed_wherever_they_come_from_and_what_a_listing_leaves_out_is_not(tmp_path, followed):
    source = tmp_path / "source"
    source.mkdir()
    burst, _ = followed(source)
    (source / ".hidden.mp4").write_text("x")
    (source / "a.mp4.part").write_text("x")
    (source / "b.mp4.tmp").write_text("x")
    (source / "b.mp4.tmp").rename(source / "b.mp4")
    (source / "new/below").mkdir(parents=True)
    (source / "new/below/c.mp4").write_text("x")
    (source / "new/.cache").mkdir()
    (source / "new/.cache/d.mp4").write_text("x")
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved/e.mp4").write_text("x")
    (tmp_path / "moved").rename(source / "moved")
    wanted = {"b.mp4", "new/below/c.mp4", "moved/e.mp4"}
    until(lambda: wanted <= settled(burst), 20)
    assert set(burst.names) == wanted
    (source / "new/below/later").mkdir()
    (source / "new/below/later/f.mp4").write_text("x")
    until(lambda: "new/below/later/f.mp4" in settled(burst), 20)


def test_names_that_are_not_utf8_links_and_folders_that_go_at_once_are_no_trouble(tmp_path, followed):
    (tmp_path / "real").mkdir()
    source = tmp_path / "link"
    source.symlink_to(tmp_path / "real")
    burst, said = followed(source)
    for n in range(50):
        (source / f"short{n}").mkdir()
        (source / f"short{n}").rmdir()
    Path(os.fsdecode(bytes(source) + b"/caf\xe9.mp4")).write_text("x")
    until(lambda: burst.n_files or settled(burst), 20)
    Path(os.fsdecode(bytes(source) + b"/f\xfcr")).mkdir()
    Path(os.fsdecode(bytes(source) + b"/f\xfcr/a.mp4")).write_text("x")
    until(lambda: any(name.endswith("a.mp4") for name in settled(burst)), 20)
    assert said == []


def test_reading_and_deleting_is_no_arrival_and_neither_is_what_the_archive_does(tmp_path, followed):
    source = tmp_path / "source"
    (source / "archive/tables").mkdir(parents=True)
    (source / "old.mp4").write_text("x")
    (source / "gone.mp4").write_text("x")
    burst, _ = followed(source, source / "archive")
    (source / "old.mp4").read_bytes()
    (source / "gone.mp4").unlink()
    (source / "archive/tables/part.parquet").write_text("x")
    (source / "last.mp4").write_text("x")
    until(lambda: "last.mp4" in settled(burst), 20)
    assert burst.names == ("last.mp4",)


def test_a_file_that_is_being_written_is_left_until_it_is_stable(tmp_path, followed):
    source = tmp_path / "source"
    source.mkdir()
    burst, _ = followed(source)
    began = time.monotonic()
    with (source / "slow.mp4").open("w") as slow:
        while time.monotonic() - began < 5 * STABLE:
            slow.write("x")
            slow.flush()
            assert not settled(burst)
            time.sleep(STABLE / 6)
    until(lambda: settled(burst), 20)
    assert burst.n_bytes == (source / "slow.mp4").stat().st_size


def test_a_disk_that_is_unplugged_is_told_once_and_counts_as_an_arrival_when_it_is_back(tmp_path, followed):
    source = tmp_path / "source"
    source.mkdir()
    burst, said = followed(source)
    source.rename(tmp_path / "unplugged")
    until(lambda: said, 20)
    time.sleep(1)  # several looks
    assert len(said) == 1
    assert "not there" in said[0]
    (tmp_path / "unplugged/a.mp4").write_text("x")
    (tmp_path / "unplugged").rename(source)
    until(lambda: "a.mp4" in settled(burst), 20)
    assert "is back" in said[1]
    (source / "b.mp4").write_text("x")  # and it is watched again
    until(lambda: "b.mp4" in settled(burst), 20)


def test_another_disk_in_its_place_is_watched(tmp_path, followed):
    source = tmp_path / "source"
    source.mkdir()
    burst, _ = followed(source)
    other = tmp_path / "other"
    other.mkdir()
    source.rename(tmp_path / "first")
    other.rename(source)
    number = iter(range(1000))
    until(lambda: (source / f"{next(number)}.mp4").write_text("x") and settled(burst), 20)


def test_where_the_system_does_not_tell_it_is_looked(tmp_path, followed, monkeypatch):
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", "1")
    source = tmp_path / "source"
    (source / "below").mkdir(parents=True)
    burst, _ = followed(source)
    (source / "below/a.mp4").write_text("x")
    until(lambda: "below/a.mp4" in settled(burst), 20)


LIMITED = """
import itertools, sys, threading, time
from pathlib import Path
from flows import folders
from flows.bursts import Burst
folders.POLL_SECONDS = folders.LOOK_AGAIN_SECONDS = 0.2
source, burst, said = Path(sys.argv[1]), Burst(0.3), []
given = (source, source.parent / "archive", burst, threading.Event(), said.append)
threading.Thread(target=folders.follow, args=given, daemon=True).start()
deadline = time.monotonic() + 60
for n in itertools.count():
    if not said:
        (source / f"new{n}").mkdir()
    else:
        (source / f"0/{n}.mp4").write_text("x")
    time.sleep(0.3)
    burst.settle(time.monotonic())
    if burst.n_files or time.monotonic() > deadline:
        break
print(len(said), *said, burst.names)
"""


@pytest.mark.parametrize("watches", [3, 11], ids=["at the start", "later"])
def test_beyond_the_systems_limits_folders_are_looked_through_and_that_is_told_once(tmp_path, watches, in_root):
    tried = ["unshare", "-Ur", "sh", "-c", "echo 9 > /proc/sys/user/max_inotify_watches"]
    if not shutil.which("unshare") or subprocess.run(tried, check=False).returncode:
        pytest.skip("this system lets nobody have limits of their own (user namespaces)")
    source = tmp_path / "source"
    for n in range(10):
        (source / str(n)).mkdir(parents=True)
    limit = f'echo {watches} > /proc/sys/user/max_inotify_watches; exec "$@"'
    done = subprocess.run(
        ["unshare", "-Ur", "sh", "-c", limit, "sh", sys.executable, "-c", LIMITED, str(source)],
        capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    assert done.stdout.startswith("1 The system does not watch"), done
    assert "max_user_watches" in done.stdout
    assert "('0/" in done.stdout


@pytest.mark.parametrize(
    ("mounts", "remote"),
    [
        ("36 35 98:0 / / rw - ext4 /dev/root rw", False),
        ("36 35 98:0 / / rw - ext4 /dev/root rw\n37 36 0:9 / {} rw shared:1 - nfs4 nas:/x rw", True),
        ("36 35 98:0 / / rw - nfs4 nas:/ rw\n37 36 0:9 / {} rw - xfs /dev/sdb rw", False),
        ("36 35 98:0 / / rw - ext4 /dev/root rw\n37 36 0:9 / {}/below rw - fuse.sshfs host: rw", True),
        ("36 35 98:0 / / rw - ext4 /dev/root rw\n37 36 0:9 / /elsewhere rw - cifs //nas/x rw", False),
    ],
)
def test_network_mounts_are_looked_through(tmp_path, mounts, remote):
    folder = tmp_path / "my films"
    folder.mkdir()
    (tmp_path / "mountinfo").write_text(mounts.format(str(folder.resolve()).replace(" ", "\\040")))
    assert folders.is_remote(folder, tmp_path / "mountinfo") == remote


def test_what_has_settled_does_not_wait_for_ever_for_what_is_being_written(tmp_path):
    burst = Burst(10.0)
    for name in ("a", "slow"):
        (tmp_path / name).write_text("x")
        burst.touch(name, 0.0, tmp_path / name)
    burst.settle(5.0)
    assert not burst.is_due(5.0)
    (tmp_path / "slow").write_text("longer")
    burst.settle(10.0)
    assert (burst.n_files, burst.is_due(10.0)) == (1, False)
    for at in range(20, 10 + round(LONGEST_WAIT_SECONDS), 5):
        (tmp_path / "slow").write_text("x" * at)
        burst.settle(float(at))
        assert not burst.is_due(float(at))
    assert burst.is_due(10.0 + LONGEST_WAIT_SECONDS)
    burst.told()
    assert not burst.is_due(1000.0)


def test_what_goes_before_it_is_stable_is_not_told(tmp_path):
    burst = Burst(1.0)
    (tmp_path / "a").write_text("x")
    burst.touch("a", 0.0, tmp_path / "a")
    (tmp_path / "a").unlink()
    burst.settle(5.0)
    assert not burst.is_due(5.0)
    assert burst.n_files == 0


class Shelf:
    """A source that is listed, with what is put on it."""

    def __init__(self) -> None:
        self.places = [Location("old.mp4", "s3://b/old.mp4", 1, 1)]
        self.n_listed = 0
        self.away = False

    def list(self) -> Iterator[Found]:
        self.n_listed += 1
        if self.away:
            raise OSError("no route to host")
        yield from [Found(place) for place in self.places]


def test_a_listing_is_compared_with_the_one_before(monkeypatch):
    monkeypatch.setattr(listings, "LEAST_PAUSE_SECONDS", 0.02)
    shelf, burst, said, stop = Shelf(), Burst(0.0), [], threading.Event()
    thread = threading.Thread(target=listings.follow, args=(shelf, "s3://b", burst, stop, said.append))
    thread.start()
    try:
        until(lambda: shelf.n_listed > 1)
        assert not settled(burst)  # what is there at the start is no news
        shelf.away = True
        until(lambda: said)
        before = shelf.n_listed
        until(lambda: shelf.n_listed > before + 3)
        assert said == ["s3://b cannot be listed (no route to host); trying again."]
        shelf.places += [Location("new.mp4", "s3://b/new.mp4", 1, 1)]
        shelf.places[0] = Location("old.mp4", "s3://b/old.mp4", 2, 1)
        shelf.away = False
        until(lambda: settled(burst) == {"new.mp4", "old.mp4"})
        assert said[1:] == ["s3://b can be listed again."]
        assert burst.n_files == 2
    finally:
        stop.set()
        thread.join(10)


@pytest.fixture
def watched(make_archive, monkeypatch):
    """A watched archive with a record of what was told; Prefect answers when `told.open` says so."""
    told = []
    monkeypatch.setattr(watching, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(watching, "FIRST_RETRY_SECONDS", 0.1)
    monkeypatch.setattr(watching, "emit", lambda name, root, payload: told.append(payload) or bool(payload))
    archive = make_archive()
    toml = archive.root / "rushes.toml"
    toml.write_text(toml.read_text().replace("stable_seconds = 10.0", f"stable_seconds = {STABLE}"))
    stop = threading.Event()
    each = Watched(archive.root)
    thread = threading.Thread(target=each.run, args=(stop,))
    thread.start()
    yield archive, each, told
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def arrive(archive, each, told) -> None:
    """Put files into the source until the first is noticed."""
    number = iter(range(10**6))
    before = len(told)
    source = Path(archive.settings.sources[0])
    until(lambda: (source / f"{next(number)}.mp4").write_text("x") and (each.burst._pending or len(told) > before), 20)


def test_nothing_is_told_while_a_run_holds_the_archive(watched):
    archive, each, told = watched
    with writing(archive):
        arrive(archive, each, told)
        until(lambda: each.burst.n_files and each.burst.is_due(time.monotonic()), 20)
        time.sleep(0.5)
        assert told == []
    until(lambda: told, 20)
    assert told[0]["files"] >= 1
    time.sleep(0.5)
    assert len(told) == 1


def test_an_edited_rushes_toml_is_read_again_and_a_broken_one_told_once(watched, tmp_path, capfd):
    archive, each, told = watched
    arrive(archive, each, told)
    until(lambda: told, 20)
    toml = archive.root / "rushes.toml"
    good = toml.read_text()
    toml.write_text("sources = [")
    until(lambda: "not valid TOML" in capfd.readouterr().err, 20)
    before = len(told)
    arrive(archive, each, told)  # as before
    until(lambda: len(told) > before, 20)
    (tmp_path / "more").mkdir()
    toml.write_text(good.replace(str(tmp_path / "source"), str(tmp_path / "more")))
    until(lambda: f"Watching {tmp_path / 'more'}" in capfd.readouterr().err, 20)
    before = len(told)
    arrive(open_archive(archive.root), each, told)
    until(lambda: len(told) > before, 20)
    toml.write_text(toml.read_text().replace("watch = true", "watch = false"))
    until(lambda: not each._followed, 20)


def test_what_prefect_does_not_take_is_told_later(watched, monkeypatch, capfd):
    archive, each, _ = watched
    answers = []
    monkeypatch.setattr(watching, "emit", lambda name, root, payload: answers.append(payload) or len(answers) > 3)
    arrive(archive, each, answers)
    until(lambda: len(answers) == 4, 30)
    time.sleep(0.5)
    assert len(answers) == 4
    assert capfd.readouterr().err.count("Prefect does not answer") == 1


def test_what_dies_ends_all_so_that_it_is_started_again(make_archive, monkeypatch):
    archive = make_archive()
    monkeypatch.setattr(Watched, "read", lambda self: 1 / 0)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert main(["watch", str(archive.root)]) == 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.heavy
@pytest.mark.timeout(120)
def test_it_ends_at_once_whatever_it_waits_for(make_archive, tmp_path, in_root):
    archive = make_archive()
    toml = archive.root / "rushes.toml"
    toml.write_text(toml.read_text().replace("stable_seconds = 10.0", "stable_seconds = 0.1"))
    with socket.socket() as silent:  # takes connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        env = {**os.environ, "PREFECT_API_URL": f"http://127.0.0.1:{silent.getsockname()[1]}/api"}
        env |= {"RUSHES_HOME": str(tmp_path / "home"), "PREFECT_HOME": str(tmp_path / "prefect")}
        env["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent / "toyed"), str(in_root)])
        command = [sys.executable, "-m", "flows.cli", "watch", str(archive.root), str(tmp_path / "nowhere")]
        process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr is not None
            silent.settimeout(0.2)
            number = iter(range(10**6))
            until(lambda: (tmp_path / f"source/{next(number)}.mp4").write_text("x") and _accepts(silent), 60)
            began = time.monotonic()
            process.terminate()
            assert process.wait(30) == 0
            assert (
                time.monotonic() - began < 8
            )  # 1.1 s on a machine that has nothing else to do; Prefect is asked for 10 s
            said = process.stderr.read()
            assert said.count("nowhere does not exist") == 1
            assert "Traceback" not in said
        finally:
            process.kill()
            process.wait()


def _accepts(silent: socket.socket) -> bool:
    try:
        silent.accept()
    except TimeoutError:
        return False
    return True
