"""Groups of pictures made up from their times and sizes, and what is planned of them: for tests without media."""

import numpy as np

from pipeline.decode.groups import Group
from pipeline.decode.sampling import GroupPlan, Planner
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
