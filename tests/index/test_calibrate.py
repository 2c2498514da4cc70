import numpy as np

from index.calibrate import best_of_others, excess, null_of, score, unrelated_questions
from index.generation import Null


def test_the_best_hit_of_an_unrelated_question_scores_a_half():
    scores = np.random.default_rng(0).normal(0.4, 0.05, 1000).astype(np.float32)
    null = null_of(scores)
    assert abs(null.centre - 0.4) < 0.01
    assert abs(null.spread - 0.05) < 0.01
    assert abs(score(float(np.median(excess(scores, null)))) - 0.5) < 0.02


def test_calibration_keeps_the_order_without_ties_and_scores_stay_between_0_and_1():
    products = np.linspace(-1, 1, 1000, dtype=np.float32)
    found = excess(products, Null(0.2, 0.02))
    assert (np.diff(found) > 0).all()
    assert 0 < score(float(found.min())) < score(float(found.max())) < 1


def test_a_few_questions_that_do_have_an_answer_do_not_move_the_null():
    scores = np.full(100, 0.3, np.float32)
    scores[:20] = 0.9
    assert null_of(scores).centre == np.float32(0.3)


def test_there_are_enough_unrelated_questions():
    assert len(set(unrelated_questions())) >= 100


def test_the_same_footage_twice_does_not_make_the_null_of_examples():
    rng = np.random.default_rng(0)
    once = rng.standard_normal((200, 64)).astype(np.float32)
    once /= np.linalg.norm(once, axis=1, keepdims=True)
    twice = np.concatenate([once, once])
    groups = np.arange(400)
    assert null_of(best_of_others(twice, groups)).centre < 0.5


def test_moments_of_the_same_asset_do_not_count():
    vectors = np.ones((10, 4), np.float32) / 2
    assert np.isneginf(best_of_others(vectors, np.zeros(10, int))).all()
