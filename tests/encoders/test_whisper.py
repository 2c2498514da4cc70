"""The speech reader: nothing is heard in what is no speech, and a recording may change its language."""

import numpy as np
import pytest

from encoders import joined, voice, whisper, whisper_model
from encoders.packages import ChangedFileError, MissingPackageError, Package
from encoders.transcriber import Skills, Written
from encoders.utterances import Word
from tests.encoders.whispers import convert

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


class Model:
    """Hears one sentence per window: English before the tenth second, else German, which it first mishears."""

    windows_per_call = 4
    words = ("Good morning.", "Guten Tag.", "Good day.", "mmm mmm mmm mmm mmm")

    def __init__(self):
        self.listened = []

    def languages(self, sounds):
        german = [sound.max() > 0.5 for sound in sounds]
        return [{"de": 0.9 if here else 0.1, "en": 0.1 if here else 0.9} for here in german]

    def encode(self, sounds, seconds):
        return seconds

    def write(self, encoding, windows, task, *, beam_size=1):
        self.listened.append((windows[0].language, task, beam_size, encoding))
        if task == "translate":
            token = 2
        elif windows[0].language == "en":
            token = 0
        else:
            token = 3 if beam_size == 1 else 1
        return [Written([token], self.words[token], -0.2, 0.1)] * len(windows)

    def timed(self, encoding, windows, tokens):
        return [
            Word(self.words[token], w.start + 0.2, w.start + 1.2, 0.8, w.language)
            for w, some in zip(windows, tokens, strict=True)
            for token in some
        ]


def hearing(monkeypatch, skills=Skills()):  # noqa: B008
    model = Model()
    reader = whisper.WhisperReader("whisper-scripted", skills, lambda: model)
    reader.model = model

    def voice_probabilities(samples):
        return (samples[:: voice.FRAME_SAMPLES] != 0).astype(np.float32)

    monkeypatch.setattr(voice, "voice_probabilities", voice_probabilities)
    return reader


@pytest.fixture
def scripted(monkeypatch):
    return hearing(monkeypatch)


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

    heard = [(beam, seconds) for _, task, beam, seconds in scripted.model.listened if task == "transcribe"]
    assert heard == [(1, 15.0), (5, 30.0)]
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


def test_what_a_model_was_not_trained_for_is_not_asked_of_it(monkeypatch):
    samples = np.zeros(20 * RATE, np.float32)
    samples[12 * RATE : 14 * RATE] = 0.8
    turbo = hearing(monkeypatch, Skills(translation=False))
    english = hearing(monkeypatch, Skills(languages=False, translation=False))

    assert [(u.text, u.language) for u in turbo.read(samples)] == [("Guten Tag.", "de")]
    assert [(u.text, u.language) for u in english.read(samples)] == [("Good morning.", "en")]
    assert (turbo.name, english.name) == ("whisper-scripted-untranslated", "whisper-scripted-english")


def test_skills_follow_from_the_shape():
    assert Skills.of(51865, 6, 6) == Skills()
    assert Skills.of(51866, 32, 4) == Skills(translation=False)
    assert Skills.of(51864, 6, 6) == Skills(languages=False, translation=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return convert(tmp_path_factory.mktemp("models") / "faster-whisper-small")


def test_a_model_in_a_folder_listens(small, monkeypatch):
    reader = whisper.load(str(small), threads=1, device="cpu")
    voiced = np.zeros(RATE * 9 // voice.FRAME_SAMPLES, np.float32)
    voiced[20:80], voiced[120:220] = 0.95, 0.95
    monkeypatch.setattr(voice, "voice_probabilities", lambda samples: voiced)

    said = reader.read(np.random.default_rng(0).normal(0, 0.1, 9 * RATE).astype(np.float32))

    assert reader.name.startswith("whisper-small-")
    assert sum(reader.rejected.values()) or said  # random weights write something down, and most of it makes no sense


def test_a_model_without_translation_says_so_in_its_name(tmp_path):
    turbo = convert(tmp_path / "whisper-turbo", n_tokens=51866, decoder_layers=1)

    assert whisper.load(str(turbo)).name.endswith("-untranslated")


def test_other_weights_are_another_reader(small, tmp_path):
    other = convert(tmp_path / "faster-whisper-small", decoder_layers=1)

    assert whisper.load(str(other)).name.removesuffix("-untranslated") != whisper.load(str(small)).name


def test_a_model_without_its_tokenizer_is_refused(tmp_path):
    folder = convert(tmp_path / "whisper-small")
    (folder / "tokenizer.json").unlink()

    with pytest.raises(MissingPackageError, match="has no tokenizer"):
        whisper.load(str(folder))


def test_what_is_no_whisper_is_refused(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"no model at all" * 10)

    with pytest.raises(ValueError, match="is no Whisper model"):
        whisper_model.skills(tmp_path / "model.bin")


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
