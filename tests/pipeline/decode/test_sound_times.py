"""When it is heard: sound keeps the times of its file, and step with the pictures."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.decode import decode
from pipeline.media import FrameChunk, Mode, Sampling, SoundChunk
from tests.pipeline.decode.media import Heard, flat, slides, tone, write_film, write_sound, write_tracks

STEP = 0.02
"""Seconds by which sound may be off."""


def beeps(*at_seconds: float, seconds: float, rate_hz: int = 48000) -> np.ndarray:
    """Return float32 [1, T]: silence with short loud tones."""
    sound = np.zeros((1, round(seconds * rate_hz)), np.float32)
    beep = 1.6 * tone(0.2, rate_hz, 1000.0)
    for at in at_seconds:
        sound[:, round(at * rate_hz) : round(at * rate_hz) + beep.shape[1]] = beep
    return sound


def onsets(items: list) -> list[float]:
    """Return the times at which it gets loud after a pause, in all that was decoded."""
    found: list[float] = []
    loud_until = -1.0
    for chunk in items:
        if isinstance(chunk, SoundChunk):
            for at in chunk.start_seconds + np.flatnonzero(np.abs(chunk.samples) > 0.25) / chunk.rate_hz:
                if at > loud_until + 0.05:
                    found.append(float(at))
                loud_until = at
    return found


@pytest.mark.parametrize(
    ("name", "codec", "sound_codec"),
    [("a.mp4", "libx264", "aac"), ("b.mp4", "libx264", "libmp3lame"), ("a.mkv", "libx264", "aac"),
     ("b.mkv", "libvpx", "libopus"), ("c.mkv", "libx264", "flac"), ("a.webm", "libvpx", "libopus"),
     ("a.mov", "libx264", "pcm_s16le"), ("b.mov", "mpeg4", "aac"), ("a.ts", "libx264", "aac"),
     ("b.ts", "mpeg2video", "mp2"), ("c.ts", "libx264", "ac3"), ("a.avi", "mpeg4", "libmp3lame"),
     ("b.avi", "mpeg4", "pcm_s16le"), ("a.mpg", "mpeg2video", "mp2"), ("b.mpg", "mpeg2video", "ac3"),
     ("a.flv", "flv", "libmp3lame"), ("a.mxf", "mpeg2video", "pcm_s16le")],
)  # fmt: skip
def test_a_flash_and_its_beep_come_at_once(tmp_path, name, codec, sound_codec):
    rate_hz = 44100 if name.endswith("flv") else 48000
    frames = [flat(0, 0, 0)] * 50 + [flat(255, 255, 255)] * 50
    path = write_film(tmp_path / name, frames, codec=codec, sound=beeps(2.0, seconds=4.0, rate_hz=rate_hz),
                      sound_codec=sound_codec, sound_hz=rate_hz)  # fmt: skip
    items = list(decode(path, Sampling(mode=Mode.EXACT, interval_seconds=0.04)))
    rows = [row for item in items if isinstance(item, FrameChunk)
            for row in zip(item.at_seconds, item.pixels.mean((1, 2, 3)), strict=True)]  # fmt: skip
    flash = next(at for at, grey in rows if grey > 128)
    (beep,) = onsets(items)
    assert abs(beep - flash) < STEP
    assert abs(flash - 2.0) < 0.045  # some containers begin with a frame's delay


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz"),
    [("a.m4a", "aac", 44100), ("b.m4a", "alac", 44100), ("a.mp3", "libmp3lame", 44100), ("a.ogg", "vorbis", 44100),
     ("a.opus", "libopus", 48000), ("a.mka", "aac", 48000), ("a.flac", "flac", 44100), ("a.wav", "pcm_s16le", 22050)],
)  # fmt: skip
def test_what_an_encoder_puts_before_the_sound_is_not_heard(tmp_path, name, codec, rate_hz):
    sound = np.tile(beeps(1.0, 2.0, seconds=3.0, rate_hz=rate_hz), (2, 1))
    path = write_sound(tmp_path / name, sound, codec, rate_hz)
    np.testing.assert_allclose(onsets(list(decode(path, Sampling()))), [1, 2], atol=0.005)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.ts"])
@pytest.mark.parametrize("late_seconds", [0.7, 2.5])
def test_sound_that_begins_after_the_picture_comes_late(tmp_path, name, late_seconds):
    path = write_film(tmp_path / name, slides(1, 125), sound=beeps(0.5, seconds=2.0), sound_hz=48000,
                      sound_start_seconds=late_seconds)  # fmt: skip
    items = list(decode(path, Sampling()))
    assert onsets(items) == [pytest.approx(late_seconds + 0.5, abs=STEP)]
    start = next(item.start_seconds for item in items if isinstance(item, SoundChunk))
    assert start == pytest.approx(late_seconds, abs=0.06)


def test_sound_from_before_the_first_picture_is_cut_off_and_not_moved(tmp_path):
    path = write_film(tmp_path / "a.ts", slides(1, 75), start_seconds=0.08, sound=beeps(1.0, seconds=3.0),
                      sound_hz=48000, sound_codec="mp2", codec="mpeg2video")  # fmt: skip
    items = list(decode(path, Sampling()))
    assert onsets(items) == [pytest.approx(0.92, abs=STEP)]
    assert next(item.start_seconds for item in items if isinstance(item, SoundChunk)) == pytest.approx(0, abs=1e-3)


def test_a_long_gap_is_left_out_and_what_follows_keeps_its_time(tmp_path):
    streams = [Heard(beeps(0.5, seconds=1.0)), Heard(beeps(0.5, seconds=1.0), start_seconds=100.0)]
    path = _joined(tmp_path / "a.mkv", streams)
    items = list(decode(path, Sampling()))
    np.testing.assert_allclose(onsets(items), [0.5, 100.5], atol=STEP)
    starts = [item.start_seconds for item in items if isinstance(item, SoundChunk)]
    np.testing.assert_allclose(starts, [0, 100], atol=STEP)
    assert sum(len(item.samples) for item in items if isinstance(item, SoundChunk)) < 3 * 16000


def _joined(path: Path, parts: list[Heard]) -> Path:
    """Write one audio stream from parts that need not touch."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=48000, layout="mono")
        for part in parts:
            for first in range(0, part.sound.shape[1], 1024):
                samples = (part.sound[:, first : first + 1024] * 32767).astype("<i2")
                packet = av.Packet(samples.tobytes())
                packet.stream, packet.time_base = stream, Fraction(1, 48000)
                packet.pts = packet.dts = round(part.start_seconds * 48000) + first
                packet.duration = samples.shape[1]
                out.mux(packet)
    return path


