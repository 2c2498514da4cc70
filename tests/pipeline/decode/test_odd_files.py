"""What is no ordinary file, what has no ordinary name, and what changes while it is read."""

import os
import socket
import threading
import time
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.decode import Limits, NotMediaError, decode, probe
from pipeline.errors import MediaError
from pipeline.media import Ending, FrameChunk, SoundChunk
from tests.pipeline.decode.media import slides, tone, write_film, write_sound
from tests.pipeline.decode.mutations import SAMPLING, WHOLE, checked, is_grave, outcome


def skipped(path: Path) -> str:
    with pytest.raises(NotMediaError) as error:
        list(decode(path, SAMPLING))
    return error.value.reason


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "link.mp4").symlink_to("/etc/passwd")
    (tmp_path / "dangling.mp4").symlink_to("/nonexistent/film.mp4")
    (tmp_path / "loop.mp4").symlink_to("pool.mp4")
    (tmp_path / "pool.mp4").symlink_to("loop.mp4")
    (tmp_path / "self.mp4").symlink_to("self.mp4")
    (tmp_path / "tree").symlink_to(".", target_is_directory=True)
    (tmp_path / "folder.mp4").mkdir()
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket.mp4"))
    began = time.monotonic()
    for name in ("pipe.mp4", "folder.mp4", "socket.mp4"):
        assert skipped(tmp_path / name) == "not_a_file"
    for device in ("/dev/zero", "/dev/null", "/dev/random", "/dev/tty", "/proc/self/fd"):
        assert skipped(Path(device)) in ("not_a_file", "link")
    for name in ("link.mp4", "dangling.mp4", "loop.mp4", "self.mp4", "tree"):
        assert skipped(tmp_path / name) == "link"
    for name in ("gone.mp4", "nul\0.mp4", "x" * 300 + ".mp4", "link.mp4/film.mp4", "\0"):
        with pytest.raises(MediaError) as error:
            probe(tmp_path / name)
        assert error.value.reason in ("vanished", "io_error"), name
    assert time.monotonic() - began < 5
    server.close()


def test_a_path_through_a_link_that_leads_round_in_a_circle_ends(tmp_path):
    (tmp_path / "tree").symlink_to(".", target_is_directory=True)
    with pytest.raises(MediaError) as error:
        probe(tmp_path / Path(*["tree"] * 50) / "film.mp4")
    assert error.value.reason in ("link", "vanished")


NAMES = [
    "http:film.mp4", "http:", "file:film.mp4", "concat:a.mp4|b.mp4", "subfile,,start,0,end,9,,:x.mp4", "crypto:a.mp4",
    "data:video,x.mp4", "tcp:127.0.0.1:9", "-rf.mp4", "--help", "a\nb.mp4", "a\rb.mp4", "\x1b[2J.mp4", "\x7f\x01.mp4",
    "файл 日本 🎬.mp4", "\u202egpj.mp4", "\u200b.mp4", "مرحبا.mp4", " lead and trail .mp4 ", "dot.mp4.", "...",
    "pipe:0", "quote'\".mp4", "%d.mp4", "%00.mp4", "fd:", "~.mp4", "$(id).mp4", "`id`", "*.mp4",
    "C:\\film.mp4", "con.mp4",
    "<img src=x onerror=alert(1)>.mp4", "x" * 251 + ".mp4", b"\xff\xfe.mp4", b"\xed\xa0\x80.mp4",
]  # fmt: skip


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> bytes:
    return write_film(tmp_path_factory.mktemp("film") / "film.mp4", slides(1, 10)).read_bytes()


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_mean_nothing(tmp_path, film, name, monkeypatch):
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(film)
    assert outcome(path) == WHOLE
    monkeypatch.chdir(tmp_path)
    assert outcome(Path(os.fsdecode(name))) == WHOLE, "the name alone, from its own folder"


