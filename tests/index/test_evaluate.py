"""Questions whose answers are known, asked of a small archive; the measures against values worked out by hand."""

import json
import math

import numpy as np
import pytest

import index
from index.build import build
from index.compare import compare
from index.evaluate import evaluate, truths_of
from index.evaluation import DEPTH, Answer, Evaluation
from index.measures import ndcg, resampled, share, word_errors
from index.thresholds import curve
from index.truths import read_truths
from pipeline.errors import ArchiveError, ConfigError, QueryError
from pipeline.media import Media
from pipeline.recipe import Models
from tests.index.archives import fill, said, seen

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture
def archive(make_archive):
    archive = make_archive()
    models = Models.of("toy")
    fill(
        archive,
        {
            "a1": ("films/show.mp4", Media.VIDEO, [
                seen(models, "a1", 0, 10, RED), seen(models, "a1", 10, 20, BLUE),
                said(models, "a1", 2, 4, "the lighthouse keeper counts ships"),
                said(models, "a1", 12, 15, "glaciers lose nine metres"),
            ]),
            "b2": ("red.png", Media.IMAGE, [seen(models, "b2", 0, 0, RED)]),
            "c3": ("green.png", Media.IMAGE, [seen(models, "c3", 0, 0, GREEN)]),
        },
    )  # fmt: skip
    build(archive)
    return archive


@pytest.fixture
def ask(archive, tmp_path):
    """Return a function that evaluates rows."""

    def ask(*rows, generation=None):
        path = tmp_path / "truth.json"
        path.write_text(json.dumps(rows), "utf8")
        return evaluate(archive, path, generation)

    return ask


def moment(query, start, stop, file="films/show.mp4", **more):
    return {"query": query, "file": file, "start": start, "stop": stop, "kind": "moments", **more}


def ranks(evaluation):
    return [answer.rank for answer in evaluation.answers]


def test_a_file_and_a_moment_count_where_they_come(ask):
    found = ask(
        {"query": "green", "file": "green.png", "kind": "pictures"}, moment("blue", 10, 20), moment("blue", 0, 10)
    )
    assert ranks(found)[:2] == [1, 1]
    assert ranks(found)[2] > 1
    pictures, moments, everything = found.groups
    assert (pictures.kind, pictures.n, pictures.recall[1].value) == ("pictures", 1, 1.0)
    assert (moments.kind, moments.n, moments.recall[1].value, moments.recall[10].value) == ("moments", 2, 0.5, 1.0)
    assert (everything.kind, everything.n) == ("all", 3)
    assert everything.median_rank.value == 1


def test_a_moment_of_another_time_is_no_answer(ask):
    assert ranks(ask(moment("blue", 0, 1), moment("blue", 19, 25))) != [1, 1]
    assert ranks(ask(moment("blue", 12, 14), moment("blue", 12, 28))) == [1, 1]
    assert ranks(ask(moment("blue", 100, 110))) == [None]


def test_the_figures_say_how_sure_they_are_and_are_the_same_again(ask):
    rows = [moment("blue", 10, 20), moment("red", 10, 20), {"query": "green", "file": "green.png"}]
    once, again = ask(*rows), ask(*rows)
    assert once.groups == again.groups
    for group in once.groups:
        for interval in (*group.recall.values(), group.ndcg, group.median_rank):
            assert interval.low <= interval.value <= interval.high
    assert once.groups[-1].recall[1].low < once.groups[-1].recall[1].value < once.groups[-1].recall[1].high


def test_a_kind_that_asks_for_pictures_is_asked_of_pictures(ask):
    kind = {"kind": "text-to-picture", "query": "red"}
    assert ranks(ask({**kind, "file": "red.png", "start": 0, "stop": 0})) == [1]
    assert ranks(ask({**kind, "file": "films/show.mp4"})) == [None]
    assert ranks(ask({**kind, "file": "films/show.mp4", "media": "video"})) == [1]
    assert ranks(ask({"query": "red", "file": "films/show.mp4", "modality": "speech"})) == [1]


def test_rows_that_ask_nothing_are_counted_and_files_that_are_not_there_named(ask):
    found = ask(
        moment("blue", 10, 20),
        {"kind": "speech", "clip": "hello", "file": "films/show.mp4", "start": 0, "stop": 2},
        moment("x", 0, 1, file="gone.mp4"),
        moment("y", 0, 1, file="gone.mp4"),
    )
    assert (found.n_skipped, found.missing, len(found.answers)) == (1, {"gone.mp4": 2}, 1)
    assert "Skipped: 1 row" in found.as_text()
    assert "gone.mp4" in found.as_text()


def test_a_file_may_be_named_by_its_path(ask):
    assert ranks(ask({"query": "green", "file": "/media/green.png"})) == [1]


def test_labels_are_held_against_the_truth(ask):
    found = ask(
        {"file": "films/show.mp4", "start": 0, "stop": 5, "label": "Red"},
        {"file": "films/show.mp4", "start": 12, "stop": 15, "label": "red"},
        {"file": "green.png", "label": "green"},
    )
    assert found.answers == ()
    assert found.labels.n == 3
    assert found.labels.first.value == pytest.approx(2 / 3)


