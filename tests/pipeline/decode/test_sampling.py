"""Which packets of a film are decoded and which frames kept: from made-up groups of pictures, without media."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pipeline.decode import groups
from pipeline.decode.groups import Arrival, Group, Grouper
from pipeline.decode.sampling import ASKED, SETTLED_SECONDS, GroupPlan, Outline, Planner, choose
from pipeline.decode.shots import SHORTEST_SECONDS
from pipeline.decode.sizes import likeliest_cut, spikes_of
from pipeline.media import Mode, Sampling

RATE = 25
KEY, USUAL = 10_000, 200


def group(start: float, seconds: float, sizes: dict[float, int] | None = None, **options) -> Group:
    """Return a group of even frames in order of display.

    Args:
        start: of its key frame.
        seconds: until the next one.
        sizes: at which times after its start packets are of another size.
        options: other fields of it.
    """
    at = start + np.arange(round(seconds * RATE)) / RATE
    weigh = np.full(len(at), USUAL)
    weigh[0] = KEY
    for after, size in (sizes or {}).items():
        weigh[round(after * RATE)] = size
    return Group(at, weigh, start + seconds, **options)


def frames(*numbers: int, stop: int, **options) -> Group:
    """Return a group of frames by their numbers, in the order of decoding."""
    return Group(np.array(numbers) / RATE, np.full(len(numbers), USUAL), stop / RATE, **options)


def planned(by: Mode, found: list[Group], **sampling) -> list[GroupPlan]:
    planner = Planner(by, Sampling(**sampling))
    return [planner.plan(each) for each in found]


def targets_of(plans: list[GroupPlan]) -> list[float]:
    return [round(at, 6) for plan in plans for at in plan.targets]


def decoded(found: list[Group], plans: list[GroupPlan]) -> list[int]:
    """Return the share of each group's packets that is decoded, in packets."""
    assert all(0 <= plan.n_decoded <= len(each.sizes) for each, plan in zip(found, plans, strict=True))
    return [plan.n_decoded for plan in plans]


def evenly(count: int, seconds: float, **options) -> list[Group]:
    return [group(n * seconds, seconds, **options) for n in range(count)]


# exact


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


def test_shots_compares_every_key_frame_but_keeps_no_more_than_are_aimed_at():
    found = evenly(10, 1.0)
    plans = planned(Mode.SHOTS, found)
    assert decoded(found, plans) == [1] * 10
    assert targets_of(plans) == [0.0, 4.0, 8.0]  # not less than a third of the longest shot apart
    assert targets_of(planned(Mode.SHOTS, found, longest_shot_seconds=6.0)) == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert targets_of(planned(Mode.SHOTS, found, frames_per_shot=5)) == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert targets_of(planned(Mode.SHOTS, found, interval_seconds=5.0)) == [0.0, 5.0]


def test_shots_aims_behind_a_spike_and_decodes_until_there():
    plans = planned(Mode.SHOTS, [group(0, 10, {3.0: 5000}), group(10, 10)])
    np.testing.assert_allclose(plans[0].targets, (0.0, 3.0 + SETTLED_SECONDS))
    assert plans[0].n_decoded == round((3.0 + SETTLED_SECONDS) * RATE) + 1
    assert plans[0].likely_cut is None
    assert plans[1].targets == (10.0,)
    two = planned(Mode.SHOTS, [group(0, 10, {3.0: 5000, 3.2: 9000, 5.0: 6000})])
    np.testing.assert_allclose(two[0].targets, (0.0, 3.0 + SETTLED_SECONDS, 5.0 + SETTLED_SECONDS))


def test_shots_sees_a_spike_at_once_after_the_key_frame_but_aims_at_no_second_frame_there():
    plans = planned(Mode.SHOTS, [group(0, 10, {0.12: 6000})])
    assert plans[0].targets == (0.0,)
    assert plans[0].n_decoded == round((0.12 + SETTLED_SECONDS) * RATE) + 1, "yet the cut there is looked for"


def test_shots_leaves_the_last_cut_of_a_group_to_the_next_key_frame_if_that_will_show_it():
    first, second = group(0, 10, {8.0: 5000}), group(10, 10)
    (plan, after) = planned(Mode.SHOTS, [first, second])
    assert (plan.targets, plan.n_decoded, plan.likely_cut) == ((0.0,), 1, 8.0)
    assert after.targets == (10.0,)
    for unseen in (replace(first, closes=True), replace(first, goes_on=True)):
        (plan,) = planned(Mode.SHOTS, [unseen])
        assert plan.targets[-1] == pytest.approx(8.0 + SETTLED_SECONDS)
        assert plan.likely_cut is None
    (early,) = planned(Mode.SHOTS, [group(0, 10, {6.0: 5000})])
    assert early.targets[-1] == pytest.approx(6.0 + SETTLED_SECONDS), "more than the spacing before the next key frame"


