"""Which frames are kept and where shots end: from times alone."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pipeline.decode.sampling import SETTLED_SECONDS, Sampler, divide, shots_of
from pipeline.decode.shape import displayed_size, target_size
from pipeline.decode.skimming import Skimmer
from pipeline.media import Sampling, Shot


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
        sampler = Sampler(Sampling(longest_shot_seconds=7))
        sampler.wants(0.0, 0.0)
        bounds = [0.0]
        for now in np.arange(0, stop, 0.1):
            bounds += sampler.grown(now)[1:]
        bounds += sampler.end(stop)[1:]
        assert bounds == pytest.approx(divide(0, stop, 7))


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


def test_the_frame_on_display_is_kept_when_it_is_due():
    sampler = Sampler(Sampling(interval_seconds=1.0))
    times = np.arange(0, 4, 0.04)
    kept = [a for a, b in pairwise(times) if sampler.wants(a, b)]
    np.testing.assert_allclose(kept, SETTLED_SECONDS + np.arange(4), atol=0.0401)
    slow = Sampler(Sampling(interval_seconds=1.0))
    assert [slow.wants(a, a + 5.0) for a in (0.0, 5.0, 10.0)] == [True, True, True]


def test_a_cut_starts_the_count_again_and_one_that_comes_too_soon_is_none():
    sampler = Sampler(replace(Sampling(), interval_seconds=1.0))
    sampler.wants(0.0, 0.04)
    assert sampler.cut(0.4, 0.6) == []
    assert sampler.cut(2.0, 2.2) == [0.0, 2.0]
    assert not sampler.wants(2.2, 2.24)
    assert sampler.wants(2.28, 2.32)
    assert sampler.cut(2.4, 2.6) == []


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


def skimmed(packets: list[tuple[float, int]]) -> list[float]:
    """Return the times of the packets that may be left out."""
    skimmer: Skimmer[float] = Skimmer()
    out = [pair for at, size in packets for pair in skimmer.push(at, size, at)]
    out += list(skimmer.finish())
    assert [at for at, _ in out] == [at for at, _ in packets]
    return [at for at, may_skim in out if may_skim]


def test_frames_that_stay_on_display_are_never_left_out():
    even = [(n / 25, 100) for n in range(100)]
    assert len(skimmed(even)) > 90
    held = [*even, (10.0, 100), (20.0, 100), *[(20.0 + n / 25, 100) for n in range(1, 50)]]
    left_out = skimmed(held)
    assert not {99 / 25, 10.0} & set(left_out)
    assert skimmed([(n / 12, 100) for n in range(100)]) == []


def test_frames_shown_just_before_a_large_packet_but_coded_after_it_are_not_left_out():
    packets = [(n / 25, 100) for n in range(50)]
    packets += [(53 / 25, 5000), (50 / 25, 90), (51 / 25, 90), (52 / 25, 90)]
    packets += [(n / 25, 100) for n in range(54, 100)]
    assert not {n / 25 for n in range(50, 54)} & set(skimmed(packets))
