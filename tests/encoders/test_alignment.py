"""Tokens get the frames that they look at."""

import numpy as np

from encoders.alignment import token_starts


def plain_starts(attention):
    """Return the same by the recurrence as it is written down, cell by cell."""
    n_tokens, n_frames = attention.shape
    cost = np.full((n_tokens + 1, n_frames + 1), np.inf, np.float32)
    step = np.zeros((n_tokens, n_frames), int)
    cost[0, 0] = 0
    for t in range(n_tokens):
        for f in range(n_frames):
            both, token, frame = cost[t, f], cost[t, f + 1], cost[t + 1, f]
            step[t, f] = 0 if both < token and both < frame else 1 if token < both and token < frame else 2
            cost[t + 1, f + 1] = min(both, token, frame) - attention[t, f]
    starts = {}
    t, f = n_tokens - 1, n_frames - 1
    while t >= 0 and f >= 0:
        starts[t] = f
        t, f = t - (step[t, f] != 2), f - (step[t, f] != 1)
    return [starts[t] for t in range(n_tokens)]


def test_tokens_begin_where_they_look():
    attention = np.full((1, 3, 12), -1.0, np.float32)
    for token, frames in enumerate([range(3), range(3, 9), range(9, 12)]):
        attention[0, token, frames] = 1.0

    assert token_starts(attention, [3], [12]) == [[0, 3, 9]]


def test_a_batch_gives_what_each_window_gives_alone():
    attention = np.random.default_rng(0).normal(size=(4, 9, 30)).astype(np.float32)
    n_tokens, n_frames = [9, 5, 1, 7], [30, 21, 4, 7]

    assert token_starts(attention, n_tokens, n_frames) == [
        plain_starts(window[:n, :f]) for window, n, f in zip(attention, n_tokens, n_frames, strict=True)
    ]


def test_a_window_may_have_no_tokens():
    assert token_starts(np.zeros((1, 2, 5), np.float32), [0], [5]) == [[]]
