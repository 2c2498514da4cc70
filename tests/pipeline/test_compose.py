import os
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.decode.compose import WHOLE, Sound, Still, read_sound, write_film, write_sound

RED, BLUE = (200, 30, 30), (30, 30, 200)


def plain(colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((90, 120, 3), colour, np.uint8)


def tone(seconds: float, rate_hz: int = 16000, hertz: float = 440.0) -> Sound:
    at = np.arange(round(seconds * rate_hz)) / rate_hz
    return Sound((0.5 * np.sin(2 * np.pi * hertz * at)).astype(np.float32), rate_hz)


@pytest.mark.parametrize(
    ("video", "audio", "suffix"),
    [
        ("h264", "aac", ".mp4"),
        ("h264-lossless", "flac", ".mkv"),
        ("hevc", "flac", ".mkv"),
        ("hevc-10", "aac", ".mov"),
        ("vp9", "opus", ".webm"),
        ("av1", "opus", ".webm"),
        ("mpeg2", "mp2", ".mpg"),
        ("mpeg4", "mp3", ".avi"),
        ("prores", "pcm", ".mov"),
    ],
)
def test_a_film_shows_its_pictures_in_turn_and_is_heard_throughout(tmp_path, video, audio, suffix):
    path = tmp_path / f"film{suffix}"
    stills = [Still(plain(RED), 1.0), Still(plain(BLUE), 1.0)]

    write_film(path, stills, tone(3.0), video=video, audio=audio, size=(160, 90), frames_per_second=10)

    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 20
    assert frames[0].shape == (90, 160, 3)
    for frame, colour in ((frames[0], RED), (frames[9], RED), (frames[10], BLUE), (frames[-1], BLUE)):
        assert np.abs(frame.mean((0, 1)) - colour).max() < 12
    heard = read_sound(path, 16000)
    assert 1.9 < heard.seconds < 2.15  # cut where the pictures end
    assert 0.25 < np.sqrt(np.mean(heard.samples**2)) < 0.45


@pytest.mark.parametrize(
    ("audio", "suffix"), [("flac", ".flac"), ("pcm", ".wav"), ("opus", ".ogg"), ("mp3", ".mp3"), ("aac", ".m4a")]
)
def test_a_sound_keeps_length_and_pitch(tmp_path, audio, suffix):
    path = tmp_path / f"sound{suffix}"

    write_sound(path, tone(2.0, 44100), audio=audio, tags={"title": "A"})

    heard = read_sound(path, 16000)
    assert heard.seconds == pytest.approx(2.0, abs=0.08)
    spectrum = np.abs(np.fft.rfft(heard.samples))
    assert spectrum.argmax() / heard.seconds == pytest.approx(440, abs=3)


def test_the_same_film_twice_has_the_same_bytes(tmp_path):
    for name in ("one.mkv", "two.mkv"):
        write_film(tmp_path / name, [Still(plain(RED), 1.0)], tone(1.0), audio="opus", size=(160, 90))
    assert (tmp_path / "one.mkv").read_bytes() == (tmp_path / "two.mkv").read_bytes()


def test_a_film_may_be_silent(tmp_path):
    write_film(tmp_path / "silent.mp4", [Still(plain(RED), 0.5)], size=(160, 90))
    with av.open(str(tmp_path / "silent.mp4")) as container:
        assert not container.streams.audio


def test_pictures_and_sound_lie_side_by_side_in_the_file(tmp_path):
    write_film(tmp_path / "long.mkv", [Still(plain(RED), 30.0)], tone(30.0), size=(160, 90), frames_per_second=5)
    with av.open(str(tmp_path / "long.mkv")) as container:
        times = [float(packet.dts * packet.time_base) for packet in container.demux() if packet.dts is not None]
    assert max(earlier - later for earlier, later in pairwise(times)) < 2.0


def test_the_camera_moves_from_box_to_box(tmp_path):
    halves = np.concatenate([plain(RED), plain(BLUE)], axis=1)
    move = Still(halves, 1.0, (0.0, 0.0, 0.4, 1.0), (0.6, 0.0, 1.0, 1.0))
    write_film(tmp_path / "pan.mkv", [move], video="h264-lossless", size=(64, 64), frames_per_second=10)
    with av.open(str(tmp_path / "pan.mkv")) as container:
        frames = [frame.to_ndarray(format="rgb24").mean((0, 1)) for frame in container.decode(video=0)]
    assert frames[0][0] > 150 > frames[-1][0]
    assert frames[0][2] < 80 < frames[-1][2]


@pytest.mark.parametrize(
    ("stills", "video", "said"), [([], "h264", "at least one still"), ([Still(plain(RED), 1.0, WHOLE)], "h265", "hevc")]
)
def test_what_cannot_be_written_is_said_in_words(tmp_path: Path, stills, video, said):
    with pytest.raises(ValueError, match=said):
        write_film(tmp_path / "film.mp4", stills, video=video)


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="this system has no schedulers to ask for")
def test_an_encoder_that_takes_the_highest_priority_does_not_keep_it(tmp_path):
    before = os.sched_getscheduler(0)
    write_film(tmp_path / "film.webm", [Still(plain(RED), 1.0)], video="av1", audio="opus", size=(160, 90))
    assert os.sched_getscheduler(0) == before
