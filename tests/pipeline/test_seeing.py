"""Clips, captions and what is written: made of shots, stored, found, and made anew by themselves."""

import itertools
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import encoders.profiles
import index
from index.build import build
from pipeline.archive import Archive, open_archive
from pipeline.decode.compose import Still, write_film
from pipeline.executors.encoding import Encoding
from pipeline.executors.stages import Piece
from pipeline.media import FrameChunk, Media, Modality, Moment, Sampling, Shot
from pipeline.parts import MADE_FROM, OWN_TRACKS, Part, modality_of, part_of
from pipeline.recipe import Models, fingerprints, sampling_of
from pipeline.store.tables import Tables
from pipeline.writing import frames_read, joined
from tests.media import film, picture
from tests.pipeline.test_ingest import Silent, run
from tests.toys import COLOURS, TOY, TOY_ALL, Captioner, Signs


def of_profile(archive: Archive, name: str) -> Archive:
    """Return the archive with another profile in its rushes.toml."""
    path = archive.root / "rushes.toml"
    text, n = re.subn(r'^profile = "[^"]*"', f'profile = "{name}"', path.read_text(), flags=re.MULTILINE)
    assert n == 1
    path.write_text(text)
    return open_archive(archive.root)


def moments_of(archive, *columns):
    table = Tables(archive.tables).moments()
    assert len(set(table["moment_id"].to_pylist())) == len(table)
    return sorted(tuple(row[c] for c in columns) for row in table.to_pylist())


class Pieces(Silent):
    """Counts the moments that are made, by part."""

    def __init__(self):
        self.parts = Counter()

    def made(self, made):
        self.parts.update(str(part_of(m.modality, m.track)) for m in made.moments)


@pytest.fixture
def source(tmp_path):
    source = tmp_path / "source"
    film(source / "films/show.mp4", ["red", "blue", "green"])
    stills = [Still(np.full((72, 128, 3), 120 + 4 * n, np.uint8), 0.5) for n in range(8)]
    write_film(source / "films/dawn.mp4", stills, None, size=(128, 72), frames_per_second=10)
    picture(source / "pictures/card.png", "blue")
    return source


@pytest.fixture
def archive(source, make_archive):
    archive = of_profile(make_archive(), "toy-all")
    assert run(archive).states == Counter(indexed=3)
    return archive


def test_every_part_becomes_moments_of_its_track_and_is_found_with_its_reason(archive):
    kinds = Counter(moments_of(archive, "modality", "track"))
    assert kinds[("text", "caption")] == kinds[("visual", "v:0")], "one for each shot, and for the picture"
    assert kinds[("visual", "clip:0")] == kinds[("visual", "v:0")] - 1, "a still picture is no clip"
    written = moments_of(archive, "track", "start_seconds", "stop_seconds", "text")
    assert [row for row in written if row[0] == "ocr"] == [
        ("ocr", 0.0, 0.0, "EXIT to platform seven"), ("ocr", 0.0, pytest.approx(4.0, abs=0.2), "EXIT to platform seven")
    ], "what is read in every frame of two shots is one moment"  # fmt: skip
    build(archive)
    searcher = index.open(archive.root)
    clip = searcher.search("brightens", modality="visual", k=1)[0]
    assert (clip.uri, clip.track) == ("films/dawn.mp4", "clip:0")
    assert clip.why.startswith("happens: brightens")
    caption = searcher.search("a picture all in green", modality="text", media="video", k=1)[0]
    assert caption.why == 'caption says "a picture all in green"'
    assert (caption.start_seconds, caption.track) == (pytest.approx(4.0, abs=0.2), "caption")
    sign = searcher.search("exit platform seven", modality="text", media="video", k=1)[0]
    assert sign.why == 'on screen "EXIT to platform seven"'
    assert caption.thumb, "a picture of the shot comes along"
    assert searcher.search(image=archive.root.parent / "source/pictures/card.png", k=1)[0].modality == "visual"
    lists = {(each.entry.modality, each.entry.space) for each in searcher.generation.lists}
    assert ("visual", "motions-toy-3") in lists
    clips = next(each.entry for each in searcher.generation.lists if each.entry.space == "motions-toy-3")
    assert {"words", "media"} <= clips.recalls.keys()