def test_a_clock_that_runs_slow_is_followed(tmp_path):
    sound = beeps(*range(1, 60, 10), seconds=60.0)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:  # a recorder whose samples came 0.1% too slowly, stamped by a better clock
        stream = out.add_stream("pcm_s16le", rate=48000, layout="mono")
        for first in range(0, sound.shape[1], 1024):
            packet = av.Packet((sound[:, first : first + 1024] * 32767).astype("<i2").tobytes())
            packet.stream, packet.time_base = stream, Fraction(1, 48000)
            packet.pts = packet.dts = round(first * 1.001)
            packet.duration = 1024
            out.mux(packet)
    np.testing.assert_allclose(onsets(list(decode(path, Sampling()))), np.arange(1, 60, 10) * 1.001, atol=STEP)


def test_stamps_that_jitter_leave_no_holes(tmp_path):
    rng = np.random.default_rng(0)
    sound = tone(20.0, 48000)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=48000, layout="mono")
        for first in range(0, sound.shape[1], 1024):
            packet = av.Packet((sound[:, first : first + 1024] * 32767).astype("<i2").tobytes())
            packet.stream, packet.time_base = stream, Fraction(1, 48000)
            packet.pts = packet.dts = first + int(rng.integers(-400, 400))  # 8 ms
            packet.duration = 1024
            out.mux(packet)
    (chunk,) = (item for item in decode(path, Sampling()) if isinstance(item, SoundChunk))
    assert len(chunk.samples) == pytest.approx(20 * 16000, abs=200)
    assert np.abs(chunk.samples[: len(chunk.samples) // 160 * 160].reshape(-1, 160)).max(1).min() > 0.4


def test_sound_that_changes_its_rate_and_its_channels_goes_on(tmp_path):
    first, second = tmp_path / "1.ts", tmp_path / "2.ts"
    for path, rate_hz, channels, start in ((first, 48000, 1, 0.0), (second, 32000, 2, 2.0)):
        sound = np.tile(beeps(0.5, 1.5, seconds=2.0, rate_hz=rate_hz), (channels, 1))
        write_film(path, slides(1, 50), codec="mpeg2video", start_seconds=start, sound=sound, sound_codec="mp2",
                   sound_hz=rate_hz, sound_start_seconds=start)  # fmt: skip
    path = tmp_path / "a.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    items = list(decode(path, Sampling()))
    np.testing.assert_allclose(onsets(items), [0.5, 1.5, 2.5, 3.5], atol=0.05)
    levels = [np.abs(item.samples).max() for item in items if isinstance(item, SoundChunk)]
    assert max(levels) == pytest.approx(0.8, abs=0.05), "two equal channels are as loud as one"


def test_all_rates_come_in_one_pass_and_are_cut_at_the_same_times(tmp_path):
    sound = beeps(*np.arange(0.3, 30, 1.1), seconds=30.0, rate_hz=44100)
    path = write_sound(tmp_path / "a.flac", sound, "flac", 44100)
    items = list(decode(path, Sampling(rates_hz=(48000, 16000, 22050), chunk_seconds=8.0)))
    by_rate = {rate: [c for c in items if isinstance(c, SoundChunk) and c.rate_hz == rate] for rate in
               (16000, 22050, 48000)}  # fmt: skip
    starts = [[c.start_seconds for c in chunks] for chunks in by_rate.values()]
    assert starts[0] == starts[1] == starts[2]
    assert len(starts[0]) >= 4
    for rate, chunks in by_rate.items():
        np.testing.assert_allclose(onsets(chunks), np.arange(0.3, 30, 1.1), atol=0.002)
        assert sum(len(c.samples) for c in chunks) == pytest.approx(30 * rate, abs=3)
        for before, after in pairwise(chunks):
            ends = before.start_seconds + len(before.samples) / rate
            assert ends == pytest.approx(after.start_seconds, abs=1 / rate)


def test_a_rate_is_the_same_beside_others_and_alone(tmp_path):
    path = write_sound(tmp_path / "a.wav", tone(3.0, 44100, 440.0), "pcm_s16le", 44100)
    (alone,) = (c for c in decode(path, Sampling()) if isinstance(c, SoundChunk))
    beside, _ = (c for c in decode(path, Sampling(rates_hz=(16000, 48000))) if isinstance(c, SoundChunk))
    assert beside.rate_hz == 16000
    n = min(len(alone.samples), len(beside.samples))
    np.testing.assert_allclose(beside.samples[200 : n - 200], alone.samples[200 : n - 200], atol=2e-3)


def test_streams_with_a_gap_in_one_are_mixed_in_time(tmp_path):
    streams = [Heard(beeps(1.0, seconds=60.0)), Heard(beeps(0.5, seconds=1.0), start_seconds=45.0)]
    items = list(decode(write_tracks(tmp_path / "a.mkv", streams), Sampling(chunk_seconds=10.0)))
    np.testing.assert_allclose(onsets(items), [1.0, 45.5], atol=STEP)
