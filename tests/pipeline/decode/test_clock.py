"""Times that stay true where a stream's stamps are, and steady where they are not."""

import numpy as np
import pytest

from pipeline.decode.clock import Clock

USUAL = 0.04
WRAP = 2**33 / 90_000


def times_of(stamps: list[float | None], origin: float = 0.0, **options) -> list[float]:
    clock = Clock(origin, USUAL, **options)
    return [clock.seconds(stamp) for stamp in stamps]


def test_times_count_from_the_origin_and_what_lies_before_it_is_negative():
    assert times_of([9.5, 10.0, 10.04, 11.0], origin=10.0) == pytest.approx([-0.5, 0.0, 0.04, 1.0])


def test_a_pause_is_kept_and_a_leap_is_not():
    assert times_of([0.0, 0.04, 3500.0, 3500.04]) == pytest.approx([0.0, 0.04, 3500.0, 3500.04])
    assert times_of([0.0, 0.04, 3700.0, 3700.04]) == pytest.approx([0.0, 0.04, 0.08, 0.12])
    assert times_of([50.0, 50.04, 0.0, 0.04]) == pytest.approx([50.0, 50.04, 50.08, 50.12])
    assert times_of([90_000.0, 90_000.04, 90_001.0]) == pytest.approx([0.0, 0.04, 1.0])
    assert times_of([-90_000.0, -89_999.0]) == pytest.approx([0.0, 1.0])


def test_stamps_of_33_bits_go_on_when_they_begin_again():
    ticks = (np.arange(200) * 3600 + 2**33 - 100 * 3600) % 2**33
    assert ticks.min() == 0
    times = times_of((ticks / 90_000).tolist(), origin=float(ticks[0]) / 90_000)
    np.testing.assert_allclose(times, np.arange(200) * USUAL, atol=1e-6)


def test_frames_that_are_coded_out_of_order_keep_their_times():
    reordered = [0.0, 0.16, 0.08, 0.04, 0.12, 0.32, 0.24, 0.2, 0.28]
    assert times_of(reordered) == pytest.approx(reordered)
    slow = [0.0, 16.0, 8.0, 4.0, 12.0, 20.0]
    assert times_of(slow, slack_seconds=16.0) == pytest.approx(slow)
    assert times_of(slow)[2] == pytest.approx(16.04), "with no slack, so large a step back is a broken clock"


def test_what_has_no_stamp_follows_what_came_last():
    assert times_of([None, None, 1.0, None, 1.2, 1.1, None]) == pytest.approx([0.0, 0.04, 1.0, 1.04, 1.2, 1.1, 1.24])


def test_times_go_on_after_a_search_in_the_file():
    clock = Clock(10.0, USUAL)
    clock.reach(7200.0)
    assert clock.seconds(7210.0) == pytest.approx(7200.0)
    assert clock.seconds(7210.04) == pytest.approx(7200.04)
    backwards = Clock(0.0, USUAL)
    backwards.seconds(500.0)
    backwards.reach(60.0)
    assert backwards.seconds(60.0) == pytest.approx(60.0)


def test_no_stamps_whatever_make_the_times_leap():
    rng = np.random.default_rng(5)
    for _ in range(50):
        stamps = rng.choice([None, *rng.uniform(-1e5, 1e6, 5), *rng.uniform(0, 1, 20)], 200).tolist()
        times = np.array(times_of(stamps))
        assert np.abs(times[0]) <= 3600
        highest = np.maximum.accumulate(times)
        assert (times >= highest - 1.0 - 1e-6).all()
        assert (np.diff(highest) <= 3600 + 1e-6).all()