def test_a_caption_folds_into_its_shot_and_a_title_does_not(archive):
    build(archive)
    hits = index.open(archive.root).search("blue: a picture all in blue", media="video", k=10)
    shot = next(hit for hit in hits if "looks like blue" in hit.why)
    assert 'caption says "a picture all in blue"' in shot.why
    assert sum(hit.track in ("v:0", "caption") and "blue" in hit.why for hit in hits) == 1


def test_readers_and_clips_are_made_by_themselves_and_go_by_themselves(source, make_archive):
    archive = make_archive()
    run(archive)
    before = moments_of(archive, "moment_id", "recipe", "vector")
    archive = of_profile(archive, "toy-all")
    more = Pieces()
    assert run(archive, watcher=more).states == Counter(indexed=3)
    assert more.parts.keys() == {"clips", "captions", "writing"}
    both = moments_of(archive, "moment_id", "recipe", "vector")
    assert set(map(str, before)) < set(map(str, both)), "nothing else has changed"
    durations = {row.asset_id: row.facts.duration_seconds for row in Tables(archive.tables).assets()}
    archive = of_profile(archive, "toy")
    fewer = Pieces()
    assert run(archive, watcher=fewer).states == Counter(indexed=3)
    assert fewer.parts == {}
    assert moments_of(archive, "moment_id", "recipe", "vector") == before
    assert {row.asset_id: row.facts.duration_seconds for row in Tables(archive.tables).assets()} == durations


def test_another_captioner_leaves_all_else_alone(archive, monkeypatch):
    class Quicker(Captioner):
        name = "toy-captioner-2"

    before = moments_of(archive, "track", "recipe")
    monkeypatch.setattr("tests.toys.Captioner", Quicker)
    again = Pieces()
    run(open_archive(archive.root), watcher=again)
    assert again.parts.keys() == {"captions"}
    now = moments_of(archive, "track", "recipe")
    assert [row for row in now if row[0] != "caption"] == [row for row in before if row[0] != "caption"]
    assert len(now) == len(before)


def test_a_frame_that_a_reader_cannot_read_costs_that_reading(source, make_archive, monkeypatch):
    class Choking(Signs):
        def read_frames(self, frames):
            if (frames.reshape(len(frames), -1, 3).mean(1) @ [0, 0, 1] > 200).any():
                raise RuntimeError("too blue")
            return super().read_frames(frames)

    monkeypatch.setattr("tests.toys.Signs", Choking)
    archive = of_profile(make_archive(), "toy-all")
    report = run(archive)
    assert report.states == Counter(indexed=3)
    assert report.reasons["ocr_unread"] > 1
    assert {row[1] for row in moments_of(archive, "track", "text") if row[0] == "ocr"} == {"EXIT to platform seven"}
    facts = {row.locations[0].uri: row.facts for row in Tables(archive.tables).assets()}
    assert facts["pictures/card.png"].metadata["unread"] == "ocr: 1 frame (RuntimeError: too blue)"
    assert "unread" not in facts["films/dawn.mp4"].metadata


def test_a_model_that_is_not_here_is_no_frames_fault(toys):
    class Missing(Captioner):
        def read_frames(self, frames):
            raise ImportError("run `rushes models pull`")

    encoding = Encoding(replace(Models.of(toys), captions=Missing()), Sampling())
    with pytest.raises(ImportError, match="models pull"):
        encoding.encode([Piece("x", 0, chunk(["red"]), frozenset(Part))])