def test_transcripts_are_held_against_what_is_said(ask):
    found = ask(
        {"file": "films/show.mp4", "start": 2, "stop": 4, "text": "The lighthouse keeper counts the ships!"},
        {"file": "films/show.mp4", "start": 11, "stop": 15, "text": "Glaciers lose ten metres."},
    )
    assert (found.words.n_files, found.words.n_words) == (1, 10)
    assert found.words.rate.value == pytest.approx(2 / 10)  # one is missing, one is another
    assert ask({"file": "red.png", "text": "nothing"}).words.rate.value == 1.0


def test_two_generations_are_compared_and_what_got_worse_is_listed(archive, ask):
    rows = [{"query": "green", "file": "green.png"}, moment("blue", 10, 20)]
    models = Models.of("toy")
    fill(archive, {"b0": ("more-green.png", Media.IMAGE, [seen(models, "b0", 0, 0, GREEN)])})
    build(archive)
    before, now = ask(*rows, generation="gen-000001"), ask(*rows)
    assert (before.generation, now.generation) == ("gen-000001", "gen-000002")
    found = compare(before, now)
    assert [(a.query, a.rank, b.rank) for a, b in found.worse] == [("green", 1, 2)]
    assert (found.n_better, found.recall.value) == (0, 0.0)
    assert "1 → 2  green  (green.png)" in found.as_text()
    assert compare(now, before).n_better == 1
    json.dumps(found.as_dict())


def test_an_answer_that_is_lost_is_the_worst():
    from dataclasses import replace

    answer = Answer("", "dog", "a.mp4", 0, 0, 1, 0.9)
    lost, later = replace(answer, rank=None), replace(answer, query="cat", rank=3)
    assert lost.depth == DEPTH + 1
    found = compare(_evaluation(answer, replace(later, rank=1)), _evaluation(lost, later))
    assert [now.query for _, now in found.worse] == ["dog", "cat"]
    assert found.recall.value == -0.5
    assert "1 → lost" in found.as_text()


def _evaluation(*answers):
    return Evaluation("gen-000001", (), answers, (), None, None, 0, {}, 0.0)


def test_an_evaluation_is_a_table_and_json(ask):
    found = ask(moment("blue", 10, 20), moment("blue", 100, 110), {"file": "green.png", "label": "green"})
    told = json.loads(json.dumps(found.as_dict()))
    assert told["kinds"]["all"]["recall@1"][0] == 0.5
    assert told["kinds"]["moments"]["median_rank"][2] is None  # it may well not be found at all
    assert told["labels"]["first"][0] == 1.0
    for column in ("recall@1", "recall@5", "recall@10", "nDCG@10", "median rank", f">{DEPTH}"):
        assert column in found.as_text()


def test_names_in_the_truths_cannot_harm_a_terminal(ask):
    found = ask(moment("blue", 10, 20, kind="\x1b[2J"), moment("x", 0, 1, file="\x1b[31mgone"))
    assert "\x1b" not in found.as_text()


def test_json_lines_read_as_an_array_does(tmp_path):
    rows = [moment("blue", 10, 20), {"clip": "x"}, moment("red", 0, 10)]
    (tmp_path / "array.json").write_text(json.dumps(rows, indent=1), "utf8")
    (tmp_path / "lines.jsonl").write_text("\ufeff" + "\n\n".join(json.dumps(row) for row in rows) + "\n", "utf8")
    array, lines = (read_truths(tmp_path / name) for name in ("array.json", "lines.jsonl"))
    assert array == lines
    assert (len(array.rows), array.n_skipped) == (2, 1)


GOOD = '{"query": "a", "file": "b"}'


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("{", "no JSON"),
        ("3", "is no row"),
        ('{"query": 3, "file": "b"}', "query = 3"),
        ('{"query": "a"}', "file = None"),
        ('{"query": "a", "file": ["b"]}', "file = "),
        ('{"query": "a", "file": "b", "start": "x"}', "start = 'x'"),
        ('{"query": "a", "file": "b", "start": NaN}', "start = nan"),
        ('{"query": "a", "file": "b", "start": -1}', "start = -1"),
        ('{"query": "a", "file": "b", "stop": true}', "stop = True"),
        ('{"query": "a", "file": "b", "start": 5, "stop": 2}', "less than stop"),
        ('{"query": "a", "file": "b", "media": "scroll"}', "media = 'scroll'"),
        ('{"query": "a", "file": null, "label": "c"}', "needs the file"),
    ],
)
@pytest.mark.parametrize("kind", ["lines", "array"])
def test_a_row_that_cannot_be_is_one_sentence_with_its_line(tmp_path, row, told, kind):
    path = tmp_path / "truth"
    lines = [GOOD, GOOD, row, GOOD]
    path.write_text("\n".join(lines) if kind == "lines" else "[" + ",\n".join(lines) + "]", "utf8")
    with pytest.raises(ConfigError, match=r"truth, line [34]: ") as caught:
        read_truths(path)
    assert told in str(caught.value)
    assert "line 3" in str(caught.value) or row == "{"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"", b"[]", b'[{"query": "a", "file": "gone.mp4"}]'])
