"""A child may die, hang, lie and pry; its file alone pays for it."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.decode import DEFAULT_LIMITS, Limits, decode, reading
from pipeline.decode.children import Child, ForkServer, decoders
from pipeline.errors import MediaError
from pipeline.media import Ending, Facts, Modality, Sampling, SoundChunk
from tests.pipeline.decode import faults
from tests.pipeline.decode.media import children_of, slide, tone, write_film, write_sound

ROOT = Path(__file__).parents[3]
EVERYTHING = frozenset(Modality)


@pytest.fixture(scope="module")
def faulty() -> Iterator[ForkServer]:
    server = ForkServer("tests.pipeline.decode.faults:run")
    yield server
    server.close()


def read(server: ForkServer, folder: Path, fault: str, limits: Limits = DEFAULT_LIMITS) -> list:
    path = folder / "fault.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + fault.encode())
    return list(reading.read(path, Sampling(), EVERYTHING, limits, server))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("segfault", "decoder_crash:SIGSEGV"),
        ("abort", "decoder_crash:SIGABRT"),
        ("exit", "decoder_crash:exit_7"),
        ("raise", "decoder_crash:exit_1"),
        ("half", "decoder_crash:exit_0"),
        ("killed", "memory"),
        ("allocate", "memory"),
        ("huge", "protocol"),
        ("loud", "protocol"),
    ],
)
def test_a_child_that_dies_or_lies_becomes_a_reason(faulty, tmp_path, fault, reason):
    with pytest.raises(MediaError) as error:
        read(faulty, tmp_path, fault)
    assert error.value.reason == reason


@pytest.mark.parametrize("lie", faults.LIES)
def test_an_answer_that_is_none_of_ours_is_refused_before_it_is_believed(faulty, tmp_path, lie):
    with pytest.raises(MediaError, match="protocol"):
        read(faulty, tmp_path, f"lie {lie}")
    assert not Path("/tmp/rushes-canary-was-unpickled").exists()


@pytest.mark.parametrize("fault", ["hang", "hang_in_c", "deaf", "stop"])
def test_a_child_that_hangs_is_killed_when_it_was_silent_for_too_long(faulty, tmp_path, fault):
    began = time.monotonic()
    with pytest.raises(MediaError, match="timeout"):
        read(faulty, tmp_path, fault, Limits(stalled_seconds=0.3))
    assert time.monotonic() - began < 5
    assert children_of(faulty._process.pid) == []


def test_a_child_that_computes_for_too_long_is_killed_by_the_system(faulty, tmp_path, monkeypatch):
    monkeypatch.setattr(Limits, "budget_seconds", lambda *_: 0.0)
    monkeypatch.setattr(Child, "budget_seconds", property(lambda _: 30.0, lambda *_: None), raising=False)
    with pytest.raises(MediaError, match=r"timeout.*processor time"):
        read(faulty, tmp_path, "burn")


def test_a_child_that_only_says_that_it_gets_on_uses_up_its_time(faulty, tmp_path, monkeypatch):
    monkeypatch.setattr(Limits, "budget_seconds", lambda *_: 0.5)
    with pytest.raises(MediaError, match="timeout"):
        read(faulty, tmp_path, "spin")


def test_a_child_that_closes_its_pipe_and_stays_is_killed(faulty, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.decode.children.FAREWELL_SECONDS", 0.3)
    with pytest.raises(MediaError, match="protocol"):
        read(faulty, tmp_path, "mute")


def test_a_flood_on_standard_error_goes_nowhere(faulty, tmp_path, capfd):
    facts, sound, ending = read(faulty, tmp_path, "flood")
    assert [type(facts), type(sound), ending] == [Facts, SoundChunk, Ending()]
    assert capfd.readouterr() == ("", "")


def test_what_came_before_a_crash_is_kept(faulty, tmp_path):
    _, sound, ending = read(faulty, tmp_path, "crash_late")
    assert len(sound.samples) == 1600
    assert ending == Ending("decoder_crash:SIGSEGV", 4.5)


def test_a_child_can_open_no_file_and_no_socket_and_has_no_environment(faulty, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    canary = tmp_path / "canary.txt"
    canary.write_text("nobody may read this")
    with pytest.raises(MediaError) as error:
        read(faulty, tmp_path, f"look {canary}")
    assert error.value.reason == "looked"
    assert error.value.detail == ""


def test_limits_on_memory_hold(tmp_path):
    path = write_film(tmp_path / "film.mp4", [slide(0, 1280, 720)] * 10)
    with pytest.raises(MediaError) as error:
        list(decode(path, Sampling(), limits=Limits(memory_bytes=2**20)))
    assert error.value.reason == "memory"


def test_the_crash_of_one_file_costs_no_other(faulty, tmp_path):
    film = write_sound(tmp_path / "good.wav", tone(1.0), "pcm_s16le")
    with pytest.raises(MediaError):
        read(faulty, tmp_path, "segfault")
    assert list(decode(film, Sampling()))[-1].damage is None


def test_closing_the_iterator_kills_the_child(tmp_path):
    film = write_film(tmp_path / "film.mp4", [slide(n // 30) for n in range(300)])
    items = decode(film, replace(Sampling(), chunk_seconds=0.5))
    next(items)
    server = decoders()._process.pid
    assert len(children_of(server)) == 1
    items.close()
    assert children_of(server) == []


def test_an_iterator_that_nobody_holds_leaves_no_child(tmp_path):
    film = write_film(tmp_path / "film.mp4", [slide(n // 30) for n in range(300)])
    next(decode(film, replace(Sampling(), chunk_seconds=0.5)))
    gc.collect()
    assert children_of(decoders()._process.pid) == []


def test_no_descriptor_is_left_open(faulty, tmp_path):
    read(faulty, tmp_path, "flood")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for fault in ("flood", "crash_late"):
        read(faulty, tmp_path, fault)
    for fault in ("segfault", "lie shape"):
        with pytest.raises(MediaError):
            read(faulty, tmp_path, fault)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_child_waits_while_nobody_reads(tmp_path):
    """Memory is bounded because the pipe is."""
    long = write_sound(tmp_path / "long.wav", tone(600.0), "pcm_s16le")
    items = decode(long, replace(Sampling(), chunk_seconds=10.0))
    next(items)
    time.sleep(1.0)
    (child,) = children_of(decoders()._process.pid)
    assert Path(f"/proc/{child}/wchan").read_text().startswith(("pipe_w", "anon_pipe_w", "0"))
    assert sum(len(item.samples) for item in items if isinstance(item, SoundChunk)) == 600 * 16000


def test_several_threads_decode_at_once(tmp_path):
    films = [write_sound(tmp_path / f"{n}.wav", tone(2.0 + n), "pcm_s16le") for n in range(6)]
    lengths: dict[int, float] = {}

    def work(n: int) -> None:
        lengths[n] = list(decode(films[n], Sampling()))[-1].decoded_seconds

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lengths == {n: pytest.approx(2.0 + n) for n in range(6)}


def test_a_fork_of_the_caller_gets_a_server_of_its_own(tmp_path):
    sound = write_sound(tmp_path / "sound.wav", tone(1.0), "pcm_s16le")
    list(decode(sound, Sampling()))
    pid = os.fork()
    if pid == 0:
        try:
            done = list(decode(sound, Sampling()))[-1].damage is None
            decoders().close()
        except BaseException:
            done = False
        os._exit(0 if done else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert list(decode(sound, Sampling()))[-1].damage is None


def test_a_server_that_was_killed_is_started_again(tmp_path):
    sound = write_sound(tmp_path / "sound.wav", tone(1.0), "pcm_s16le")
    list(decode(sound, Sampling()))
    os.kill(decoders()._process.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert list(decode(sound, Sampling()))[-1].damage is None


def test_a_script_without_a_main_guard_may_decode_and_leaves_no_process(tmp_path):
    write_sound(tmp_path / "sound.wav", tone(1.0), "pcm_s16le")
    script = tmp_path / "script.py"
    script.write_text(
        "import pathlib, sys\n"
        "from pipeline.decode import decode\n"
        "from pipeline.decode.children import decoders\n"
        "from pipeline.media import Sampling\n"
        "print('once', len(list(decode(pathlib.Path('sound.wav'), Sampling()))), decoders()._process.pid)\n"
        "assert 'av' not in sys.modules and 'torch' not in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    once, count, server = done.stdout.split()
    assert (once, count) == ("once", "3")
    assert not Path(f"/proc/{server}").exists()


def test_children_die_with_a_caller_that_is_killed(tmp_path):
    write_sound(tmp_path / "long.wav", tone(600.0), "pcm_s16le")
    script = tmp_path / "script.py"
    script.write_text(
        "import pathlib, time\n"
        "from pipeline.decode import decode\n"
        "from pipeline.decode.children import decoders\n"
        "from pipeline.media import Sampling\n"
        "items = decode(pathlib.Path('long.wav'), Sampling())\n"
        "next(items)\n"
        "print(decoders()._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, script], cwd=tmp_path, env=environment, stdout=subprocess.PIPE) as caller:
        server = int(caller.stdout.readline())
        (child,) = children_of(server)
        caller.kill()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in (server, child)):
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()
    assert not Path(f"/proc/{server}").exists()


def test_samples_cross_the_border_unchanged(tmp_path):
    sound = tone(1.0)
    path = write_sound(tmp_path / "sound.wav", sound, "pcm_f32le")
    (chunk,) = [item for item in decode(path, Sampling()) if isinstance(item, SoundChunk)]
    np.testing.assert_allclose(chunk.samples, sound[0], atol=1e-6)
