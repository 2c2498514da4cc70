import json
import pickle

import numpy as np
import pytest

import index
from index.build import build, is_current
from index.generation import all_but_current, current, discard
from pipeline.errors import ArchiveError, IntegrityError, QueryError
from pipeline.media import Media, Modality
from pipeline.recipe import Models
from tests.index.archives import fill, said, seen

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def archive(make_archive):
    """A film (red, then blue, with words), a red and a green picture."""
    archive = make_archive()
    models = Models.of("toy")
    fill(
        archive,
        {
            "a1": ("films/show.mp4", Media.VIDEO, [
                seen(models, "a1", 0, 10, RED), seen(models, "a1", 10, 20, BLUE),
                said(models, "a1", 2, 4, "the lighthouse keeper counts ships"),
                said(models, "a1", 12, 15, "glaciers lose nine metres"),
                said(models, "a1", 0, 20, "a film about ships", Modality.TEXT),
            ]),
            "b2": ("red.png", Media.IMAGE, [seen(models, "b2", 0, 0, RED)]),
            "c3": ("green.png", Media.IMAGE, [seen(models, "c3", 0, 0, GREEN)]),
        },
    )  # fmt: skip
    build(archive)
    return archive


def test_words_find_the_moment_and_say_why(archive):
    (hit, *_) = index.open(archive.root).search("blue", k=5)
    assert (hit.uri, hit.start_seconds, hit.stop_seconds, hit.modality) == ("films/show.mp4", 10, 20, "visual")
    assert hit.why == "looks like blue 100%"
    assert hit.rank == 1
    assert 0.5 < hit.score <= 1


def test_what_was_said_is_found_where_it_was_said(archive):
    hit = index.open(archive.root).search("glaciers lose metres", k=1, modality="speech")[0]
    assert (hit.start_seconds, hit.stop_seconds, hit.text) == (12, 15, "glaciers lose nine metres")
    assert hit.why == 'says "glaciers lose nine metres"'


def test_a_moment_is_one_hit_whatever_speaks_for_it(archive):
    hits = index.open(archive.root).search("red: the lighthouse keeper counts ships", k=10)
    films = [hit for hit in hits if hit.uri == "films/show.mp4" and hit.start_seconds < 10 and hit.modality != "text"]
    assert len(films) == 1
    assert "looks like red" in films[0].why
    assert "says" in films[0].why


@pytest.mark.parametrize(
    ("media", "uris"), [("image", {"red.png", "green.png"}), ("video", {"films/show.mp4"}), ("audio", set())]
)
def test_media_narrows_inside_the_search(archive, media, uris):
    assert {hit.uri for hit in index.open(archive.root).search("red", media=media)} == uris


def test_a_search_may_be_kept_to_one_asset_and_to_a_time(archive):
    searcher = index.open(archive.root)
    assert {hit.uri for hit in searcher.search("red", asset="red.png")} == {"red.png"}
    assert {hit.uri for hit in searcher.search("red", asset="/media/films/show.mp4")} == {"films/show.mp4"}
    blue = searcher.search("blue", between=(0, 10), modality="visual")
    assert [(hit.uri, hit.start_seconds) for hit in blue] == [("films/show.mp4", 0)]
    late = searcher.search("red", asset="films/show.mp4", between=(9.5, 11), modality="visual")
    assert {hit.start_seconds for hit in late} == {0, 10}
    assert len(searcher.search("red", asset="red.png", between=(0, 10))) == 0
    assert len(searcher.search("red", asset="red.png", media="video")) == 0


def test_a_picture_finds_what_looks_like_it(archive, tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 48), GREEN).save(tmp_path / "asked.png")
    assert index.open(archive.root).search(image=tmp_path / "asked.png", k=1)[0].uri == "green.png"


def test_more_like_this_leaves_the_asset_itself_out(archive):
    searcher = index.open(archive.root)
    assert searcher.recommend("films/show.mp4", at_seconds=3, k=1)[0].uri == "red.png"
    assert "b2" not in {hit.asset_id for hit in searcher.recommend("red.png", k=10)}
    assert searcher.recommend("/media/red.png", k=1)[0].uri == "films/show.mp4"


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda s: s.search(""), "no content"),
        (lambda s: s.search("  "), "no content"),
        (lambda s: s.search("red", modality="smell"), "smell"),
        (lambda s: s.search("red", media="scroll"), "scroll"),
        (lambda s: s.search("red", k=0), "at least 1"),
        (lambda s: s.search(audio=np.zeros(16000, np.float32)), "no sound"),
        (lambda s: s.search(audio=np.zeros((2, 16000), np.float32)), "mono"),
        (lambda s: s.search(image="nowhere.png"), "nowhere.png"),
        (lambda s: s.search("red", asset="nowhere.mp4"), "nowhere.mp4"),
        (lambda s: s.search("red", between=(5, 5)), "later stop"),
        (lambda s: s.search("red", between=(-1, 5)), "0 or more"),
        (lambda s: s.search("red", between=(float("nan"), 5)), "0 or more"),
        (lambda s: s.recommend("nowhere.mp4"), "nowhere.mp4"),
        (lambda s: s.recommend("films/show.mp4", at_seconds=99), "99 seconds"),
    ],
)
def test_a_question_that_cannot_be_is_told_in_a_sentence_that_survives_pickling(archive, ask, told):
    with pytest.raises(QueryError, match=told) as caught:
        ask(index.open(archive.root))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_hits_turn_into_tables_and_json(archive):
    hits = index.open(archive.root).search("red", k=3)
    assert hits.to_arrow().num_rows == len(hits) == len(list(hits))
    assert list(hits.to_pandas().columns) == list(hits[0].as_dict())
    assert list(hits[0].as_dict()) == [
        "rank", "score", "why", "uri", "asset_id", "moment_id", "modality", "start_seconds", "stop_seconds", "text",
        "language", "labels", "thumb", "space", "track",
    ]  # fmt: skip
    assert "films/show.mp4" in str(hits)
    json.dumps(hits[0].as_dict())