def test_truths_that_are_none_say_what_to_name(archive, tmp_path, content):
    path = tmp_path / "truth.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="name "):
        evaluate(archive, path)


def test_the_truths_of_rushes_toml_are_asked_where_none_are_given(make_archive, tmp_path):
    with pytest.raises(ConfigError, match="--truths FILE"):
        truths_of(make_archive())
    archive = make_archive(extra="")
    toml = archive.root / "rushes.toml"
    toml.write_text('truths = "truth.json"\n' + toml.read_text("utf8"), "utf8")
    assert truths_of(make_archive()) == archive.root / "truth.json"
    assert truths_of(make_archive(), tmp_path / "other.json") == tmp_path / "other.json"


def test_an_older_generation_stays_as_it_was_and_one_that_is_not_there_is_named(archive):
    fill(archive, {"d4": ("white.png", Media.IMAGE, [seen(Models.of("toy"), "d4", 0, 0, WHITE)])})
    build(archive)
    old = index.open(archive.root, generation="gen-000001")
    assert {hit.uri for hit in old.search("white")}.isdisjoint({"white.png"})
    assert old.search("white").generation == "gen-000001"
    for name in ("gen-000009", "../tables", ""):
        with pytest.raises(ArchiveError, match="there are gen-000001, gen-000002"):
            index.open(archive.root, generation=name)


def test_many_questions_at_once_find_what_each_finds_alone(archive):
    searcher = index.open(archive.root)
    words = ["blue", "green", "glaciers lose metres"]
    for query, hits in zip(words, searcher.search_each(words, k=3), strict=True):
        assert [hit.moment_id for hit in hits] == [hit.moment_id for hit in searcher.search(query, k=3)]
    assert searcher.search_each([]) == []
    with pytest.raises(QueryError, match="no content"):
        searcher.search_each(["blue", " "])


def test_questions_that_nothing_answers_draw_a_curve_over_the_threshold(ask):
    nothing = [{"query": f"quantum {n}", "file": None} for n in ("tax", "law", "tax")]
    found = ask(moment("blue", 10, 20), *nothing, {"query": "zebra", "file": None, "media": "audio"})
    assert len(found.answers) == 1
    first, *_, last = found.curve
    assert (first.score, first.false_hits.value, first.lost.value) == (0.0, 0.75, 0.0)  # there is no audio at all
    assert last.false_hits.value < first.false_hits.value
    values = [(at.false_hits.value, -at.lost.value) for at in found.curve]
    assert values == sorted(values, reverse=True)
    assert "lost answers" in found.as_text()
    assert found.as_dict()["thresholds"][0]["false_hits"][0] == 0.75
    assert ask(*nothing).groups == ()
    assert ask(moment("blue", 10, 20)).curve == ()


def test_the_curve_counts_what_is_below_and_above():
    points = {at.score: at for at in curve([0.5, 0.55, 0.9, 0.0], [0.7, 0.99])}
    assert [points[s].false_hits.value for s in (0.0, 0.5, 0.6, 0.95)] == [0.75, 0.75, 0.25, 0.0]
    assert [points[s].lost.value for s in (0.0, 0.7, 0.75, 0.99, 0.995)] == [0.0, 0.0, 0.5, 0.5, 1.0]


def test_wilsons_interval_holds_for_none_and_all():
    assert share([True] * 10).low == pytest.approx(0.722, abs=1e-3)
    assert share([False] * 10).high == pytest.approx(0.278, abs=1e-3)
    half = share([True, False] * 50)
    assert (half.low, half.high) == (pytest.approx(0.404, abs=1e-3), pytest.approx(0.596, abs=1e-3))


def test_the_bootstrap_covers_what_it_should():
    values = np.random.default_rng(1).normal(5, 2, 400)
    mean = resampled(values, np.mean)
    assert mean.high - mean.low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.15)
    assert resampled([3.0] * 5, np.median).as_list() == [3.0, 3.0, 3.0]


def test_gain_falls_with_the_rank_and_is_one_at_best():
    assert ndcg([1], 10) == 1.0
    assert ndcg([3], 10) == pytest.approx(1 / 2)
    assert ndcg([None], 10) == ndcg([11], 10) == 0.0
    assert ndcg([1, 2], 10) == pytest.approx(1.0)
    assert ndcg([2, None], 10) == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))


@pytest.mark.parametrize(
    ("truth", "heard", "errors"),
    [
        ("a b c", "a b c", 0),
        ("a b c", "", 3),
        ("", "a b", 2),
        ("a b c d", "a x c", 2),
        ("a b", "b a", 2),
        ("a b c", "z a b c", 1),
    ],
)
def test_word_errors_are_the_fewest_edits(truth, heard, errors):
    assert word_errors(truth.split(), heard.split()) == errors
