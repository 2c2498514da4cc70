"""How a long film is divided into pieces: from the times of its key frames alone."""

from itertools import pairwise

import numpy as np
import pytest

from pipeline.decode.pieces import pieces_of


@pytest.mark.parametrize("seconds", [0.0, 30.0, 119.0])
def test_a_short_film_is_one_piece(seconds):
    assert len(pieces_of(np.arange(0, seconds, 2.0).tolist(), seconds)) <= 1


def test_pieces_begin_at_key_frames_a_minute_or_more_apart():
    assert pieces_of(np.arange(0, 600, 10.0).tolist(), 600.0) == [*np.arange(0, 541, 60.0)]
    assert pieces_of([], 600.0) == []
    assert pieces_of([0.0], 600.0) == [0.0]
    assert pieces_of([0.0, 200.0, 400.0], 600.0) == [0.0, 200.0, 400.0]
    assert pieces_of([0.0, 30.0, 59.0], 600.0) == [0.0]


def test_a_piece_begins_where_a_key_frame_came_early_since_that_is_most_likely_a_cut():
    keys = [*np.arange(0, 71, 10.0), 73.0, *np.arange(83, 300, 10.0)]
    starts = pieces_of(keys, 300.0)
    assert starts[1] == 73.0
    even = [*np.arange(0, 300, 10.001)]
    assert pieces_of(even, 300.0)[1] == pytest.approx(60.006), "the first, where none came early"


def test_whatever_the_key_frames_no_piece_but_the_last_is_shorter_than_a_minute():
    rng = np.random.default_rng(2)
    for _ in range(300):
        keys = np.cumsum(rng.exponential(rng.choice([0.1, 2.0, 20.0, 100.0]), 400)) - rng.uniform(0, 1)
        stop = float(keys[-1] + rng.uniform(0, 200))
        starts = pieces_of(keys.tolist(), stop)
        assert starts[0] == keys[0]
        assert set(starts) <= set(keys.tolist())
        lengths = np.diff([*starts, stop])
        assert (lengths[:-1] >= 60).all()
        for a, b in pairwise([*starts, stop]):
            inside = keys[(keys >= a + 90) & (keys < b)]
            assert not len(inside) or b == stop or b == inside[0]
        if stop - starts[-1] >= 120:
            assert keys[-1] < starts[-1] + 60, "it could be divided further"
