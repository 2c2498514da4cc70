"""Whisper run by torch hears what CTranslate2 hears with the same weights."""

import numpy as np
import pytest

from encoders import voice, whisper_torch
from encoders.listening import Window
from encoders.log_mel import LogMel
from encoders.packages import MissingPackageError
from encoders.transcriber import Skills
from encoders.whisper_model import CTranslate2Whisper
from encoders.whisper_tokens import Vocabulary
from tests.encoders.whispers import convert, save

RATE = voice.RATE_HZ


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("models") / "whisper-small")


@pytest.fixture(scope="module")
def ours(folder):
    return whisper_torch.TorchWhisper.read(folder, "cpu")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    from faster_whisper import WhisperModel

    home = convert(tmp_path_factory.mktemp("models") / "whisper-small")
    reference = CTranslate2Whisper(lambda: home, Skills(), 1, "cpu")
    reference._model = WhisperModel(str(home), device="cpu", compute_type="float32", cpu_threads=1)
    return reference


def sounds(n, seconds=4.0):
    rng = np.random.default_rng(1)
    tones = (np.sin(np.arange(round(seconds * RATE)) * f) for f in rng.uniform(0.05, 0.6, n))
    return [(0.2 * t + rng.normal(0, 0.02, t.size)).astype(np.float32) for t in tones]


def windows(n, seconds=4.0, language="de"):
    return [Window(10.0 * i, 10.0 * i + seconds, language, seconds) for i in range(n)]


@pytest.mark.parametrize("n_mels", [80, 128])
def test_spectrograms_are_whispers(n_mels):
    import torch
    from faster_whisper.feature_extractor import FeatureExtractor

    (sound,) = sounds(1)
    theirs = FeatureExtractor(feature_size=n_mels)(sound, padding=0)
    found = LogMel(n_mels, "cpu")(torch.from_numpy(sound)[None])[0].numpy()

    np.testing.assert_allclose(found, theirs[:, : found.shape[1]], atol=1e-3)


def test_languages_are_as_probable(ours, theirs):
    padded = [np.pad(sound, (0, 11 * RATE)) for sound in sounds(2)]
    for found, wanted in zip(ours.languages(padded), theirs.languages(padded), strict=True):
        assert found.keys() == wanted.keys()
        np.testing.assert_allclose([found[k] for k in wanted], list(wanted.values()), atol=2e-3)


@pytest.mark.parametrize("seconds", [15.0, 30.0])
def test_the_same_is_written(ours, theirs, seconds):
    found = ours.write(ours.encode(sounds(2), seconds), windows(2), "transcribe")
    wanted = theirs.write(theirs.encode(sounds(2), seconds), windows(2), "transcribe")

    for one, other in zip(found, wanted, strict=True):
        assert one.tokens[:20] == other.tokens[:20]  # later ones may be a coin's toss
        assert one.silence_probability == pytest.approx(other.silence_probability, abs=1e-3)
        if len(one.tokens) == len(other.tokens):
            assert one.log_probability == pytest.approx(other.log_probability, abs=0.05)


def test_words_get_the_same_times(ours, theirs):
    texts = (" Guten Tag zusammen wir fahren heute", " Ja und nein", " Morgen regnet es", " Sehr gut")
    tokens = [ours._vocabulary._tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    found = ours.timed(ours.encode(sounds(4)), windows(4), tokens)
    wanted = theirs.timed(theirs.encode(sounds(4), 15.0), windows(4), tokens)

    assert [w.text for w in found] == [w.text for w in wanted]
    apart = [abs(one.start_seconds - other.start_seconds) for one, other in zip(found, wanted, strict=True)]
    assert np.median(apart) <= 0.04  # random weights look at all frames alike: where a path turns is often a tie
    for one, other in zip(found, wanted, strict=True):
        assert one.probability == pytest.approx(other.probability, abs=1e-4)


def test_a_window_gives_the_same_alone_and_among_others(ours):
    together = ours.write(ours.encode(sounds(3)), windows(3), "transcribe")
    alone = [ours.write(ours.encode([s]), windows(1), "transcribe")[0] for s in sounds(3)]

    assert [w.tokens[:20] for w in together] == [w.tokens[:20] for w in alone]


def test_windows_without_tokens_have_no_words(ours):
    assert ours.timed(ours.encode(sounds(2)), windows(2), [[], []]) == []


def test_a_folder_is_a_reader(folder, monkeypatch):
    reader = whisper_torch.load(str(folder), device="cpu")
    voiced = np.zeros(9 * RATE // voice.FRAME_SAMPLES, np.float32)
    voiced[20:80], voiced[120:220] = 0.95, 0.95
    monkeypatch.setattr(voice, "voice_probabilities", lambda samples: voiced)

    said = reader.read(np.concatenate(sounds(3, 3.0)))

    assert reader.name.startswith("whisper-small-")
    assert reader.rejected or said  # random weights write something down, and most of it makes no sense


def test_a_folder_without_its_tokenizer_is_refused(tmp_path):
    (save(tmp_path / "whisper-small", decoder_layers=1) / "tokenizer.json").unlink()

    with pytest.raises(MissingPackageError, match="has no tokenizer"):
        whisper_torch.load(str(tmp_path / "whisper-small"))


def test_tokens_make_words(ours):
    vocabulary: Vocabulary = ours._vocabulary
    tokens = vocabulary._tokenizer.encode(" It costs 3.5 pounds, Mr. Émile", add_special_tokens=False).ids
    words = vocabulary.words(tokens, "en")

    assert [text for text, _ in words] == [" It", " costs", " 3.5", " pounds,", " Mr.", " Émile"]
    assert sum(n for _, n in words) == len(tokens)
    tokens = vocabulary._tokenizer.encode("天黑了", add_special_tokens=False).ids
    assert "".join(text for text, _ in vocabulary.words(tokens, "zh")) == "天黑了"
