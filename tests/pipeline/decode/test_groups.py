"""Packets gathered into groups of pictures: from their times, sizes and key flags alone."""

from itertools import chain, pairwise

import numpy as np
import pytest

from pipeline.decode import groups
from pipeline.decode.groups import Arrival, Group, Grouper

STEP = 0.04


def packet(frame: int, *, key: bool = False, size: int = 100) -> Arrival[int]:
    return Arrival(frame * STEP, STEP, size, key, frame)


def grouped(arrivals: list[Arrival[int]]) -> list[tuple[Group, list[int]]]:
    """Return all groups; each is ready only when what comes after it is known."""
    grouper: Grouper[int] = Grouper()
    found = [pair for arrival in arrivals for pair in grouper.push(arrival)]
    return [*found, *grouper.finish()]


def frames_of(found: list[tuple[Group, list[int]]]) -> list[list[int]]:
    return [packets for _, packets in found]


def bounds_of(found: list[tuple[Group, list[int]]]) -> list[tuple[float, float]]:
    return [(float(group.at_seconds[0]), group.stop_seconds) for group, _ in found]


def test_a_group_reaches_from_its_key_frame_to_the_next():
    found = grouped([packet(n, key=n % 4 == 0, size=10 + n) for n in range(10)])
    assert frames_of(found) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    np.testing.assert_allclose(bounds_of(found), [(0, 0.16), (0.16, 0.32), (0.32, 0.4)])
    assert [group.closes for group, _ in found] == [False, False, True]
    assert all(group.keyed and not group.goes_on and not group.n_leading for group, _ in found)
    np.testing.assert_array_equal(found[1][0].sizes, [14, 15, 16, 17])
    assert {group.lead_seconds for group, _ in found} == {float("inf")}


def test_frames_coded_after_a_key_frame_and_shown_before_it_are_of_its_group_and_need_the_one_before():
    order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8]
    found = grouped([packet(n, key=n in (0, 6)) for n in order])
    assert frames_of(found) == [[0, 3, 1, 2], [6, 4, 5, 9, 7, 8]]
    (first, _), (second, _) = found
    assert first.stop_seconds == pytest.approx(6 * STEP)
    assert first.lead_seconds == pytest.approx(4 * STEP)
    assert (first.n_leading, second.n_leading) == (0, 2)
    assert second.lead_seconds == float("inf")
    assert second.stop_seconds == pytest.approx(10 * STEP), "frame 9 is displayed last, though coded before the others"


def test_a_film_that_ends_with_the_frames_before_its_last_key_frame_is_whole():
    found = grouped([packet(0, key=True), packet(1), packet(4, key=True), packet(2), packet(3)])
    assert frames_of(found) == [[0, 1], [4, 2, 3]]
    assert found[0][0].lead_seconds == pytest.approx(2 * STEP)
    assert found[1][0].stop_seconds == pytest.approx(5 * STEP)
    assert [group.closes for group, _ in found] == [False, True]


def test_each_frame_of_an_intra_only_film_is_a_group_that_stands_alone():
    found = grouped([packet(n, key=True) for n in range(5)])
    assert frames_of(found) == [[0], [1], [2], [3], [4]]
    np.testing.assert_allclose(bounds_of(found), [(n * STEP, (n + 1) * STEP) for n in range(5)])


def test_what_comes_before_the_first_key_frame_cannot_be_entered():
    found = grouped([packet(0), packet(1), packet(2, key=True), packet(3)])
    assert frames_of(found) == [[0, 1], [2, 3]]
    assert [group.keyed for group, _ in found] == [False, True]
    assert grouped([]) == []


def test_too_long_a_group_is_handed_on_in_parts(monkeypatch):
    monkeypatch.setattr(groups, "MOST_PACKETS", 10)
    found = grouped([packet(n, key=n in (0, 25)) for n in range(30)])
    assert frames_of(found) == [[*range(10)], [*range(10, 20)], [*range(20, 25)], [*range(25, 30)]]
    assert [group.keyed for group, _ in found] == [True, False, False, True]
    assert [group.goes_on for group, _ in found] == [True, True, False, False]
    assert all(a[1] == pytest.approx(b[0]) for a, b in pairwise(bounds_of(found)))
    assert [group.n_leading for group, _ in found] == [0, 0, 0, 0]


def test_a_group_that_weighs_too_much_is_handed_on_in_parts():
    heavy = groups.MOST_BYTES // 4 + 1
    found = grouped([packet(n, key=n == 0, size=heavy) for n in range(10)])
    assert frames_of(found) == [[*range(4)], [*range(4, 8)], [8, 9]]


def test_a_film_whose_stamps_stand_still_after_a_key_frame_is_not_held_as_a_whole(monkeypatch):
    monkeypatch.setattr(groups, "MOST_PACKETS", 10)
    stuck = [packet(0, key=True), packet(1), packet(5, key=True), *[packet(2) for _ in range(100)]]
    found = grouped(stuck)
    assert [*chain(*frames_of(found))] == [a.packet for a in stuck]
    assert max(map(len, frames_of(found))) <= 10 + 2 * 16 + 1


def test_every_packet_comes_out_once_and_in_order_with_its_own_size_and_time(monkeypatch):
    monkeypatch.setattr(groups, "MOST_PACKETS", 12)
    rng = np.random.default_rng(1)
    for _ in range(300):
        keys = rng.random(60) < rng.choice([0.02, 0.1, 0.5, 1.0])
        at = np.arange(60) * STEP + rng.choice([0, 0, -0.09, 0.11], 60)
        arrivals = [Arrival(float(t), STEP, int(rng.integers(1, 999)), bool(k), n)
                    for n, (t, k) in enumerate(zip(at, keys, strict=True))]  # fmt: skip
        found = grouped(arrivals)
        assert [*chain(*frames_of(found))] == [*range(60)]
        for group, packets in found:
            np.testing.assert_array_equal(group.at_seconds, at[packets])
            np.testing.assert_array_equal(group.sizes, [arrivals[n].size for n in packets])
            assert not keys[packets[1:]].any(), "a key frame begins a group"
            assert group.keyed == keys[packets[0]]
        for (before, _), (after, packets) in pairwise(found):
            if after.keyed and not before.goes_on:
                key = at[packets[0]]
                others = at[packets[1:]]
                leading = others[: int(np.argmax([*(others > key - 1e-6), True]))]
                assert before.stop_seconds == key
                assert before.lead_seconds == min(leading, default=float("inf"))
