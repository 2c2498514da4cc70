import numpy as np
import pytest

from encoders.fusion import unit
from encoders.vocabulary import MOST, THRESHOLD, everyday, labels_of, scores

DIM = 64
NAMES = tuple(f"label {n}" for n in range(20))


def drawn(n: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


LABELS, PHRASES = drawn(20, 1), drawn(len(everyday()), 2)


def test_a_label_that_fits_is_found_and_few_others_are():
    fits = np.random.default_rng(3).integers(0, 20, 500)
    pictures = np.stack([unit(LABELS[n] + 0.8 * noise) for n, noise in zip(fits, drawn(500, 4), strict=True)])
    found = [[label.name for label in each] for each in labels_of(pictures, NAMES, LABELS, PHRASES)]
    assert np.mean([NAMES[n] in each for n, each in zip(fits, found, strict=True)]) > 0.95
    assert np.mean([len(set(each) - {NAMES[n]}) for n, each in zip(fits, found, strict=True)]) < 0.1


def test_pictures_that_no_label_fits_get_as_many_as_the_score_says():
    sure = scores(drawn(4000, 5), LABELS, PHRASES)
    assert sure.min() >= 0
    assert sure.max() <= 1
    for score in (0.5, 0.8, 0.95):
        by_chance = (1 - score) / score
        assert (sure >= score).sum(axis=1).mean() <= 1.3 * by_chance


def test_a_space_where_all_products_are_high_makes_no_difference():
    """CLIP's pictures and words lie in two narrow cones: what counts is how much closer a label is than others."""
    cone = 3 * drawn(1, 6)[0]
    picture = unit(cone + unit(LABELS[7] + drawn(1, 7)[0]))
    narrow = [np.stack([unit(row - 0.3 * cone) for row in rows]) for rows in (LABELS, PHRASES)]
    (found,) = labels_of(picture[None], NAMES, *narrow)
    assert [label.name for label in found] == ["label 7"]


def test_more_labels_need_to_be_surer():
    picture = unit(LABELS[0] + drawn(1, 8)[0])[None]
    few, many = scores(picture, LABELS[:2], PHRASES)[0, 0], scores(picture, LABELS, PHRASES)[0, 0]
    assert few > many


def test_no_more_than_a_few_labels_the_best_first():
    same = np.repeat(LABELS[:1], 20, axis=0)
    (found,) = labels_of(LABELS[:1], NAMES, same, PHRASES)
    assert len(found) == MOST
    assert all(THRESHOLD <= label.score <= 1 for label in found)
    assert labels_of(np.empty((0, DIM), np.float32), NAMES, LABELS, PHRASES) == []


def test_too_few_phrases_have_no_tail():
    with pytest.raises(ValueError, match="at least 20 phrases, got 5"):
        scores(LABELS, LABELS, PHRASES[:5])
