"""The benchmark's own arithmetic, on archives so small that a hand can count."""

import json
from collections.abc import Sequence
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest

import index
from encoders.fusion import concatenate
from flows.run import ingest_and_publish
from index.build import build
from index.query import Questioner
from index.truths import Place, is_file, is_moment
from pipeline.executors import local
from pipeline.media import Media, Modality
from pipeline.recipe import Models
from pipeline.store.tables import Tables
from tests.benchmarks import fusion
from tests.benchmarks.figures import Figure, at_least, at_most, interval_of_mean, table
from tests.benchmarks.processes import memory_of, run
from tests.benchmarks.retrieval import Asking, figures, rank, share_found, speech_moments_in
from tests.benchmarks.speed import Quiet, search_figures
from tests.benchmarks.stages import bare_seconds, list_files
from tests.benchmarks.truths import (
    Question,
    begins_strictly,
    begins_where_said,
    read_speech_texts,
    read_truths,
)
from tests.index.archives import fill, said, seen
from tests.media import film, picture, sound
from tests.toys import COLOURS


def hit(uri: str, start: float = 0.0, stop: float = 0.0, modality: str = "visual") -> SimpleNamespace:
    track = {"visual": "v:0", "text": "title"}.get(modality, modality)
    return SimpleNamespace(uri=uri, start_seconds=start, stop_seconds=stop, modality=modality, track=track)


def truth(kind: str, query: str, file: str, start: float = 0, stop: float = 0) -> dict[str, object]:
    return {"kind": kind, "query": query, "file": file, "start": start, "stop": stop}


def heard(clip: str, file: str, start: float, stop: float) -> dict[str, object]:
    return {"kind": "speech", "clip": clip, "language": "en", "file": file, "start": start, "stop": stop}


def truths_of(tmp_path, rows: Sequence[dict[str, object]]):
    (tmp_path / "truth.json").write_text(json.dumps(rows))
    return read_truths(tmp_path / "truth.json")


def test_the_rank_is_that_of_the_first_right_hit():
    hits = [hit("a"), hit("b"), hit("c"), hit("b")]
    assert rank(hits, Question("?", (Place("b"),)), is_file) == 2
    assert rank(hits, Question("?", (Place("c"), Place("b"))), is_file) == 2
    assert rank(hits, Question("?", (Place("d"),)), is_file) is None


def test_recall_counts_what_was_found_in_time():
    assert share_found([1, 10, 11, None], 10) == 0.5
    assert share_found([1, 10, 11, None], 1) == 0.25
    assert share_found([], 10) == 0.0


@pytest.mark.parametrize(
    ("start", "stop", "right"),
    [(4, 8, True), (5, 7, True), (0, 8, True), (6, 10, True), (7, 11, False), (8, 12, False), (0, 4, False)],
)
def test_a_moment_is_right_when_half_of_the_shorter_interval_is_shared(start, stop, right):
    assert is_moment(hit("film", start, stop), Place("film", 4, 8)) is right
    assert not is_moment(hit("other", start, stop), Place("film", 4, 8))


def test_words_about_a_whole_film_are_no_moment():
    assert not is_moment(hit("film", 0, 40, "text"), Place("film", 4, 8))
    assert not begins_where_said(hit("film", 0, 40, "text"), Place("film", 0, 8))


@pytest.mark.parametrize(
    ("start", "stop", "right", "strictly"),
    [
        (8.5, 11, True, True),
        (7.5, 12, False, False),
        (12, 14, True, True),
        (16, 19, True, False),
        (18, 30, False, False),
    ],
)
def test_speech_is_found_where_it_begins_or_in_a_later_sentence_of_it(start, stop, right, strictly):
    place = Place("talk", 10, 20)
    assert begins_where_said(hit("talk", start, stop, "speech"), place) is right
    assert begins_strictly(hit("talk", start, stop, "speech"), place) is strictly


