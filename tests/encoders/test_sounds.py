"""The space of sounds: field guide, measures, labels, and what words find."""

import numpy as np
import pytest

from encoders import sounds, weights
from encoders.acoustics import RATE_HZ, describe
from encoders.music import MSD_TAGS, MTT_TAGS, Tagged
from encoders.packages import pull
from encoders.remembered import remembered
from encoders.sound_guide import log_likelihood, read_field_guide, read_music_guide
from encoders.spec import SoundEncoder, TextEncoder

SECONDS = 3


def clock(seconds=SECONDS):
    return np.arange(round(seconds * RATE_HZ)) / RATE_HZ


def noise(seconds=SECONDS, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE_HZ))


def calls(voice, each, per_second, seconds=SECONDS):
    """Let a voice be heard `per_second` times a second, for `each` seconds."""
    t = clock(seconds)
    phase = t * per_second % 1 / per_second
    return voice * np.where(phase < each, np.sin(np.pi * np.clip(phase / each, 0, 1)), 0.0)


def harmonics(hertz, n, seconds=SECONDS):
    return sum(np.sin(2 * np.pi * hertz * k * clock(seconds)) / k for k in range(1, n + 1))


SOUNDS = {
    "hooting": calls(harmonics(400, 1), 0.5, 1),
    "chirping": calls(harmonics(5000, 1), 0.08, 5),
    "mooing": calls(harmonics(130, 8), 1.4, 0.5),
    "siren": np.sin(2 * np.pi * np.cumsum(900 + 300 * np.sin(2 * np.pi * 0.5 * clock())) / RATE_HZ),
    "rain": noise(),
    "thunder": np.convolve(noise(), np.ones(160) / 16, "same") * np.exp(-clock()),
}


def as_sound(samples):
    return (0.5 * samples / np.abs(samples).max()).astype(np.float32)


class Tagger:
    """Says of every sound that it is a piano, as loudly as it is loud."""

    def tag(self, windows):
        mtt = np.full((len(windows), len(MTT_TAGS)), 0.03, np.float32)
        mtt[:, MTT_TAGS.index("piano")] = 0.8
        features = np.array([[np.abs(w).mean() if len(w) else 0.0] * 400 for w in windows], np.float32)
        return Tagged(mtt, np.full((len(windows), len(MSD_TAGS)), 0.02, np.float32), 1 + features)


@pytest.fixture(scope="module")
def encoder():
    encoder = sounds.SoundLabelEncoder(sentences())
    encoder.__dict__["_tagger"] = Tagger()
    return encoder


def sentences():
    from encoders.sentence import load

    return load()


def test_it_takes_sound_and_words(encoder):
    assert isinstance(encoder, SoundEncoder)
    assert isinstance(encoder, TextEncoder)
    assert encoder.spec.rate_hz == RATE_HZ


def test_vectors_have_unit_norm_and_are_the_same_alone(encoder):
    windows = [as_sound(samples) for samples in SOUNDS.values()]
    windows += [np.zeros(160000, np.float32), windows[0][:1600], np.zeros(0, np.float32), np.tile(windows[0], 10)]

    together = encoder.encode_sound(windows)

    assert together.vectors.shape == (10, encoder.spec.dim)
    assert together.vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(together.vectors, axis=1), 1, atol=1e-5)
    for number, window in enumerate(windows):
        assert np.abs(encoder.encode_sound([window]).vectors[0] - together.vectors[number]).max() < 1e-3
    assert encoder.encode_sound([]).vectors.shape == (0, encoder.spec.dim)


def test_words_fill_the_labels_alone(encoder):
    vectors = encoder.encode_texts(["the sound of a cow", "calm piano music", ""])

    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert not vectors[:, len(encoder.labels) :].any()
    assert encoder.encode_texts([]).shape == (0, encoder.spec.dim)


@pytest.mark.parametrize(
    ("words", "label"),
    [
        ("the sound of a cow", "mooing"),
        ("an owl at night", "hooting"),
        ("a dog barks", "barking"),
        ("a man is talking", "speech"),
        ("calm piano music", "piano"),
        ("techno", "techno"),
        ("an ambulance drives by", "siren"),
        ("heavy rain", "rain"),
        ("quiet", "silence"),
    ],
)
def test_words_mean_their_label(encoder, words, label):
    shares = encoder.encode_texts([words])[0][: len(encoder.labels)]

    assert label in [encoder.labels[i] for i in np.argsort(-shares)[:3]]


def test_words_find_sounds_by_what_is_known_of_them(encoder):
    heard = encoder.encode_sound([as_sound(samples) for samples in SOUNDS.values()]).vectors
    asked = encoder.encode_texts(["an owl", "sparrows", "a cow", "an ambulance", "a waterfall", "a thunderstorm"])

    ranks = [(row > row[n]).sum() for n, row in enumerate(asked @ heard.T)]

    assert sum(rank == 0 for rank in ranks) >= 5, dict(zip(SOUNDS, ranks, strict=True))


def test_a_sound_finds_its_other_half(encoder):
    halves = [half for samples in SOUNDS.values() for half in np.split(as_sound(np.tile(samples, 2)), 2)]
    vectors = encoder.encode_sound(
        [half + noise(SECONDS, n).astype(np.float32) / 200 for n, half in enumerate(halves)]
    ).vectors
    similarity = vectors @ vectors.T - 2 * np.eye(len(halves))

    assert [row.argmax() for row in similarity] == [n ^ 1 for n in range(len(halves))]