def test_frames_are_as_large_as_the_model_wants_that_looks_closest(toys, make_archive):
    settings, models = make_archive().settings, Models.of(toys)
    assert sampling_of(settings, models).size_px == 32
    assert sampling_of(settings, replace(models, captions=Captioner())).size_px == 48
    said = replace(settings, size_px=128, sampling=Sampling(size_px=128))
    assert sampling_of(said, replace(models, captions=Captioner())).size_px == 128
    alone, read = fingerprints(settings, models), fingerprints(settings, replace(models, captions=Captioner()))
    assert {part: read[part] for part in alone} == alone
    assert read.keys() - alone.keys() == {Part.CAPTIONS}
    assert fingerprints(said, models)[Part.VISUAL] != alone[Part.VISUAL]


def test_pieces_of_several_assets_go_through_each_model_together(toys):
    class Counting(Captioner):
        n_calls = 0

        def read_frames(self, frames):
            self.n_calls += 1
            return super().read_frames(frames)

    reader = Counting()
    encoding = Encoding(replace(Models.of(toys), captions=reader), Sampling())
    made = encoding.encode([Piece(name, 0, chunk(["red", "green"]), frozenset(Part)) for name in ("x", "y", "z")])
    assert reader.n_calls == 1
    assert [[m.text for m in each.moments if m.track == "caption"] for each in made] == [
        ["a picture all in red", "a picture all in green"]
    ] * 3


def chunk(colours, seconds: float = 2.0, n_frames: int = 4) -> FrameChunk:
    """Return a chunk with a shot for each colour."""
    shades = np.array([COLOURS[colour] for colour in colours for _ in range(n_frames)], np.uint8)
    pixels = np.broadcast_to(shades[:, None, None], (len(shades), 48, 64, 3)).copy()
    shots = [Shot(n * seconds, (n + 1) * seconds, n * n_frames, (n + 1) * n_frames) for n in range(len(colours))]
    return FrameChunk(pixels, np.arange(len(shades)) * seconds / n_frames, tuple(shots))


def test_the_frames_that_are_read_stand_for_all_of_their_shot():
    one = chunk(["red", "blue"], n_frames=9)
    read = frames_read(one, one.shots[1])
    assert [row for row, _, _ in read] == [10, 13, 16]
    assert read[0][1] == 2.0
    assert read[-1][2] == 4.0
    assert all(a[2] == b[1] for a, b in itertools.pairwise(read))
    assert frames_read(one, Shot(0.0, 2.0, 0, 1)) == [(0, 0.0, 2.0)]


def reading(start: float, stop: float, text: str) -> Moment:
    return Moment("x", Modality.TEXT, "ocr", start, stop, "s", np.array([start, 1], np.float32), text=text)


def test_readings_of_the_same_words_are_one_moment():
    found = joined([
        reading(0, 2, "Mayor Ann Lee"), reading(2, 4, "Mayor Ann Lee"), reading(2, 4, "LIVE"),
        reading(4, 6, "Mayer Ann Lee"), reading(4, 6, "LIVE"), reading(60, 62, "Mayor Ann Lee"),
    ])  # fmt: skip
    assert sorted((m.start_seconds, m.stop_seconds, m.text) for m in found) == [
        (0, 6, "Mayor Ann Lee"), (2, 6, "LIVE"), (60, 62, "Mayor Ann Lee"),
    ]  # fmt: skip
    first = min(found, key=lambda m: m.start_seconds)
    assert first.vector[0] in (0, 2), "the vector is that of the words"


def test_a_part_is_told_by_modality_and_track():
    for part, (modality, track) in OWN_TRACKS.items():
        assert part_of(modality, track) == part
        assert modality_of(part) == modality
    assert part_of("visual", "v:0") == Part.VISUAL
    assert part_of("text", "title") == Part.TEXT
    assert modality_of("speech") == "speech"
    assert Part.CLIPS not in MADE_FROM[Media.IMAGE]


def test_a_profile_may_leave_all_of_it_out(toys):
    models = Models.of(toys)
    assert (models.clips, models.captions, models.writing) == (None, None, None)
    assert encoders.profiles.PROFILES["toy"] == TOY
    assert Models.of("toy-all").writing.name == "toy-signs"
    assert TOY_ALL.clips == "toy-motions"
