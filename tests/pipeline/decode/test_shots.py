"""How a film is divided into shots: from times alone."""

from itertools import pairwise

import numpy as np
import pytest

from pipeline.decode.shape import displayed_size, target_size
from pipeline.decode.shots import SHORTEST_SECONDS, Divider, divide, shots_of
from pipeline.media import Shot


@pytest.mark.parametrize(
    ("start", "stop", "longest", "bounds"),
    [
        (0, 4, 10, [0, 4]),
        (0, 10, 10, [0, 10]),
        (2, 14, 10, [2, 8, 14]),
        (0, 20, 10, [0, 10, 20]),
        (0, 25, 10, [0, 10, 17.5, 25]),
        (0, 100, 10, [*range(0, 101, 10)]),
    ],
)
def test_a_shot_is_divided_into_parts_that_are_short_enough(start, stop, longest, bounds):
    assert divide(start, stop, longest) == pytest.approx(bounds)


def test_dividing_on_the_way_gives_what_dividing_at_the_end_gives():
    for stop in np.linspace(1, 60, 97):
        divider = Divider(7)
        divider.begin(0.0)
        bounds = [0.0]
        for now in np.arange(0, stop, 0.1):
            bounds += divider.grown(now)[1:]
        bounds += divider.end(stop)[1:]
        assert bounds == pytest.approx(divide(0, stop, 7))


def test_a_cut_closes_the_shot_unless_it_comes_too_soon():
    divider = Divider(10)
    assert divider.cut(3.0) == []
    assert divider.grown(3.0) == []
    assert divider.end(3.0) == []
    divider.begin(0.0)
    divider.begin(1.0)
    assert divider.cut(SHORTEST_SECONDS - 0.01) == []
    assert divider.cut(2.0) == [0.0, 2.0]
    assert divider.cut(2.4) == []
    assert divider.restart(2.4) == [2.0, 2.4]
    assert divider.end(16.4) == pytest.approx([2.4, 9.4, 16.4])


def test_every_frame_belongs_to_one_shot_and_every_shot_has_a_frame():
    rng = np.random.default_rng(0)
    for _ in range(300):
        bounds = sorted({0.0, *rng.uniform(0, 10, rng.integers(1, 6))})
        if len(bounds) < 2:
            continue
        times = np.sort(rng.uniform(0, bounds[-1], rng.integers(1, 12))).tolist()
        shots = shots_of(bounds, times)
        assert [shot.first for shot in shots] == [0, *[shot.last for shot in shots[:-1]]]
        assert shots[-1].last == len(times)
        assert all(shot.last > shot.first for shot in shots)
        assert (shots[0].start_seconds, shots[-1].stop_seconds) == (bounds[0], bounds[-1])
        assert all(a.stop_seconds == b.start_seconds for a, b in pairwise(shots))
        for shot in shots[1:]:
            assert shot.start_seconds <= times[shot.first]


def test_a_part_without_a_frame_belongs_to_the_picture_that_is_still_shown():
    assert shots_of([0, 10, 20, 30], [0.0, 25.0]) == [Shot(0, 20, 0, 1), Shot(20, 30, 1, 2)]


@pytest.mark.parametrize(
    ("size", "target"),
    [((1920, 1080), (462, 260)), ((1080, 1920), (260, 462)), ((64, 48), (346, 260)), ((260, 260), (260, 260)),
     ((10_000, 10), (2080, 2)), ((1, 1), (260, 260))],
)  # fmt: skip
def test_sizes(size, target):
    assert target_size(*size, 260) == target


def test_displayed_sizes():
    assert displayed_size(720, 576, 16 / 15, 0) == (768, 576)
    assert displayed_size(720, 576, 16 / 15, 90) == (576, 768)
    assert displayed_size(720, 576, 500.0, 0) == (720, 576)
