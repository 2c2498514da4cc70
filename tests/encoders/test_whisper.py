"""The speech reader: nothing is heard in what is no speech, and a recording may change its language."""

from types import SimpleNamespace

import numpy as np
import pytest

from encoders import joined, voice, whisper
from encoders.packages import ChangedFileError, Package

RATE = whisper.WhisperReader.rate_hz


@pytest.fixture(scope="module")
def reader():
    return whisper.load(threads=2)


def clock(seconds):
    return np.arange(round(seconds * RATE)) / RATE


def howl():
    t = clock(6)
    return (
        np.sin(2 * np.pi * np.cumsum(400 + 150 * np.sin(2 * np.pi * 0.4 * t)) / RATE)
        * (1 + np.sin(2 * np.pi * 0.7 * t))
        / 4
    )


NO_SPEECH = {
    "nothing at all": np.zeros(0),
    "a blink": np.zeros(100),
    "silence": np.zeros(10 * RATE),
    "noise": np.random.default_rng(0).normal(0, 0.1, 10 * RATE),
    "hum": 0.3 * np.sin(2 * np.pi * 50 * clock(8)),
    "howling": howl(),
    "clicks": np.where(np.arange(6 * RATE) % 4000 == 0, 0.9, 0.0),
    "chirps": 0.4 * np.sin(2 * np.pi * 4000 * clock(6)) * (clock(6) * 5 % 1 < 0.3),
    "a chord": sum(0.1 * np.sin(2 * np.pi * f * clock(8)) for f in (220, 277, 330, 440)),
}


@pytest.mark.parametrize("name", NO_SPEECH)
def test_no_words_come_from_what_is_no_speech(reader, name):
    assert reader.read(NO_SPEECH[name].astype(np.float32)) == []


def test_the_reader_names_what_it_is(reader):
    assert reader.name.startswith("whisper-base-")
    assert reader.rate_hz == 16000


class Tokenizer:
    eot = 1000

    def __init__(self, words):
        self._words = words

    def decode(self, tokens):
        return " ".join(self._words[token] for token in tokens)


class Model:
    """Hears one sentence per window: English before the tenth second, else German, which it first mishears."""

    frames_per_second = 100
    words = ("Good morning.", "Guten Tag.", "Good day.", "mmm mmm mmm mmm mmm")
    hf_tokenizer = None

    def __init__(self):
        self.model = self
        self.listened = []

    def feature_extractor(self, sound):
        return np.full((80, 2), sound.max(), np.float32)

    def encode(self, features):
        return features

    def detect_language(self, encoding):
        german = encoding.max() > 0.5
        return [[("<|de|>", 0.9 if german else 0.1), ("<|en|>", 0.1 if german else 0.9)]]

    def find_alignment(self, tokenizer, tokens, encoding, frames):
        return [
            [{"word": self.words[token], "start": 0.2, "end": 1.2, "probability": 0.8} for token in some]
            for some in tokens
        ]


@pytest.fixture
def scripted(monkeypatch):
    reader = whisper.load()
    model = reader.__dict__["_model"] = Model()

    def write(encoding, windows, task, beam_size=1):
        model.listened.append((windows[0].language, task, beam_size, len(windows)))
        if task == "translate":
            tokens = [2]
        elif windows[0].language == "en":
            tokens = [0]
        else:
            tokens = [3] if beam_size == 1 else [1]
        result = SimpleNamespace(sequences_ids=[tokens], scores=[-0.2], no_speech_prob=0.1)
        return [whisper._judged(Tokenizer(model.words), window, result) for window in windows]

    monkeypatch.setattr(reader, "_write", write)
    monkeypatch.setattr(reader, "_tokenizer", lambda language, task: Tokenizer(model.words))

    def voice_probabilities(samples):
        return (samples[:: voice.FRAME_SAMPLES] != 0).astype(np.float32)

    monkeypatch.setattr(voice, "voice_probabilities", voice_probabilities)
    return reader


