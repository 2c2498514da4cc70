"""Recall is measured against an exact search, as users will ask: exact search is the oracle here too."""

import json

import numpy as np
import pytest

from index import build as building
from index import recall, vector_index
from index.build import build, check, stage
from index.generation import current, read_manifest
from index.plan import Exact, Graph
from index.recall import Oracle, evenly, measure, words_of
from index.vector_index import VectorIndex
from pipeline.errors import ArchiveError
from pipeline.media import Media
from pipeline.recipe import Models
from pipeline.store.tables import Tables
from tests.index.archives import fill, said, seen
from tests.index.test_build import rewrite
from tests.toys import COLOURS


def unit(rng, n, dim):
    vectors = rng.standard_normal((n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def archive(make_archive):
    archive = make_archive()
    models = Models.of("toy")
    assets = {}
    for n, colour in enumerate(COLOURS.values()):
        moments = [
            seen(models, f"a{n}", 0, 10, colour),
            said(models, f"a{n}", 2, 4, f"sentence number {n} of the film"),
        ]
        assets[f"a{n}"] = (f"film-{n}.mp4", Media.VIDEO, moments)
    fill(archive, assets)
    return archive


def test_an_exact_index_finds_all_there_is(rng):
    vectors, assets = unit(rng, 500, 32), rng.integers(0, 50, 500)
    oracle = Oracle(vectors.astype(np.float16), assets)
    index = VectorIndex.build(Exact(), vectors)
    for sample in (oracle.stored(), oracle.sample("words", unit(rng, 100, 32))):
        assert oracle.recall(index, sample).share == 1.0


def test_an_index_that_finds_something_else_is_found_out(rng):
    vectors, other = unit(rng, 500, 32), unit(rng, 500, 32)
    oracle = Oracle(vectors, np.arange(500))
    assert oracle.recall(VectorIndex.build(Exact(), other), oracle.stored()).share < 0.1
    half = other.copy()
    half[:250] = vectors[:250]
    share = oracle.recall(VectorIndex.build(Exact(), half), oracle.sample("words", unit(rng, 200, 32))).share
    assert 0.2 < share < 0.8


def test_the_truth_is_that_of_a_full_sort_whatever_the_blocks(rng, monkeypatch):
    monkeypatch.setattr(recall, "ROWS_AT_ONCE", 7)
    vectors, assets, queries = unit(rng, 100, 16), rng.integers(0, 30, 100), unit(rng, 20, 16)
    own = np.concatenate([np.full(10, -1), assets[:10]])
    sample = Oracle(vectors, assets).sample("words", queries, own)
    products = np.where(own[:, None] == assets[None], -np.inf, queries @ vectors.T)
    assert np.allclose(sample.least, -np.sort(-products, axis=1)[:, 9])
    assert (sample.n_best == 10).all()


def test_equal_vectors_count_alike(rng):
    """The same footage many times: whichever of its copies are found, they are right."""
    vectors = np.repeat(unit(rng, 20, 16), 15, axis=0)
    oracle = Oracle(vectors, np.arange(300))
    backwards = VectorIndex.build(Exact(), vectors[::-1])  # row n is row 299 - n: the copies, in another order
    swapped = Oracle(vectors[::-1], np.arange(300))
    assert swapped.recall(backwards, swapped.stored()).share == 1.0
    assert oracle.recall(VectorIndex.build(Exact(), vectors), oracle.stored()).share == 1.0


def test_a_query_that_has_nothing_to_find_does_not_count(rng):
    vectors = unit(rng, 5, 8)
    alone = Oracle(vectors, np.zeros(5, int))
    assert len(alone.stored().queries) == 0
    assert measure(VectorIndex.build(Exact(), vectors), alone, [alone.stored()]) == ({}, ())
    pair = Oracle(vectors, np.array([0, 0, 0, 0, 1]))
    assert sorted(pair.stored().n_best) == [1, 1, 1, 1, 4]
    assert pair.recall(VectorIndex.build(Exact(), vectors), pair.stored()).share == 1.0


def test_a_graph_is_made_broader_until_its_worst_kind_of_query_finds_enough(rng, monkeypatch):
    monkeypatch.setattr(vector_index, "EXACT_BELOW", 0)
    monkeypatch.setattr(recall, "BREADTHS", (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024))
    vectors = unit(rng, 4000, 64)
    oracle = Oracle(vectors, np.arange(4000))
    shift = unit(rng, 1, 64)
    far = unit(rng, 100, 64) + shift
    samples = [oracle.stored(), oracle.sample("words", far / np.linalg.norm(far, axis=1, keepdims=True))]
    index = VectorIndex.build(Graph(n_links=8), vectors)
    recalls, tried = measure(index, oracle, samples)
    assert len(tried) > 2
    assert [each.breadth for each in tried] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024][: len(tried)]
    assert all(each.share < recall.FLOOR for each in tried[:-1])
    assert tried[-1].share == min(r.share for r in recalls.values()) >= recall.FLOOR
    assert index.breadth == tried[-1].breadth


def test_the_breadth_that_was_found_is_stored_with_the_index(rng, tmp_path):
    index = VectorIndex.build(Graph(), unit(rng, 100, 8))
    index.breadth = 77
    index.save(tmp_path / "x.faiss")
    assert VectorIndex.load(tmp_path / "x.faiss").breadth == 77
    assert VectorIndex.build(Exact(), unit(rng, 10, 8)).breadth is None


def test_rows_are_drawn_evenly_over_assets():
    groups = np.repeat([1, 2, 3], [1000, 10, 1])
    drawn = evenly(groups, 9)
    assert sorted(groups[drawn]) == [1, 1, 1, 1, 2, 2, 2, 2, 3]
    assert len(set(evenly(groups, 5000))) == 1011
    assert len(evenly(np.array([], int), 5)) == 0


def test_every_list_is_measured_for_every_kind_of_query(archive):
    build(archive)
    lists = {entry.modality: entry for entry in read_manifest(current(archive.index)).lists}
    assert set(lists) == {"visual", "speech"}
    for entry in lists.values():
        assert set(entry.recalls) == {"words", "media"}
        assert all(r.share == 1.0 and r.n_queries > 0 for r in entry.recalls.values())
    assert lists["visual"].recalls["media"].n_queries == len(COLOURS)


def test_words_of_the_archive_are_asked_too(archive):
    words = words_of(Tables(archive.tables).moments())
    assert {"red", "blue", "sentence number 1 of the film"} <= set(words)
    assert len(words) == len(set(words))


def test_a_generation_below_the_floor_is_not_published(archive):
    staged = stage(archive)
    rewrite(staged, lambda manifest: manifest["lists"][0]["recalls"]["words"].update(share=0.94))
    with pytest.raises(ArchiveError, match=r"speech list of gen-000001 finds 0\.940 .* words, less than 0\.95"):
        check(staged)


def test_a_list_whose_graph_finds_too_little_is_searched_exactly(archive, monkeypatch):
    class Hasty(Graph):
        pass

    monkeypatch.setattr(vector_index, "EXACT_BELOW", 0)
    monkeypatch.setattr(building, "choose", lambda n: Hasty(n_links=2, breadth_build=1))
    monkeypatch.setattr(recall, "BREADTHS", (1,))
    build(archive)
    lists = {entry.modality: entry for entry in read_manifest(current(archive.index)).lists}
    assert {entry.plan for entry in lists.values()} == {"exact"}
    assert all(entry.tried[-1].share < recall.FLOOR for entry in lists.values())
    assert all(r.share == 1.0 for entry in lists.values() for r in entry.recalls.values())


def test_a_generation_of_before_recall_was_measured_can_still_be_read(archive):
    build(archive)
    folder = current(archive.index)
    written = json.loads((folder / "manifest.json").read_text("utf8"))
    for entry in written["lists"]:
        del entry["recalls"], entry["tried"]
    (folder / "manifest.json").write_text(json.dumps(written), "utf8")
    manifest = read_manifest(folder)
    assert all(entry.recalls == {} and entry.tried == () for entry in manifest.lists)
