"""A whole film's plan: what `rushes probe FILE --plan` prints. A pure function of the film's groups."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.groups import Group
from pipeline.decode.pieces import Pieces
from pipeline.decode.sampling import Choice, Planner
from pipeline.media import Mode, Sampling


@dataclass(frozen=True)
class Range:
    """A group of pictures that something is decoded of."""

    start_seconds: float
    stop_seconds: float
    n_decoded: int
    """Packets, from the key frame on; of these the decoder may leave out frames that no other needs."""
    n_packets: int


@dataclass(frozen=True)
class Plan:
    """Which frames of a film are to be kept, and what that costs.

    Cuts that only show when frames are compared add to it: a frame for a shot that would have none, and a short group
    that a shot seems to have begun in.
    """

    mode: Mode
    reason: str
    """Why this mode."""
    at_seconds: NDArray[np.float64]
    """float64 [K]: the frame on display at each of these times is kept."""
    ranges: tuple[Range, ...]
    starts: tuple[float, ...]
    """Where the pieces begin that several workers can share; fewer than two: it is not divided."""
    n_packets: int
    n_bytes: int
    n_bytes_decoded: int

    @property
    def n_decoded(self) -> int:
        """Return how many packets go to the decoder."""
        return sum(each.n_decoded for each in self.ranges)

    @property
    def share_decoded(self) -> float:
        """Return how many of the packets go to the decoder, in [0, 1]."""
        return self.n_decoded / max(1, self.n_packets)


def plan_film(groups: Iterable[Group], choice: Choice, starts: tuple[float, ...], sampling: Sampling) -> Plan:
    """Plan a film from its groups, in order, as it is decoded.

    Args:
        groups: of all its packets.
        choice: the mode.
        starts: where its pieces begin.
        sampling: what that mode asks.
    """
    pieces, planner = Pieces(starts), Planner(choice.mode, sampling)
    ranges: list[Range] = []
    targets: list[float] = []
    n_packets = n_bytes = n_bytes_decoded = 0
    for group in groups:
        key = float(group.at_seconds[0])
        if group.keyed and pieces.ends_at(key):
            if choice.mode == Mode.EXACT and group.n_leading:
                tail = planner.plan(group.leading)
                targets += tail.targets
            pieces.current += 1
            planner = Planner(choice.mode, sampling)
        plan = planner.plan(replace(group, closes=group.closes or pieces.ends_at(group.stop_seconds)))
        targets += plan.targets
        n_packets, n_bytes = n_packets + len(group.sizes), n_bytes + int(group.sizes.sum())
        n_bytes_decoded += int(group.sizes[: plan.n_decoded].sum())
        if plan.n_decoded:
            ranges.append(Range(key, group.stop_seconds, plan.n_decoded, len(group.sizes)))
    at_seconds = np.array(targets, np.float64)
    return Plan(choice.mode, choice.reason, at_seconds, tuple(ranges), starts, n_packets, n_bytes, n_bytes_decoded)