def test_shots_takes_a_key_frame_that_came_early_for_a_cut_and_keeps_it():
    early = [group(0, 10), group(10, 10), group(20, 1.6), group(21.6, 10), group(31.6, 10)]
    plans = planned(Mode.SHOTS, early)
    assert targets_of(plans) == [0.0, 10.0, 20.0, 21.6, 31.6]
    even = [group(n * 1.6, 1.6) for n in range(5)]
    assert targets_of(planned(Mode.SHOTS, even)) == [0.0, 4.8]
    spiked = [group(0, 10), group(10, 10), group(20, 7.0, {6.0: 5000}), group(27, 10)]
    assert targets_of(planned(Mode.SHOTS, spiked)) == [0.0, 10.0, 20.0, 26.3, 27.0], "another shot, seen nowhere else"


def test_shots_guesses_where_a_cut_is_by_the_largest_surprise_that_is_no_spike():
    quiet = group(0, 10, {7.2: 700, 8.0: 2100})
    assert spikes_of(quiet) == []
    (plan,) = planned(Mode.SHOTS, [quiet])
    assert (plan.n_decoded, plan.likely_cut) == (1, 8.0)
    assert planned(Mode.SHOTS, [group(0, 10, {8.0: 900})])[0].likely_cut is None, "too small for a new picture"
    assert planned(Mode.KEYFRAMES, [quiet])[0].likely_cut == 8.0


def test_shots_that_were_asked_for_have_as_many_frames_as_they_should_where_auto_is_content_with_fewer():
    film = [group(0, 10, {4.6: 5000}), group(10, 10)]
    asked = planned(Mode.SHOTS, film, mode=Mode.SHOTS, frames_per_shot=5)
    np.testing.assert_allclose(targets_of(asked), [0, 2, 4, 4.9, 6.9, 8.9, 10.9, 12.9, 14.9, 16.9, 18.9])
    assert asked[0].likely_cut is None, "where a shot begins is seen, not guessed"
    auto = planned(Mode.SHOTS, film, frames_per_shot=5)
    np.testing.assert_allclose(targets_of(auto), [0, 4.9, 10])
    (late,) = planned(Mode.SHOTS, [group(0, 10, {8.0: 5000})], mode=Mode.SHOTS)
    assert late.targets[-1] == pytest.approx(8.0 + SETTLED_SECONDS)


def test_shots_decodes_the_parts_of_a_long_group_whole_but_the_last():
    parts = [group(0, 30, goes_on=True), group(30, 30, keyed=False, goes_on=True), group(60, 30, keyed=False)]
    plans = planned(Mode.SHOTS, parts)
    assert [plan.n_decoded for plan in plans] == [750, 750, 750]
    assert not any(plan.may_skim[0] for plan in plans[:1])


def test_shots_begins_with_a_film_that_has_no_key_frame_at_first():
    headless = [group(0, 10, keyed=False), group(10, 10)]
    for mode in (Mode.AUTO, Mode.SHOTS):
        targets = targets_of(planned(Mode.SHOTS, headless, mode=mode))
        assert targets[0] < 4.0
        assert len(targets) < 10


def test_a_spike_must_be_larger_than_all_of_the_second_before_it_and_have_a_share_of_the_key_frame():
    assert spikes_of(group(0, 10, {4.0: 3000})) == [4.0]
    assert spikes_of(group(0, 10, {4.0: 1100})) == [4.0]
    assert spikes_of(group(0, 10, {4.0: 950})) == []
    assert spikes_of(group(0, 10, {3.6: 1600, 4.0: 3100})) == [3.6]
    assert spikes_of(group(0, 10, {2.8: 1600, 4.0: 3300})) == [2.8, 4.0]
    assert spikes_of(group(0, 10, {0.0: 40_000, 4.0: 3100})) == []
    assert spikes_of(group(0, 0.8, {0.4: 9000})) == [], "the next key frame comes soon enough to tell"
    assert spikes_of(frames(7, stop=100)) == []


def test_a_spike_is_where_the_shot_began_that_is_displayed_from_frames_coded_later():
    each = frames(*range(100), 103, 100, 101, 102, *range(104, 150), stop=150)
    each.sizes[0], each.sizes[100] = KEY, 5000
    assert spikes_of(each) == [100 / RATE]
    assert likeliest_cut(each, 50) == 100 / RATE
    assert likeliest_cut(each, 120) is None
    assert likeliest_cut(each, 150) is None


# any film, cut anywhere


def random_film(rng: np.random.Generator, seconds: float) -> list[Arrival[int]]:
    """Return the packets of a film in the order of decoding: closed and open groups, pauses, frames out of order."""
    packets: list[Arrival[int]] = []
    at, usual = 0.0, float(rng.choice([0.02, 0.04, 0.1]))
    b_frames = int(rng.integers(0, 4))
    while at < seconds:
        count = int(rng.choice([1, 2, 7, 30, 100]))
        shown = at + np.cumsum([0.0, *rng.choice([usual, usual, usual, 1.7], count - 1, p=[0.4, 0.3, 0.29, 0.01])])
        at = float(shown[-1]) + usual
        is_open = bool(packets) and rng.random() < 0.5
        lead = int(rng.integers(1, 4)) if is_open and count > 4 else 0  # so many are displayed before the key frame
        order = [lead, *range(lead)]
        rest = [*range(lead + 1, count)]
        while rest:
            run, rest = rest[: b_frames + 1], rest[b_frames + 1 :]
            order += [run[-1], *run[:-1]]
        packets += [Arrival(float(shown[n]), usual, int(rng.integers(20, 9000)), i == 0, 0)
                    for i, n in enumerate(order)]  # fmt: skip
    return packets


