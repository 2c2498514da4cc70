"""Which packets of a film are decoded and which frames kept where shots are looked for: from made-up groups."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.decode.sampling import SETTLED_SECONDS
from pipeline.decode.sizes import likeliest_cut, spikes_of
from pipeline.media import Mode
from tests.pipeline.decode.made_up import KEY, RATE, decoded, evenly, frames, group, planned, targets_of


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
