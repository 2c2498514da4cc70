"""What is heard becomes moments of its track, at the rate that each model asks for."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from av.stream import Disposition

import encoders.profiles
import encoders.registry
import index
from encoders.profiles import Profile
from encoders.spec import EncoderSpec, Utterance
from index.build import build
from pipeline.archive import open_archive
from pipeline.config import load_settings
from pipeline.executors import local
from pipeline.executors.encoding import Encoding
from pipeline.executors.stages import Job, Piece, decode_job
from pipeline.ingest import ingest
from pipeline.media import Modality, Mode, Sampling, SoundChunk
from pipeline.recipe import Models, fingerprints, sampling_of
from pipeline.store.tables import Tables
from tests.pipeline.decode.media import Heard, flat, tone, write_tracks
from tests.pipeline.test_ingest import Silent
from tests.toys import PITCHES, Listener, Pitches


class FinePitches(Pitches):
    """The toy's ears at another rate."""

    spec = EncoderSpec("toy-pitches", "pitches-toy-4", len(PITCHES), rate_hz=44100)

    def encode_sound(self, windows):
        return super().encode_sound([window[: len(window) // 2 * 2] for window in windows])

    def _one(self, samples):
        power = np.abs(np.fft.rfft(samples, 44100))
        octaves = np.log2(np.array([max(int(power.argmax()), 1), *PITCHES.values()]))
        return np.exp(-((octaves[1:] - octaves[0]) ** 2)) + 1e-6


def note(pitch: str, seconds: float = 3.0) -> np.ndarray:
    return tone(seconds, 48000, PITCHES[pitch], channels=2)


@pytest.fixture
def film(tmp_path):
    """A film that is low in English, high in German, and has a shrill commentary."""
    (tmp_path / "source").mkdir()
    streams = [
        Heard(note("low"), "aac", language="eng", flags=Disposition.default),
        Heard(note("high"), "aac", language="deu", flags=Disposition(0)),
        Heard(note("shrill"), "aac", language="eng", flags=Disposition.comment),
    ]
    return write_tracks(tmp_path / "source/film.mkv", streams, [flat(255, 0, 0)] * 75)


def ingested(archive):
    report = ingest(archive, local.run, Silent())
    assert not report.reasons
    return Tables(archive.tables).moments().to_pylist()


def tracks_of(moments, modality):
    return sorted(m["track"] for m in moments if m["modality"] == modality)


def test_every_track_has_moments_of_its_own(film, make_archive):
    archive = make_archive()
    moments = ingested(archive)
    heard = {m["track"]: m["labels"][0]["name"] for m in moments if m["modality"] == "audio"}
    assert heard == {"a:0": "low", "a:1": "high", "a:2": "shrill"}
    assert tracks_of(moments, "speech") == ["speech:a:1", "speech:a:2"]
    assert len({m["moment_id"] for m in moments}) == len(moments)
    assert Tables(archive.tables).assets()[0].facts.audio_tracks == 3
    build(archive)
    (hit, *_) = index.open(archive.root).search("beep goes the machine", modality="speech")
    assert hit.why in {f'says "beep goes the machine" (sound track a:{n})' for n in (1, 2)}, "both say the same"


def test_a_transcript_speaks_for_the_main_track_alone(film, make_archive):
    film.with_suffix(".srt").write_text("1\n00:00:00,500 --> 00:00:02,000\nthe lighthouse keeper\n")
    assert tracks_of(ingested(make_archive()), "speech") == ["sidecar:film.srt", "speech:a:1", "speech:a:2"]


def test_a_transcript_that_comes_later_leaves_the_other_tracks(film, make_archive):
    archive = make_archive()
    ingested(archive)
    film.with_suffix(".srt").write_text("1\n00:00:00,500 --> 00:00:02,000\nthe lighthouse keeper\n")
    assert tracks_of(ingested(archive), "speech") == ["sidecar:film.srt", "speech:a:1", "speech:a:2"]


def test_each_model_hears_its_own_rate(film, toys, monkeypatch, make_archive):
    known = {**encoders.registry.FACTORIES, "toy-fine": "tests.pipeline.test_hearing:FinePitches"}
    monkeypatch.setattr(encoders.registry, "FACTORIES", known)
    fine = Profile(name="toy", visual="toy-colours", text="toy-words", audio="toy-fine", speech="toy-listener")
    monkeypatch.setattr(encoders.profiles, "PROFILES", {"toy": fine})
    archive = make_archive()
    moments = ingested(archive)
    heard = {m["track"]: m["labels"][0]["name"] for m in moments if m["modality"] == "audio"}
    assert heard == {"a:0": "low", "a:1": "high", "a:2": "shrill"}
    assert tracks_of(moments, "speech") == ["speech:a:1", "speech:a:2"]
    build(archive)
    hits = index.open(archive.root).search(audio=film, modality="audio")
    assert hits[0].labels[0].name == "low", "the question is what its main track sounds like"


def test_a_rate_that_a_model_asks_for_is_in_the_recipe_of_what_is_heard(toys, make_archive, tmp_path):
    settings, models = make_archive().settings, Models.of(toys)
    assert sampling_of(settings, models).rates_hz == (16000,)
    finer = replace(models, audio=FinePitches())
    assert sampling_of(settings, finer).rates_hz == (16000, 44100)
    before, after = fingerprints(settings, models), fingerprints(settings, finer)
    changed = {modality for modality in before if before[modality] != after[modality]}
    assert changed == {Modality.AUDIO, Modality.SPEECH, Modality.SCENE}


def test_a_track_with_nothing_in_it_is_not_read(toys):
    class Counting(Listener):
        n_read = 0

        def read(self, samples):
            self.n_read += 1
            return [Utterance(0.0, 1.0, "hello", "en")]

    listener = Counting()
    encoding = Encoding(replace(Models.of(toys), speech=listener), Sampling())
    for n, level in enumerate((0.0, 5e-4, 0.1)):
        sound = SoundChunk(np.full(16000, level, np.float32), 0.0, 16000, f"a:{n}", main=n == 0)
        (made,) = encoding.encode([Piece("x", 0, sound, frozenset({Modality.SPEECH}))])
    assert listener.n_read == 1
    assert [m.track for m in made.moments] == ["speech:a:2"]


def test_passages_and_translations_keep_to_their_track(toys):
    class Fluent(Listener):
        def read(self, samples):
            return [Utterance(0.0, 1.0, "guten tag", "de"), Utterance(1.0, 2.0, "wie geht es", "de"),
                    Utterance(0.0, 1.0, "good day", "en", "translation:en")]  # fmt: skip

    encoding = Encoding(replace(Models.of(toys), speech=Fluent()), Sampling())
    sounds = [SoundChunk(np.full(32000, 0.1, np.float32), 0.0, 16000, f"a:{n}", main=n == 0) for n in (0, 1)]
    made = encoding.encode([Piece("x", n, sound, frozenset({Modality.SPEECH})) for n, sound in enumerate(sounds)])
    assert sorted({m.track for m in made[0].moments}) == ["passage:speech", "speech", "translation:en"]
    assert sorted({m.track for m in made[1].moments}) == [
        "passage:speech:a:1", "speech:a:1", "translation:en:a:1"
    ]  # fmt: skip
    ids = [m.moment_id for each in made for m in each.moments]
    assert len(set(ids)) == len(ids)


def test_a_known_single_track_is_not_decoded_for_a_transcript(tmp_path, toys, make_archive):
    (tmp_path / "source").mkdir()
    path = write_tracks(tmp_path / "source/a.mkv", [Heard(note("high"), "aac")], [flat(255, 0, 0)] * 75)
    archive = make_archive()
    ingested(archive)
    facts = Tables(archive.tables).assets()[0].facts
    path.write_bytes(b"")
    path.with_suffix(".srt").write_text("1\n00:00:00,500 --> 00:00:02,000\nthe lighthouse keeper\n")
    job = Job("x", path, frozenset({Modality.SPEECH}), (transcript_beside(path),), facts=facts)
    kinds = [type(piece.body).__name__ for piece in decode_job(job, Sampling())]
    assert kinds == ["Transcript", "Facts", "Ending"]


def transcript_beside(path):
    from pipeline.decode import read_transcript

    return read_transcript(path.with_suffix(".srt"))


def test_sampling_survives_json_and_refuses_what_cannot_be():
    sampling = Sampling(mode=Mode.EXACT, rates_hz=(48000, 16000, 16000))
    assert sampling.rates_hz == (16000, 48000)
    again = Sampling(**json.loads(json.dumps(asdict(sampling))))
    assert again == sampling
    assert hash(again) == hash(sampling)
    assert again.mode is Mode.EXACT
    for rates in ((), (0,), (16000.5,), (10**9,), ("16000",)):
        with pytest.raises(ValueError, match="from 1000 to 192000"):
            Sampling(rates_hz=rates)
    with pytest.raises(ValueError, match="fast"):
        Sampling(mode="fast")


def test_the_mode_is_a_persons_to_say(make_archive):
    archive = make_archive()
    text = (archive.root / "rushes.toml").read_text()
    (archive.root / "rushes.toml").write_text(text.replace('mode = "auto"', 'mode = "exact"\nsize_px = 128 #'))
    settings = load_settings(archive.root / "rushes.toml")
    assert (settings.sampling.mode, settings.sampling.size_px) == (Mode.EXACT, 128)
    assert open_archive(archive.root).settings == settings
