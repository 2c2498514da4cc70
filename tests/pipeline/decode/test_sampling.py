"""Which packets of a film are decoded and which frames kept, on a grid and of key frames: from made-up groups."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pipeline.decode.groups import Group
from pipeline.media import Mode
from tests.pipeline.decode.made_up import RATE, USUAL, decoded, evenly, frames, group, planned, targets_of


def test_exact_keeps_the_frame_on_display_at_each_point_of_the_grid_and_decodes_no_further():
    found = evenly(3, 4.4)
    plans = planned(Mode.EXACT, found)
    assert targets_of(plans) == [*range(14)]
    assert decoded(found, plans) == [101, 91, 110]  # up to 4 s, up to 8 s, and to the end, since 13 s is so close
    plans = planned(Mode.EXACT, found, interval_seconds=0.5)
    np.testing.assert_allclose(targets_of(plans), np.arange(0, 13.2, 0.5))


def test_exact_decodes_a_group_to_its_end_where_the_next_begins_soon():
    assert [plan.n_decoded for plan in planned(Mode.EXACT, [group(0, 1.2)])] == [30]
    assert [plan.n_decoded for plan in planned(Mode.EXACT, [group(0, 1.24)])] == [26]


def test_exact_decodes_nothing_of_a_group_that_has_no_point_of_the_grid():
    found = evenly(6, 0.4)
    plans = planned(Mode.EXACT, found, interval_seconds=2.0)
    assert [bool(plan.targets) for plan in plans] == [True, False, False, False, False, True]
    assert decoded(found, plans) == [1, 0, 0, 0, 0, 1]
    intra = evenly(50, 0.04)
    plans = planned(Mode.EXACT, intra)
    assert [n for n, plan in enumerate(plans) if plan.n_decoded] == [0, 25]


def test_exact_takes_the_frame_on_display_where_times_are_uneven_or_coded_out_of_order():
    held = Group(np.array([0.0, 0.7, 3.4, 3.6, 9.0]), np.full(5, USUAL), 20.0)
    (plan,) = planned(Mode.EXACT, [held])
    assert targets_of([plan]) == [*range(20)]
    late = Group(np.array([0.0, 0.96, 0.88, 0.92, 1.08, 1.0, 1.04, 1.2, 1.12, 1.16, *np.arange(1.24, 1.9, 0.04)]),
                 np.full(27, USUAL), 1.9)  # fmt: skip
    (plan,) = planned(Mode.EXACT, [late])
    assert plan.targets == (0.0, 1.0)
    assert plan.n_decoded == 6, "the frame that refers to both sides of the one at 1 s is decoded before it"


def test_exact_decodes_a_group_whole_that_the_next_ones_leading_frames_need_where_one_of_them_is_kept():
    first = frames(0, 3, 1, 2, 6, 4, 5, *range(7, 24), stop=27, lead_seconds=24 / RATE)
    second = frames(27, 24, 25, 26, *range(28, 45), stop=45)
    plans = planned(Mode.EXACT, [first, second])
    assert [plan.targets for plan in plans] == [(0.0,), (1.0,)]
    assert decoded([first, second], plans) == [24, 3]
    early = frames(0, 3, 1, 2, 6, 4, 5, *range(7, 26), stop=27, lead_seconds=26 / RATE)
    plans = planned(Mode.EXACT, [early, frames(27, 26, *range(28, 45), stop=45)])
    assert [plan.targets for plan in plans] == [(0.0, 1.0), ()]
    plans = planned(Mode.EXACT, [replace(first, stop_seconds=1.0), frames(25, 24, *range(26, 45), stop=45)])
    assert decoded([first, second], plans)[0] == 1, "none of the leading frames is kept, so nothing needs this group"


def test_exact_never_leaves_out_a_frame_that_is_kept():
    rng = np.random.default_rng(3)
    for _ in range(100):
        at = np.cumsum(rng.choice([0.02, 0.033, 0.04], 200)) + rng.uniform(0, 5)
        each = Group(at[np.r_[0, 1 + rng.permutation(199)]], rng.integers(50, 9000, 200), float(at[-1] + 0.04))
        (plan,) = planned(Mode.EXACT, [each], interval_seconds=0.37)
        for target in plan.targets:
            shown = np.flatnonzero(each.at_seconds <= target + 1e-4)
            if len(shown):
                row = int(shown[np.argmax(each.at_seconds[shown])])
                assert row < plan.n_decoded
                assert not plan.may_skim[row]
        assert not plan.may_skim[0]


# what the decoder may leave out


def test_frames_that_stay_on_display_are_never_left_out():
    (plan,) = planned(Mode.SHOTS, [group(0, 4)])
    assert plan.may_skim.sum() == 99
    held = group(0, 4)
    held.at_seconds[50:] += 3.0
    (plan,) = planned(Mode.SHOTS, [held])
    assert not plan.may_skim[49]
    assert plan.may_skim[48]
    slow = Group(np.arange(48) / 12, np.full(48, USUAL), 4.0)
    assert not planned(Mode.SHOTS, [slow])[0].may_skim.any()
    assert not planned(Mode.SHOTS, [replace(slow, stop_seconds=60.0)])[0].may_skim.any()


def test_frames_shown_just_before_a_large_packet_but_coded_after_it_are_not_left_out():
    order = [*range(50), 53, 50, 51, 52, *range(54, 100)]
    each = frames(*order, stop=100)
    each.sizes[50] = 5000
    (plan,) = planned(Mode.SHOTS, [each])
    assert not plan.may_skim[50:54].any()
    assert plan.may_skim[54:].all()


# snap


def test_snap_takes_a_key_frame_on_either_side_of_a_point_of_the_grid_for_it():
    found = [group(0, 2.7), group(2.7, 2.6), group(5.3, 2.7), group(8.0, 1.0)]
    plans = planned(Mode.SNAP, found, tolerance_seconds=0.32)
    assert [plan.targets for plan in plans] == [(0.0, 1.0, 2.0), (2.7, 4.0), (5.3, 6.0, 7.0), (8.0,)]
    plans = planned(Mode.SNAP, found, tolerance_seconds=0.0)
    assert targets_of(plans) == [*range(9)]
    plans = planned(Mode.SNAP, found, tolerance_seconds=0.5)
    assert targets_of(plans) == [0.0, 1.0, 2.0, 2.7, 4.0, 5.3, 6.0, 7.0, 8.0]


def test_snap_decodes_nothing_but_key_frames_where_they_lie_on_the_grid():
    found = [group(n * 1.0, 1.0) for n in range(10)]
    assert decoded(found, planned(Mode.SNAP, found)) == [1] * 10
    assert decoded(found, planned(Mode.SNAP, found, tolerance_seconds=0.0)) == [1] * 10
    off = [group(0.1, 0.9), *[group(n * 1.0, 1.0) for n in range(1, 10)]]
    assert targets_of(planned(Mode.SNAP, off, tolerance_seconds=0.0))[0] == 1.0


@pytest.mark.parametrize("tolerance", [0.0, 0.1, 0.25, 0.5])
def test_snap_answers_every_point_of_the_grid_once_and_within_its_tolerance(tolerance):
    rng = np.random.default_rng(4)
    for _ in range(100):
        bounds = np.round(np.cumsum([0, *rng.uniform(0.4, 5, 20)]) * RATE) / RATE
        found = [group(a, b - a, closes=b == bounds[-1]) for a, b in pairwise(bounds)]
        targets = np.array(targets_of(planned(Mode.SNAP, found, tolerance_seconds=tolerance)))
        assert (np.diff(targets) > 0).all()
        for target in targets:
            assert target in bounds.round(6) or target == round(target), "neither a key frame nor on the grid"
            assert np.abs(target - round(target)) <= tolerance + 1e-4
        grid = np.arange(np.ceil(bounds[-1] - 1e-6))
        n_answers = [(np.abs(targets - point) <= tolerance + 1e-4).sum() for point in grid]
        assert min(n_answers) >= 1
        closest = np.array([np.abs(bounds - point).min() for point in grid])
        few = [n == 1 for n, gap in zip(n_answers, closest, strict=True) if gap > tolerance + 1e-3]
        assert all(few), "a key frame and the grid were both taken for one point"
        assert len(targets) <= len(grid) + 1


def test_snap_takes_the_closest_key_frame_alone_where_they_are_dense():
    intra = evenly(100, 0.04)
    assert targets_of(planned(Mode.SNAP, intra)) == [0.0, 1.0, 2.0, 3.0]
    dense = evenly(20, 0.48)
    np.testing.assert_allclose(
        targets_of(planned(Mode.SNAP, dense)), [0, 0.96, 1.92, 2.88, 3.84, 4.8, 5.76, 7.2, 8.16, 9.12]
    )


# what an edit hides


@pytest.mark.parametrize("mode", [Mode.KEYFRAMES, Mode.SHOTS, Mode.SNAP, Mode.EXACT])
def test_the_first_frame_on_display_stands_for_a_key_frame_before_the_start(mode):
    hidden = [group(-6.0, 4.0), group(-2.0, 4.0), group(2.0, 4.0)]
    plans = planned(mode, hidden, tolerance_seconds=0.1)
    assert plans[0].targets == ()
    assert plans[1].targets[0] == 0.0
    assert plans[1].n_decoded >= 2 * RATE + 1
    assert plans[2].n_decoded >= 1


# key frames


def test_keyframes_drops_those_that_follow_too_soon_and_fills_in_between_those_too_far_apart():
    found = [group(0, 0.24), group(0.24, 0.4), group(0.64, 0.36), group(1.0, 25), group(26, 10), group(36, 2)]
    plans = planned(Mode.KEYFRAMES, found)
    assert [plan.targets for plan in plans] == [(0.0,), (), (0.64,), (10.64, 20.64), (26.0,), (36.0,)]
    assert decoded(found, plans) == [1, 0, 1, 492, 1, 1]
    plans = planned(Mode.KEYFRAMES, found, smallest_gap_seconds=0.36, largest_gap_seconds=100.0)
    assert targets_of(plans) == [0.0, 0.64, 1.0, 26.0, 36.0]
    assert decoded(found, plans) == [1, 0, 1, 1, 1, 1]


def test_keyframes_goes_on_counting_through_the_parts_of_a_long_group():
    parts = [group(0, 30, goes_on=True), group(30, 30, keyed=False, goes_on=True), group(60, 15, keyed=False)]
    plans = planned(Mode.KEYFRAMES, [*parts, group(75, 2)])
    assert targets_of(plans) == [0, 10, 20, 30, 40, 50, 60, 70, 75]
    assert decoded([*parts, group(75, 2)], plans) == [750, 750, 375, 1]


def test_keyframes_fills_in_from_the_last_frame_kept_and_where_the_first_group_has_no_key_frame():
    found = [group(0, 3.6), group(3.6, 3.6), group(7.2, 2)]
    plans = planned(Mode.KEYFRAMES, found, smallest_gap_seconds=1.0, largest_gap_seconds=3.0)
    assert targets_of(plans) == [0.0, 3.0, 6.0, 7.2], "the key frame at 3.6 s follows too soon, 6.6 s is too late"
    headless = [group(0, 25, keyed=False), group(25, 2)]
    assert targets_of(planned(Mode.KEYFRAMES, headless)) == [10.0, 20.0, 25.0]


# shots