def test_languages_change_and_get_a_translation(scripted):
    samples = np.zeros(20 * RATE, np.float32)
    samples[1 * RATE : 3 * RATE] = 0.3
    samples[12 * RATE : 14 * RATE] = 0.8

    heard = scripted.read(samples)

    assert [(u.text, u.language, u.track) for u in heard] == [
        ("Good morning.", "en", "speech"),
        ("Guten Tag.", "de", "speech"),
        ("Good day.", "en", "translation:en"),
    ]
    assert 1 <= heard[0].start_seconds < heard[0].stop_seconds <= 3
    assert (heard[1].start_seconds, heard[1].stop_seconds) == (heard[2].start_seconds, heard[2].stop_seconds)
    assert 12 <= heard[1].start_seconds < heard[1].stop_seconds <= 14


def test_what_is_doubtful_is_heard_again_thoroughly(scripted):
    samples = np.zeros(20 * RATE, np.float32)
    samples[12 * RATE : 14 * RATE] = 0.8

    scripted.read(samples)

    model = scripted.__dict__["_model"]
    assert [(task, beam) for _, task, beam, _ in model.listened if task == "transcribe"] == [
        ("transcribe", 1),
        ("transcribe", 5),
    ]
    assert not scripted.rejected


def test_what_stays_doubtful_is_left_out_and_counted(scripted, monkeypatch):
    monkeypatch.setattr(whisper, "objection", lambda text, **facts: "unlikely")
    samples = np.zeros(20 * RATE, np.float32)
    samples[12 * RATE : 14 * RATE] = 0.8

    assert scripted.read(samples) == []
    assert scripted.rejected == {"unlikely": 1}


def test_a_voice_that_is_nowhere_certain_is_left_out_and_counted(scripted, monkeypatch):
    monkeypatch.setattr(voice, "voice_probabilities", lambda samples: np.full(100, 0.7, np.float32))

    assert scripted.read(np.zeros(RATE, np.float32)) == []
    assert scripted.rejected == {"uncertain voice": 1}


@pytest.fixture
def parts(tmp_path, monkeypatch):
    import hashlib

    monkeypatch.setenv("RUSHES_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "packages"
    folder.mkdir()
    found = {}
    for name, body in (("model.bin.part1", b"first "), ("model.bin.part2", b"second"), ("config.json", b"{}")):
        (folder / name).write_bytes(body)
        found[f"package/{name}"] = folder / name
    monkeypatch.setattr(joined, "locate", lambda package: found)
    return found, hashlib.sha256(b"first second").hexdigest()


PACKAGE = Package(name="model", version="1", files={}, licence="", source="")


def test_a_model_in_parts_is_joined_once(parts):
    _, sha256 = parts

    home = joined.joined_model([PACKAGE], sha256)
    written = (home / "model.bin").stat().st_mtime_ns

    assert (home / "model.bin").read_bytes() == b"first second"
    assert (home / "config.json").read_bytes() == b"{}"
    assert joined.joined_model([PACKAGE], sha256) == home
    assert (home / "model.bin").stat().st_mtime_ns == written
    assert [path.name for path in home.parent.iterdir()] == [home.name]


def test_a_damaged_model_is_joined_again(parts):
    _, sha256 = parts
    home = joined.joined_model([PACKAGE], sha256)
    (home / "model.bin").write_bytes(b"first sec")

    assert (joined.joined_model([PACKAGE], sha256) / "model.bin").read_bytes() == b"first second"


def test_parts_that_do_not_fit_are_refused(parts):
    found, sha256 = parts
    found["package/model.bin.part2"].write_bytes(b"other")

    with pytest.raises(ChangedFileError, match="pinned is"):
        joined.joined_model([PACKAGE], sha256)
    assert (
        not list((found["config.json"].parents[1] / "cache" / "joined").glob("*")) if "config.json" in found else True
    )
