"""Sound: level, times and stretches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.decode import decode
from pipeline.decode.sound import quietest
from pipeline.media import Ending, Facts, Media, Sampling, SoundChunk
from tests.pipeline.decode.media import slides, tone, write_film, write_sound

SAMPLING = Sampling()


def decoded(path: Path, sampling: Sampling = SAMPLING) -> tuple[Facts, list[SoundChunk], Ending]:
    facts, *chunks, ending = decode(path, sampling)
    assert all(isinstance(chunk, SoundChunk) for chunk in chunks)
    return facts, chunks, ending


def onset(samples: np.ndarray, rate_hz: int = 16000) -> float:
    """Return the time at which it gets loud."""
    return float(np.argmax(np.abs(samples) > 0.2)) / rate_hz


@pytest.mark.parametrize(
    ("name", "codec", "rate_hz"),
    [
        ("a.wav", "pcm_s16le", 44100),
        ("b.wav", "pcm_s24le", 8000),
        ("c.wav", "pcm_f32le", 48000),
        ("a.flac", "flac", 44100),
        ("a.mp3", "libmp3lame", 44100),
        ("a.m4a", "aac", 48000),
        ("b.m4a", "alac", 44100),
        ("a.ogg", "vorbis", 44100),
        ("a.opus", "libopus", 48000),
        ("a.aiff", "pcm_s16be", 44100),
        ("a.mka", "ac3", 48000),
        ("a.aac", "aac", 44100),
        ("a.au", "pcm_s16be", 22050),
    ],
)
def test_every_format_gives_the_sound_that_was_written(tmp_path, name, codec, rate_hz):
    silence = np.zeros((2, rate_hz), np.float32)
    sound = np.concatenate([silence, tone(1.0, rate_hz, channels=2), silence], axis=1)
    facts, (chunk,), ending = decoded(write_sound(tmp_path / name, sound, codec, rate_hz))
    assert facts.media is Media.AUDIO
    assert chunk.samples.dtype == np.float32
    assert len(chunk.samples) / 16000 == pytest.approx(3, abs=0.1)
    assert chunk.start_seconds == pytest.approx(0, abs=0.05)
    assert chunk.start_seconds + onset(chunk.samples) == pytest.approx(1, abs=0.06)
    middle = chunk.samples[20000:28000]
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.1), "stereo is averaged, not added"
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() * 16000 / len(middle) == pytest.approx(440, abs=4)
    assert ending.damage is None


def test_other_rates_are_made_on_request(tmp_path):
    path = write_sound(tmp_path / "a.wav", tone(1.0, 44100), "pcm_s16le", 44100)
    _, (chunk,), _ = decoded(path, replace(Sampling(), rates_hz=(48000,)))
    assert len(chunk.samples) == pytest.approx(48000, abs=100)


def test_loud_stereo_stays_within_bounds(tmp_path):
    path = write_sound(tmp_path / "a.wav", 1.9 * tone(0.5, channels=2), "pcm_f32le")
    _, (chunk,), _ = decoded(path)
    assert 0.9 < np.abs(chunk.samples).max() <= 1


def test_stretches_end_in_a_pause_and_join_without_a_gap(tmp_path):
    rng = np.random.default_rng(0)
    sound, pauses, at = [], [], 0.0
    while at < 60:
        words = rng.uniform(2, 3.5)
        sound += [tone(words), np.zeros((1, 4800), np.float32)]
        pauses.append((at + words, at + words + 0.3))
        at += words + 0.3
    whole = np.concatenate(sound, axis=1)
    path = write_sound(tmp_path / "talk.wav", whole, "pcm_f32le")
    _, chunks, _ = decoded(path, replace(Sampling(), chunk_seconds=20.0))
    np.testing.assert_allclose(np.concatenate([chunk.samples for chunk in chunks]), whole[0, :], atol=1e-6)
    starts = [chunk.start_seconds for chunk in chunks]
    np.testing.assert_allclose(np.diff(starts), [len(c.samples) / 16000 for c in chunks[:-1]], atol=1e-9)
    assert len(starts) >= 3
    for start in starts[1:]:
        assert any(a <= start <= b for a, b in pauses)


def test_a_gap_in_the_sound_becomes_silence(tmp_path):
    path = write_film(tmp_path / "film.ts", slides(1, 200), codec="mpeg2video", sound=tone(8.0), sound_codec="mp2")
    data = path.read_bytes()
    packets = [data[i : i + 188] for i in range(0, len(data), 188)]
    sound = [i for i, p in enumerate(packets) if int.from_bytes(p[1:3]) & 0x1FFF == 0x101]  # the second stream
    lost = set(sound[len(sound) // 3 : len(sound) // 2])
    path.write_bytes(b"".join(p for i, p in enumerate(packets) if i not in lost))
    chunks = [item for item in decode(path, Sampling()) if isinstance(item, SoundChunk)]
    samples = np.concatenate([chunk.samples for chunk in chunks])
    assert len(samples) / 16000 == pytest.approx(8, abs=0.3)
    quiet = np.abs(samples[: len(samples) // 160 * 160]).reshape(-1, 160).max(1) < 1e-3
    assert 0.5 < quiet.sum() / 100 < 2.5


def test_the_quietest_point_lies_in_the_last_seconds():
    samples = np.ones(16000 * 20, np.float32)
    samples[16000 * 5 : 16000 * 6] = 0  # too early
    samples[16000 * 17 : 16000 * 17 + 4800] = 0.01
    assert 17 <= quietest(samples, 16000) / 16000 <= 17.3
    assert quietest(samples[:100], 16000) == 100


@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("a.flac", "flac"), ("a.aiff", "pcm_s16be")])
def test_sound_that_was_cut_short_says_so(tmp_path, name, codec):
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 16000 * 12)).astype(np.float32)
    path = write_sound(tmp_path / name, noise, codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    _, chunks, ending = decoded(path)
    kind, _, at = ending.damage.partition(":")
    assert (kind, float(at)) == ("truncated_at", pytest.approx(6, abs=0.3))
    assert sum(len(chunk.samples) for chunk in chunks) / 16000 == pytest.approx(6, abs=0.3)
