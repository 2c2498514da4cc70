"""How a long film is divided into pieces: from the times of its key frames alone."""

from itertools import pairwise

import numpy as np
import pytest

from pipeline.decode.pieces import owners_of, pieces_of


@pytest.mark.parametrize("seconds", [0.0, 30.0, 119.0])
def test_a_short_film_is_one_piece(seconds):
    assert len(pieces_of(np.arange(0, seconds, 2.0).tolist(), seconds)) <= 1


def test_pieces_begin_at_key_frames_about_a_minute_apart():
    assert pieces_of(np.arange(0, 600, 10.0).tolist(), 600.0) == [*np.arange(0, 541, 60.0)]
    assert pieces_of([], 600.0) == []
    assert pieces_of([0.0], 600.0) == [0.0]
    assert pieces_of([0.0, 200.0, 400.0], 600.0) == [0.0, 200.0, 400.0]
    assert pieces_of([0.0, 30.0, 59.0], 600.0) == [0.0, 59.0]
    assert pieces_of([0.0, 10.0, 20.0], 600.0) == [0.0]


def test_a_piece_begins_where_a_key_frame_came_early_since_that_is_most_likely_a_cut():
    keys = [*np.arange(0, 61, 10.0), 63.0, *np.arange(73, 300, 10.0)]
    starts = pieces_of(keys, 300.0)
    assert starts[1] == 63.0
    even = [*np.arange(0, 300, 9.001)]
    assert pieces_of(even, 300.0)[1] == pytest.approx(63.007), "the nearest to a fifth, where none came early"


def test_whatever_the_key_frames_pieces_are_neither_short_nor_longer_than_they_need_to_be():
    rng = np.random.default_rng(2)
    for _ in range(300):
        keys = np.cumsum(rng.exponential(rng.choice([0.1, 2.0, 20.0, 100.0]), 400)) - rng.uniform(0, 1)
        stop = float(keys[-1] + rng.uniform(0, 200))
        starts = pieces_of(keys.tolist(), stop)
        assert starts[0] == keys[0]
        assert set(starts) <= set(keys.tolist())
        lengths = np.diff([*starts, stop])
        assert len(lengths) == 1 or (lengths >= 30).all()
        for a, b in pairwise([*starts, stop]):
            inside = keys[(keys > a) & (keys < b)]
            longest = np.diff([a, *inside, b]).max()
            assert b - a <= 130 + 2 * longest, "a key frame that it could be divided at was passed over"


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_no_worker_has_much_more_to_do_than_another(workers):
    keys = np.arange(0, 600, 0.48) + np.random.default_rng(3).uniform(0, 0.2, 1250)
    starts = pieces_of(keys.tolist(), 600.0)
    owners = owners_of(starts, 600.0, workers)
    assert set(owners) == set(range(workers))
    assert owners[0] == 0
    busy = np.bincount(owners, np.diff([*starts, 600.0]))
    assert busy.max() - busy.min() <= 80
    assert workers != 2 or busy.max() <= 1.2 * busy.min()