def test_silence_is_like_silence_alone(encoder):
    rng = np.random.default_rng(1)
    quiet = [np.zeros(48000, np.float32), rng.normal(0, 1e-4, 30000).astype(np.float32)]
    encoded = encoder.encode_sound([*quiet, as_sound(noise())])

    assert [label.name for label in encoded.labels[0]] == ["silence"]
    assert encoded.vectors[0] @ encoded.vectors[1] == pytest.approx(1, abs=1e-5)
    assert encoded.vectors[0] @ encoded.vectors[2] < 0.6


def test_music_is_known_by_tones_that_no_single_voice_holds(encoder):
    chords = [as_sound(sum(harmonics(f, 4, 8) for f in (220, 277.2, 329.6, 415.3))), as_sound(harmonics(220, 12, 8))]

    music, hum = ({label.name: label.score for label in labels} for labels in encoder.encode_sound(chords).labels)

    assert music["music"] > 0.8
    assert music["piano"] == pytest.approx(0.8 * music["music"], abs=1e-5)
    assert hum.get("music", 0) < 0.5


def test_music_under_speech_is_both(encoder, monkeypatch):
    monkeypatch.setattr(
        sounds.voice, "voice_probabilities", lambda samples: np.full(len(samples) // 512, 0.99, np.float32)
    )
    chord = as_sound(sum(harmonics(f, 4, 8) for f in (220, 277.2, 329.6, 415.3)))

    encoded = encoder.encode_sound([chord])

    assert {"speech", "music"} <= {label.name for label in encoded.labels[0]}
    assert (encoder.encode_texts(["a man is talking", "music"]) @ encoded.vectors[0] > 0.3).all()


def test_labels_are_few_likely_and_best_first(encoder):
    for labels in encoder.encode_sound([as_sound(samples) for samples in SOUNDS.values()]).labels:
        scores = [label.score for label in labels]
        assert len(labels) <= 5
        assert scores == sorted(scores, reverse=True)
        assert all(0.1 <= score <= 1 for score in scores)


def test_measures_are_what_was_made():
    owl, chirps, rain = (describe(as_sound(SOUNDS[name])) for name in ("hooting", "chirping", "rain"))

    assert 350 < owl.middle_hz < 450
    assert owl.tonality > 0.9
    assert owl.calls_per_second == pytest.approx(1, abs=0.4)
    assert 4800 < chirps.middle_hz < 5200
    assert chirps.calls_per_second == pytest.approx(5, abs=0.5)
    assert chirps.call_seconds < 0.15
    assert rain.tonality < 0.15
    assert rain.middle_hz == pytest.approx(4000, abs=300)
    assert describe(np.zeros(1, np.float32)).level_db == -120
    assert describe(as_sound(np.sin(2 * np.pi * 440 * clock())) * 2).level_db == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("name", ["hooting", "mooing", "rain"])
def test_loudness_does_not_matter(name):
    loud, soft = (describe(as_sound(SOUNDS[name]) * gain) for gain in (1, 0.03))

    assert soft.middle_hz == pytest.approx(loud.middle_hz, rel=0.02)
    assert soft.tonality == pytest.approx(loud.tonality, abs=0.02)
    assert soft.call_seconds == pytest.approx(loud.call_seconds, rel=0.05)
    assert soft.timbre @ loud.timbre > 0.99


def test_the_guides_are_whole():
    kinds, styles = read_field_guide(), read_music_guide()
    labels = [entry.label for entry in (*kinds, *styles)]

    assert len(labels) == len(set(labels))
    for kind in kinds:
        assert 20 <= kind.lowest_hz < kind.highest_hz <= RATE_HZ / 2, kind.label
        assert 0 <= kind.tonality <= 1, kind.label
        assert kind.words
        assert kind.call_seconds > 0 < kind.calls_per_second
    known = {f"t:{tag}" for tag in MTT_TAGS} | {f"s:{tag}" for tag in MSD_TAGS}
    assert {tag for style in styles for tag in style.tags} <= known


def test_the_guide_knows_what_it_describes():
    """A sound that is as the guide says is most like the entry that says so."""
    kinds = {kind.label: kind for kind in read_field_guide()}
    for label in ("hooting", "chirping", "mooing"):
        described = describe(as_sound(SOUNDS[label]))
        ranked = sorted(kinds, key=lambda name: -log_likelihood(kinds[name], described))
        assert label in ranked[:8], (label, ranked[:8])


def test_a_table_is_made_once_and_again_when_it_was_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("RUSHES_CACHE", str(tmp_path))
    made = []

    def make():
        made.append(1)
        return np.arange(6, dtype=np.float32).reshape(2, 3)

    def get():
        return remembered("numbers", "a key", (2, 3), make)

    assert np.array_equal(get(), get())
    assert len(made) == 1
    (file,) = tmp_path.iterdir()
    body = bytearray(file.read_bytes())
    body[-1] ^= 1
    file.write_bytes(body)
    assert np.array_equal(get(), make())
    file.write_bytes(b"short")
    assert np.array_equal(get(), make())
    assert len(made) == 5
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_with_the_published_weights(encoder):
    pull(weights.MUSICNN)
    real = sounds.load()

    encoded = real.encode_sound([as_sound(SOUNDS["hooting"]), as_sound(SOUNDS["rain"])])

    assert real.spec == encoder.spec
    assert np.allclose(np.linalg.norm(encoded.vectors, axis=1), 1, atol=1e-5)