def grouped(packets: list[Arrival[int]]) -> list[Group]:
    grouper: Grouper[int] = Grouper()
    found = [each for packet in packets for each, _ in grouper.push(packet)]
    return [*found, *(each for each, _ in grouper.finish())]


@pytest.mark.parametrize("mode", [Mode.EXACT, Mode.SNAP, Mode.KEYFRAMES, Mode.SHOTS])
@pytest.mark.parametrize("most_packets", [1500, 40])
def test_every_frame_that_is_kept_is_decoded_with_all_that_is_coded_before_it(monkeypatch, mode, most_packets):
    monkeypatch.setattr(groups, "MOST_PACKETS", most_packets)
    rng = np.random.default_rng(7)
    for _ in range(60):
        film = random_film(rng, 40.0)
        shown = np.sort([packet.at_seconds for packet in film])
        planner, kept, needed, given, rolling = Planner(mode, Sampling()), [], set(), set(), False
        for each in grouped(film):
            plan = planner.plan(each)
            skipped = 0 if rolling else each.n_leading
            known = np.sort([*given, *np.delete(each.at_seconds, slice(1, 1 + skipped))])
            given |= {float(each.at_seconds[row]) for row in range(plan.n_decoded) if not 0 < row <= skipped}
            rolling = plan.n_decoded == len(each.sizes)
            kept += plan.targets
            if not each.keyed:
                assert plan.n_decoded == len(each.sizes), "it cannot be entered again"
            for target in plan.targets:
                seen = shown if mode == Mode.EXACT else known  # others leave out what is coded after the next key frame
                needed.add(float(seen[np.searchsorted(seen, target + 1e-4, side="right") - 1]))
        assert needed <= given
        assert kept == sorted(set(kept))
        stop = max(packet.at_seconds + packet.seconds for packet in film)
        if mode == Mode.EXACT:
            np.testing.assert_allclose(kept, np.arange(np.ceil(stop - 1e-4)), err_msg="not the grid")
        elif mode == Mode.SNAP:
            grid = np.arange(np.ceil(stop - 1e-4))
            assert np.abs(np.subtract.outer(grid, kept)).min(axis=1).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("mode", [Mode.EXACT, Mode.SHOTS])
def test_shots_are_no_closer_than_the_shortest(mode):
    rng = np.random.default_rng(8)
    for _ in range(60):
        kept = targets_of([*map(Planner(mode, Sampling()).plan, grouped(random_film(rng, 40.0)))])
        assert np.diff(kept).min() >= SHORTEST_SECONDS - 1e-3


# which mode


def outline(n_keys: int, n_packets: int, seconds: float, duration: float | None = None) -> Outline:
    keys = tuple(np.linspace(0, seconds, n_keys, endpoint=False))
    return Outline(n_packets, keys, seconds, seconds if duration is None else duration)


@pytest.mark.parametrize(
    ("film", "mode", "why"),
    [
        (outline(4, 375, 15), Mode.EXACT, "short: 15.0 s"),
        (outline(8, 500, 20), Mode.EXACT, "short"),
        (outline(8, 510, 20.4), Mode.SHOTS, "key frames lie"),
        (outline(3, 300, 12, duration=0), Mode.SHOTS, "4.0 s apart"),
        (outline(15_000, 15_000, 600), Mode.EXACT, "every frame is a key frame"),
        (outline(1, 15_000, 600), Mode.EXACT, "too few to enter at: 1 in 600 s"),
        (outline(0, 15_000, 600), Mode.EXACT, "too few"),
        (outline(10, 15_000, 600), Mode.EXACT, "too few"),
        (outline(1, 300, 12, duration=600), Mode.SHOTS, "12.0 s apart"),
        (outline(60, 900, 600), Mode.EXACT, "few frames: 1.5 a second"),
        (outline(60, 15_000, 600), Mode.SHOTS, "10.0 s apart"),
        (outline(300, 15_000, 600), Mode.SHOTS, "2.0 s apart"),
    ],
)
def test_auto_chooses_by_how_the_film_is_coded_and_says_why(film, mode, why):
    choice = choose(film, Sampling())
    assert choice.mode == mode
    assert why in choice.reason


def test_a_mode_that_was_asked_for_is_taken_and_what_makes_it_slow_is_said():
    for mode in (Mode.EXACT, Mode.SNAP, Mode.KEYFRAMES, Mode.SHOTS):
        choice = choose(outline(60, 15_000, 600), Sampling(mode=mode))
        assert (choice.mode, choice.reason) == (mode, ASKED)
    one = choose(outline(1, 15_000, 600), Sampling(mode=Mode.KEYFRAMES))
    assert one.mode == Mode.KEYFRAMES
    assert "one key frame only" in one.reason
    assert choose(outline(1, 1, 600), Sampling(mode=Mode.KEYFRAMES)).reason == ASKED
