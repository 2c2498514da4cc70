"""Several audio streams: which are decoded, which are one track, and what is heard in it."""

import doctest

import numpy as np
import pytest
from av.stream import Disposition

from pipeline.decode import decode, tracks
from pipeline.decode.tracks import STREAMS_MOST, Source, Track, choose, purpose_of
from pipeline.media import Ending, Facts, Sampling, SoundChunk
from tests.pipeline.decode.media import Heard, slides, tone, write_film, write_tracks

PITCHES = (300.0, 500.0, 800.0, 1300.0, 2100.0, 3400.0)


def note(n: int, seconds: float = 2.0, channels: int = 1) -> np.ndarray:
    return tone(seconds, 48000, PITCHES[n], channels=channels)


def notes(samples: np.ndarray, rate_hz: int = 16000) -> set[int]:
    """Return which of the pitches can be heard."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) / len(samples)
    return {n for n, hertz in enumerate(PITCHES) if power[round(hertz * len(samples) / rate_hz)] > 0.01}


def heard(path, sampling: Sampling | None = None) -> tuple[Facts, dict[str, np.ndarray], Ending]:
    facts, *items, ending = decode(path, sampling or Sampling())
    sound: dict[str, list[np.ndarray]] = {}
    for item in items:
        if isinstance(item, SoundChunk):
            assert item.main == (not sound or item.track == next(iter(sound))), "the main track comes first"
            sound.setdefault(item.track, []).append(item.samples)
    return facts, {track: np.concatenate(parts) for track, parts in sound.items()}, ending


@pytest.mark.parametrize("name", ["a.mkv", "a.mov", "a.mp4"])
def test_each_language_and_each_purpose_is_a_track(tmp_path, name):
    streams = [
        Heard(note(0, channels=2), "aac", language="eng", flags=Disposition.default),
        Heard(note(1, channels=2), "aac", language="eng", flags=Disposition(0)),  # another version of the first
        Heard(note(2, channels=2), "aac", language="deu", flags=Disposition(0)),
        Heard(note(3, channels=2), "aac", language="eng", flags=Disposition.comment, title="The director's commentary"),
        Heard(note(4), "aac", language="eng", flags=Disposition.visual_impaired),
    ]
    facts, sound, ending = heard(write_tracks(tmp_path / name, streams, slides(1, 50)))
    assert {track: notes(samples) for track, samples in sound.items()} == {
        "a:0": {0}, "a:2": {2}, "a:3": {3}, "a:4": {4}
    }  # fmt: skip
    assert facts.audio_tracks == 4
    assert ending.damage is None


def test_the_main_track_is_the_one_that_is_played(tmp_path):
    streams = [
        Heard(note(0, channels=2), "aac", language="fra", flags=Disposition(0)),
        Heard(note(1, channels=2), "aac", language="eng", flags=Disposition.default),
    ]
    _, sound, _ = heard(write_tracks(tmp_path / "a.mkv", streams))
    assert list(sound) == ["a:1", "a:0"]


@pytest.mark.parametrize("name", ["a.mov", "a.mxf", "a.mkv"])
def test_mono_streams_are_mixed(tmp_path, name):
    pictures = slides(1, 50) if name == "a.mxf" else ()
    facts, sound, ending = heard(write_tracks(tmp_path / name, [Heard(note(0)), Heard(note(1))], pictures))
    assert {track: notes(samples) for track, samples in sound.items()} == {"a:0": {0, 1}}
    assert len(sound["a:0"]) == pytest.approx(32000, abs=400)
    assert (facts.audio_tracks, ending.damage) == (1, None)


def test_a_silent_stream_makes_the_others_no_quieter(tmp_path):
    silence = np.zeros((1, 96000), np.float32)
    streams = [Heard(silence), Heard(note(1)), Heard(silence), Heard(silence)]
    _, sound, _ = heard(write_tracks(tmp_path / "a.mov", streams))
    assert np.abs(sound["a:0"]).max() == pytest.approx(0.5, rel=0.05)


def test_streams_of_a_mix_keep_their_own_times(tmp_path):
    streams = [Heard(note(0, 8.0)), Heard(note(1, 1.0), start_seconds=4.0)]
    _, sound, _ = heard(write_tracks(tmp_path / "a.mkv", streams), Sampling(chunk_seconds=3.0))
    (samples,) = sound.values()
    assert len(samples) == pytest.approx(8 * 16000, abs=400)
    assert [notes(samples[s * 16000 : (s + 1) * 16000]) for s in (3, 4, 5)] == [{0}, {0, 1}, {0}]


def test_a_stream_that_ends_early_does_not_hold_up_the_others(tmp_path):
    streams = [Heard(note(0, 1.0)), Heard(note(1, 40.0))]
    chunks = [c for c in decode(write_tracks(tmp_path / "a.mkv", streams), Sampling(chunk_seconds=5.0))
              if isinstance(c, SoundChunk)]  # fmt: skip
    assert max(len(c.samples) for c in chunks) <= 5 * 16000
    assert sum(len(c.samples) for c in chunks) == pytest.approx(40 * 16000, abs=400)


def test_no_more_than_a_few_streams_are_decoded(tmp_path):
    streams = [Heard(note(n % 6)) for n in range(STREAMS_MOST)] + [Heard(note(0)), Heard(note(1))]
    _, sound, ending = heard(write_tracks(tmp_path / "a.mov", streams))
    assert list(sound) == ["a:0"]
    assert ending.damage == "streams_left_out:2"


def test_a_codec_that_is_not_allowed_is_left_out_and_named(tmp_path):
    streams = [Heard(note(0), "tta", language="fra"),
               Heard(note(1), "aac", language="eng")]  # fmt: skip
    _, sound, ending = heard(write_tracks(tmp_path / "a.mkv", streams))
    assert {track: notes(samples) for track, samples in sound.items()} == {"a:1": {1}}
    assert ending.damage == "unsupported_codec:tta"


def test_surround_is_heard_whole_and_never_clipped(tmp_path):
    front = np.zeros((6, 96000), np.float32)
    front[2] = 2 * note(0)
    path = write_tracks(tmp_path / "a.wav", [Heard(front, layout="5.1")])
    ((_, samples),) = heard(path)[1].items()
    assert 0.25 < np.abs(samples).max() < 0.5, "what is said in the middle"
    loud = np.tile(2 * note(0), (6, 1))
    ((_, samples),) = heard(write_tracks(tmp_path / "b.wav", [Heard(loud, layout="5.1")]))[1].items()
    assert np.abs(samples).max() == pytest.approx(1, abs=0.02)
    assert notes(samples) == {0}, "a clipped tone has overtones"


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_f32le", "pcm_s24le", "pcm_u8"])
def test_channels_without_a_place_are_all_heard(tmp_path, codec):
    channels = np.concatenate([note(n) if n < 6 else 0 * note(0) for n in range(8)])
    path = write_tracks(tmp_path / "a.wav", [Heard(channels, codec, layout="8 channels")])
    ((_, samples),) = heard(path)[1].items()
    assert notes(samples) == set(range(6))
    assert np.abs(samples).max() < 6 * 0.5 / 8 + 0.02


def test_who_wants_no_sound_gets_none(tmp_path):
    path = write_film(tmp_path / "a.mp4", slides(1, 25), sound=tone(1.0))
    items = list(decode(path, Sampling(), want=frozenset({"visual"})))
    assert not any(isinstance(item, SoundChunk) for item in items)
    assert items[0].audio_tracks == 1


def test_the_choice_is_by_language_purpose_and_channels():
    def chosen(*sources):
        return [track.numbers for track in choose([Source(n, *each) for n, each in enumerate(sources)])[0]]

    assert chosen() == []
    assert chosen((2, "eng"), (6, "ENG")) == [(0,)]
    assert chosen((2, "eng"), (6, "eng", "", True)) == [(1,)]
    assert chosen((2, "und"), (2, "")) == [(0,)]
    assert chosen((1,), (1,), (2,)) == [(0, 1), (2,)]
    assert chosen((2, "pt-br"), (2, "pt_PT")) == [(0,), (1,)]
    assert chosen((2, "eng"), (2, "eng", "commentary"), (2, "eng", "commentary")) == [(0,), (1,)]
    assert chosen((0,), (0,)) == [(0,)], "how many channels is not known"
    assert choose([Source(n, 2, f"l{n}") for n in range(10)]) == ([Track((n,)) for n in range(8)], 2)


def test_the_purpose_is_flagged_or_written_in_the_title():
    assert purpose_of({"default"}, "Surround 5.1") == ""
    assert purpose_of({"comment"}, "") == "commentary"
    assert purpose_of({"descriptions"}, "") == "description"
    assert purpose_of((), "Director's Commentary") == "commentary"
    assert purpose_of((), "English (Audio Description)") == "description"


def test_the_examples_in_the_module_hold():
    assert doctest.testmod(tracks).failed == 0
