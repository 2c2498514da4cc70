import numpy as np
import pytest

from index.plan import EXACT_BELOW, Exact, Graph, choose
from index.vector_index import VectorIndex
from pipeline.errors import IntegrityError


def unit(rng, n, dim):
    vectors = rng.standard_normal((n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_small_lists_are_searched_exactly():
    assert choose(EXACT_BELOW - 1) == Exact()
    assert choose(EXACT_BELOW) == Graph()


@pytest.mark.parametrize(("plan", "least_recall"), [(Exact(), 1.0), (Graph(), 0.95)], ids=["exact", "graph"])
def test_search_finds_true_neighbours(plan, least_recall):
    rng = np.random.default_rng(0)
    centres = unit(rng, 50, 64)
    vectors = centres[rng.integers(0, 50, 5000)] + 0.6 * unit(rng, 5000, 64)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    queries = unit(rng, 100, 64) * 0.5 + centres[rng.integers(0, 50, 100)]
    queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
    truth = np.argsort(-queries @ vectors.T, axis=1)[:, :10]
    found = VectorIndex.build(plan, vectors).search(queries, 10)
    recall = np.mean([len(set(t) & set(f)) / 10 for t, f in zip(truth, found.rows, strict=True)])
    assert recall >= least_recall
    assert np.allclose(found.scores, np.take_along_axis(queries @ vectors.T, found.rows, axis=1), atol=2e-3)


@pytest.mark.parametrize("plan", [Exact(), Graph()], ids=["exact", "graph"])
@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_only_allowed_rows_are_found(plan, share):
    rng = np.random.default_rng(1)
    vectors = unit(rng, 2000, 16)
    allowed = rng.random(2000) < share
    found = VectorIndex.build(plan, vectors).search(vectors[:5], 10, allowed)
    assert set(found.rows[found.rows >= 0]) <= set(np.flatnonzero(allowed))
    assert (found.rows >= 0).all()


def test_fewer_rows_than_wanted_leave_gaps_that_say_so():
    found = VectorIndex.build(Exact(), np.eye(3, dtype=np.float32)).search(np.eye(3, dtype=np.float32)[:1], 5)
    assert (found.rows[0, 3:] == -1).all()
    assert np.isneginf(found.scores[0, 3:]).all()


@pytest.mark.parametrize("plan", [Exact(), Graph()], ids=["exact", "graph"])
def test_saving_and_loading_changes_nothing(plan, tmp_path):
    vectors = unit(np.random.default_rng(2), 300, 8)
    index = VectorIndex.build(plan, vectors)
    index.save(tmp_path / "x.faiss")
    again = VectorIndex.load(tmp_path / "x.faiss")
    assert (again.search(vectors[:20], 5).rows == index.search(vectors[:20], 5).rows).all()
    assert len(again) == 300
    assert again.dim == 8


def test_garbage_is_no_index(tmp_path):
    (tmp_path / "x.faiss").write_bytes(b"garbage" * 100)
    with pytest.raises(IntegrityError, match=r"x\.faiss"):
        VectorIndex.load(tmp_path / "x.faiss")