def test_clips_that_say_the_same_answer_for_each_other(tmp_path):
    truths = truths_of(tmp_path, [heard("a", "t1", 0, 2), heard("b", "t1", 3, 5), heard("c", "t2", 0, 9)])
    texts = {"a": "Press one.", "b": "Wait!", "c": "Wait, or press one now."}
    asked = {"a": "push the first key", "c": "patience"}
    first, last = truths.said(asked, texts)
    assert first == Question("push the first key", (Place("t1", 0, 2), Place("t2", 0, 9)))
    assert last == Question("patience", (Place("t2", 0, 9),))
    assert truths.said(asked, {})[0].places == (Place("t1", 0, 2),)


def test_a_clip_that_the_end_of_a_film_cuts_off_is_heard_there(tmp_path):
    talk = [heard("a", "talk", 0, 3), heard("b", "talk", 4, 7), heard("c", "talk", 8, 11), heard("d", "talk", 12, 15)]
    truths = truths_of(tmp_path, [*talk, heard("a", "film", 0, 3), heard("b", "film", 4, 7)])
    assert truths.spoken["c"] == (Place("talk", 8, 11), Place("film", 8, 11))
    assert truths.spoken["d"] == (Place("talk", 12, 15),)


def test_what_clips_say_is_read_without_folders_and_silence(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("; no: no\nsorry: We're sorry.\nfollowme/sorry: I'm sorry: nobody.\nsilence/3: (3 seconds)\n")
    assert read_speech_texts(path) == {"sorry": "I'm sorry: nobody."}


def test_a_bound_is_held_from_its_side():
    assert at_least("a", 0.5, "share", 0.5).holds
    assert not at_least("a", 0.49, "share", 0.5).holds
    assert at_most("a", 3, "GB", 3).holds
    assert not at_most("a", 3.1, "GB", 3).holds


def test_json_has_the_promised_fields():
    line = json.loads(Figure("a", 1 / 3, "s").as_json())
    assert list(line) == ["name", "value", "unit", "floor", "holds", "contender", "quality"]
    assert list(line) == [f.name for f in fields(Figure)]
    assert line["value"] == 0.3333
    assert line["holds"] is None
    assert "| a " in table([Figure("a", 1.0, "s")])


def test_the_interval_of_a_mean_narrows_with_more_values():
    few, many = interval_of_mean([0.0, 1.0] * 5), interval_of_mean([0.0, 1.0] * 500)
    assert few[0] < many[0] < 0.5 < many[1] < few[1]
    assert interval_of_mean([0.25] * 9) == (0.25, 0.25)


def test_figures_of_a_toy_archive(tmp_path, make_archive):
    archive, models = make_archive(), Models.of("toy")
    film = [seen(models, "f" * 32, 2.0 * n, 2.0 * n + 2, colour) for n, colour in enumerate(COLOURS.values())]
    talk = [said(models, "a" * 32, 1.0, 3.0, "the kettle boils"), said(models, "a" * 32, 4.0, 6.0, "doors are closing")]
    fill(
        archive,
        {
            "e" * 32: ("red.png", Media.IMAGE, [seen(models, "e" * 32, 0, 0, COLOURS["red"])]),
            "f" * 32: ("film.mp4", Media.VIDEO, film),
            "a" * 32: ("talk.wav", Media.AUDIO, talk),
        },
    )
    build(archive)
    rows = [
        truth("text-to-picture", "something red", "red.png"),
        truth("text-to-picture", "something red", "lost.png"),
        truth("text-to-moment", "green", "film.mp4", 2, 4),
        heard("kettle", "talk.wav", 1.2, 3),
        heard("doors", "talk.wav", 4, 6),
    ]
    texts = {"kettle": "The kettle boils.", "doors": "Doors are closing."}
    missed: list[str] = []
    asking = Asking(index.open(archive.root), lambda name, question, hits: missed.append(question.places[0].file))
    found = {
        f.name: f
        for f in figures(asking, truths_of(tmp_path, rows), texts, {"in other words": {"doors": "closing doors"}})
    }
    assert found["text to picture, recall@10"].value == 0.5
    assert found["text to picture, recall@10"].holds is False
    assert found["text to moment, recall@10"].value == 1.0
    assert found["said, verbatim, first hit"].value == 1.0
    assert found["said, in other words, first hit"].value == 1.0
    assert set(missed) == {"lost.png"}
    assert speech_moments_in(asking.searcher, {"talk.wav"}) == 2
    assert speech_moments_in(asking.searcher, {"red.png"}) == 0


def test_the_grid_ranks_as_fused_scenes_do(tmp_path, make_archive):
    archive, models = make_archive(), Models.of("toy")
    colours = [seen(models, "f" * 32, 2.0 * n, 2.0 * n + 2, colour) for n, colour in enumerate(COLOURS.values())]
    words = [said(models, "f" * 32, 0.2, 1.8, "the kettle boils"), said(models, "f" * 32, 4.2, 5.8, "a green one")]
    fill(archive, {"f" * 32: ("film.mp4", Media.VIDEO, [*colours, *words])})
    questions = (
        Question("green", (Place("film.mp4", 2, 4),)),
        Question("the kettle boils", (Place("film.mp4", 0, 2),)),
    )
    scenes = fusion.scenes_of(archive, questions)
    weights = {Modality.VISUAL: 0.7, Modality.AUDIO: 0.1, Modality.SPEECH: 0.2}
    dims = {m: dim for m, (_, dim) in models.blocks().items()}
    by_hand = concatenate({Modality.VISUAL: colours[0].vector, Modality.SPEECH: words[0].vector}, dims, weights)
    (asked,) = Questioner(models, weights).words(["green"])[models.scene_space(weights)]
    silent = concatenate({Modality.VISUAL: colours[1].vector}, dims, weights)
    scores = scenes.scores(weights)[0]
    assert scores[0] / scores[1] == pytest.approx(float(by_hand @ asked) / float(silent @ asked), rel=1e-5)
    found = fusion.grid(scenes, questions)
    assert max(found.values()) == 1.0
    assert len(found) == 231  # all multiples of 1/20 that sum to 1


def test_spoken_and_written_questions_are_mixed(tmp_path):
    rows = [truth("text-to-moment", "green", "film", 0, 4), truth("subtitle", "salt", "film", 4, 8)]
    truths = truths_of(tmp_path, [*rows, heard("a", "film", 1, 3), heard("a", "talk", 5, 7), heard("b", "talk", 1, 3)])
    of_films, of_everything = fusion.mixes(truths, {"a": "kettle", "b": "doors"})
    assert [q.asked for q in of_films.questions] == ["green", "kettle", "salt"]
    assert of_films.questions[1].places == (Place("film", 1, 3),)
    assert [q.asked for q in of_everything.questions] == ["green", "kettle", "doors"]


def test_recall_of_a_matrix():
    scores = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    right = np.array([[True, False, False], [True, False, False]])
    assert fusion.recall(scores, right, k=1) == 0.5
    assert fusion.recall(scores, right, k=3) == 1.0


def test_a_command_is_timed_and_weighed():
    import sys

    code = "import time; kept = bytearray(200_000_000); kept[::4096] = b'1' * len(kept[::4096]); time.sleep(1.2)"
    ran = run([sys.executable, "-c", code])
    assert ran.seconds > 1.2
    if memory_of(1) != (0, 0) or ran.peak_bytes:
        assert 200e6 < ran.peak_private_bytes <= ran.peak_bytes < 400e6


def test_bare_stages_do_the_work_of_an_ingest(tmp_path, make_archive):
    source = tmp_path / "source"
    film(source / "show.mp4", ["red", "blue"])
    picture(source / "IMG_1.png", "green")
    sound(source / "low.flac", "low")
    (source / "broken.mp4").write_bytes(b"\0\0\0\x18ftypisom" + b"x" * 200)
    archive = make_archive()
    ingest_and_publish(archive, local.run, Quiet())
    spent = bare_seconds(archive, tmp_path / "bare")
    assert set(spent) == {"decode", "visual", "audio", "speech", "text", "commit", "index"}
    assert all(seconds > 0 for seconds in spent.values())
    assert list_files(archive) == 4
    ours, again = Tables(archive.tables).moments(), Tables(tmp_path / "bare/tables").moments()
    assert sorted(again["moment_id"].to_pylist()) == sorted(ours["moment_id"].to_pylist())
    figures = {f.name: f for f in search_figures(archive, [Question("red", ()), Question("blue", ())])}
    assert figures["encoding of a question"].value > 0
    assert figures["search in process, without the question's encoding, at most"].holds