def test_a_hit_leads_to_its_small_picture(archive):
    searcher = index.open(archive.root)
    hit = searcher.search("green", k=1)[0]
    assert searcher.thumbnail(hit.thumb) == b"webp-" + bytes(GREEN)


def test_an_open_searcher_follows_new_generations(archive):
    searcher = index.open(archive.root)
    before = searcher.search("white", k=1).generation
    models = Models.of("toy")
    fill(archive, {"d4": ("white.png", Media.IMAGE, [seen(models, "d4", 0, 0, (255, 255, 255))])})
    assert not is_current(archive)
    build(archive)
    assert is_current(archive)
    hits = searcher.search("white", k=1)
    assert hits[0].uri == "white.png"
    assert hits.generation > before


def test_contract_8_corruption_at_rest_is_found_before_use(archive):
    """Contract 8: flip one byte of each file in turn; opening says which."""
    folder = current(archive.index)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(IntegrityError, match=path.name.replace("+", ".") if path.name != "manifest.json" else "."):
            index.open(archive.root)
        path.unlink()
        with pytest.raises(IntegrityError):
            index.open(archive.root)
        path.write_bytes(whole)
    index.open(archive.root)


def test_contract_1_a_generation_that_was_not_finished_is_not_visible(archive, monkeypatch):
    from index import build as module

    before = current(archive.index)
    monkeypatch.setattr(module, "publish", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space"):
        build(archive)
    assert current(archive.index) == before
    index.open(archive.root)


def test_contract_5_a_search_during_publications_sees_the_old_or_the_new(archive):
    import threading

    searcher = index.open(archive.root)
    errors: list[BaseException] = []
    seen_generations: list[str] = []
    done = threading.Event()

    def ask():
        while not done.is_set():
            try:
                hits = searcher.search("blue", k=3)
            except BaseException as exc:
                errors.append(exc)
                return
            seen_generations.append(hits.generation)
            assert hits[0].uri == "films/show.mp4"

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(25):
        build(archive)
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(set(seen_generations)) > 3


def test_an_archive_without_an_index_says_what_to_run(make_archive):
    archive = make_archive()
    with pytest.raises(ArchiveError, match="rushes ingest"):
        index.open(archive.root)


def test_contract_6_vectors_of_another_model_are_never_compared_and_that_is_said(archive, monkeypatch):
    import dataclasses

    from tests import toys

    assert index.open(archive.root).out_of_reach() == ()
    monkeypatch.setattr(toys.Colours, "spec", dataclasses.replace(toys.Colours.spec, space="colours-toy-6"))
    searcher = index.open(archive.root)
    assert set(searcher.out_of_reach()) == {"visual"}
    assert {hit.modality for hit in searcher.search("blue", k=10)} <= {"speech", "text"}
    with pytest.raises(QueryError, match="rushes ingest"):
        searcher.search("blue", modality="visual")


def test_contract_5_a_generation_stays_while_it_is_asked(archive, monkeypatch):
    from index.vector_index import VectorIndex

    real = VectorIndex.load
    searcher = index.open(archive.root)

    def slow(path):  # while the first index is loaded, four generations come
        monkeypatch.setattr(VectorIndex, "load", real)
        for _ in range(4):
            build(archive)
        return real(path)

    monkeypatch.setattr(VectorIndex, "load", staticmethod(slow))
    hits = searcher.search("blue", k=1)
    assert (hits[0].uri, hits.generation) == ("films/show.mp4", "gen-000001")
    assert searcher.search("blue", k=1).generation == "gen-000005"


def test_contract_5_a_generation_that_is_removed_while_it_is_asked_is_passed_over(archive, monkeypatch):
    from index.vector_index import VectorIndex

    real = VectorIndex.load
    searcher = index.open(archive.root)
    published = []

    def slow(path):  # while the first index is loaded, something is forgotten: a generation comes, and the others go
        monkeypatch.setattr(VectorIndex, "load", real)
        published.append(build(archive))
        discard(all_but_current(archive.index))
        return real(path)

    monkeypatch.setattr(VectorIndex, "load", staticmethod(slow))
    hits = searcher.search("blue", k=1)
    assert hits[0].uri == "films/show.mp4"
    assert hits.generation == published[-1]
