"""What holds of the plan of any film, in any mode: on films of random groups."""

import numpy as np
import pytest

from pipeline.decode import groups
from pipeline.decode.groups import Arrival, Group, Grouper
from pipeline.decode.sampling import Planner
from pipeline.decode.shots import SHORTEST_SECONDS
from pipeline.media import Mode, Sampling
from tests.pipeline.decode.made_up import targets_of


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