def test_names_that_look_alike_are_two_files(tmp_path):
    """Composed and decomposed letters, upper and lower case: the file that was named is the one that is read."""
    pairs = [[unicodedata.normalize(form, "café.wav") for form in ("NFC", "NFD")], ["Show.wav", "show.wav"]]
    for pair in pairs:
        for seconds, name in enumerate(pair, start=1):
            write_sound(tmp_path / "x.wav", tone(seconds), "pcm_s16le").rename(tmp_path / name)
        if len({(tmp_path / name).stat().st_ino for name in pair}) == 2:  # a file system may take them for one
            assert [probe(tmp_path / name).duration_seconds for name in pair] == [1.0, 2.0]


@pytest.mark.parametrize("seconds", [0, -(10**9), 2**31, 4_354_819_200, 2**33])
def test_a_file_of_any_age_is_read(tmp_path, film, seconds):
    path = tmp_path / "film.mp4"
    path.write_bytes(film)
    os.utime(path, (seconds, seconds))
    assert outcome(path) == WHOLE


def test_a_file_that_grows_for_ever_costs_its_time_and_no_more(tmp_path, monkeypatch):
    """Raw streams have no length: who reads to the end never gets there while somebody writes faster."""
    monkeypatch.setattr(Limits, "budget_seconds", lambda *_: 2.0)
    path = write_sound(tmp_path / "live.aac", tone(10.0), "aac")
    data, running = path.read_bytes(), True

    def grow() -> None:
        with path.open("ab") as file:
            for _ in range(5000):
                if not running:
                    return
                file.write(data)
                file.flush()
                time.sleep(0.001)

    writer = threading.Thread(target=grow)
    writer.start()
    began = time.monotonic()
    try:
        *_, ending = decode(path, replace(SAMPLING, chunk_seconds=5.0))
    finally:
        running = False
        writer.join()
    assert isinstance(ending, Ending)
    assert ending.damage in ("timeout", None)
    assert time.monotonic() - began < 15


def test_a_file_that_shrinks_while_it_is_read_ends_early(tmp_path):
    path = write_sound(tmp_path / "long.wav", tone(900.0), "pcm_s16le")
    items = decode(path, replace(SAMPLING, chunk_seconds=5.0))
    first = [next(items), next(items)]
    os.truncate(path, 60 * 32_000)
    rest = list(items)
    ending = checked([*first, *rest])
    assert (ending.damage or "").startswith("truncated_at:")
    heard = sum(len(item.samples) for item in [*first, *rest] if isinstance(item, SoundChunk)) / 16_000
    assert 5 <= heard < 900


def test_a_file_that_is_overwritten_while_it_is_read_harms_nobody(tmp_path):
    path = write_film(tmp_path / "film.ts", slides(30, 25), options={"g": "25", "preset": "ultrafast"})
    size = path.stat().st_size
    items = decode(path, replace(SAMPLING, chunk_seconds=1.0, longest_shot_seconds=1.0))
    first = next(items)
    with path.open("r+b") as file:
        file.seek(size // 3)
        file.write(os.urandom(size - size // 3))
    rest = list(items)
    assert not is_grave(checked([first, *rest]).damage or WHOLE)


@pytest.mark.parametrize("how", ["unlink", "replace"])
def test_a_file_that_vanishes_while_it_is_read_is_read_to_its_end(tmp_path, how):
    path = write_sound(tmp_path / "long.wav", tone(600.0), "pcm_s16le")
    items = decode(path, replace(SAMPLING, chunk_seconds=5.0))
    first = next(items)
    if how == "unlink":
        path.unlink()
    else:
        write_sound(tmp_path / "other.wav", tone(1.0), "pcm_s16le").replace(path)
    assert checked([first, *items]).decoded_seconds == pytest.approx(600.0, abs=0.1)


def test_a_picture_that_shrinks_is_truncated(tmp_path, film):
    path = tmp_path / "film.mp4"
    path.write_bytes(film)
    assert any(isinstance(item, FrameChunk) for item in decode(path, SAMPLING))
    os.truncate(path, len(film) // 2)
    assert outcome(path) != WHOLE
    os.truncate(path, 0)
    assert outcome(path) == "empty"
