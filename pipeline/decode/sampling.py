"""Which packets of a film are decoded and which frames kept: a plan, from the packets' times and sizes alone.

Pure functions; no media here. A film is planned one group of pictures at a time: a key frame and what is coded after
it until the next. A decoder can enter only at a key frame and must then go on packet by packet, so a plan of a group
says how far to go. What is not decoded is what makes sampling fast.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.decode.groups import Group
from pipeline.decode.shots import SHORTEST_SECONDS
from pipeline.decode.sizes import before_large, likeliest_cut, spikes_of
from pipeline.media import Mode, Sampling

SETTLED_SECONDS = 0.3
"""The first frame of a shot is taken this long after its cut: past compression's worst and a fade's last trace."""
SKIMMED_SECONDS = 0.055
"""A frame that is displayed longer is decoded: below 20 frames a second, or where a picture is held."""
ROLL_ON_PACKETS = 4
"""Entering at the next key frame costs what a decoder holds back to put frames in order; a gap so small is decoded."""
SHORT_SECONDS = 20.0
"""A film that is no longer is decoded on an exact grid: there is little to save."""
_FEW_KEYS_SECONDS = 30.0
"""Key frames that lie further apart are too few to enter at."""
ASKED = "asked for"
_REMEMBERED = 16
_IRREGULAR, _CUT_SHORT = 0.2, 0.9
"""By how much lengths of groups differ where cuts decide them, and how much shorter than the longest a cut one is."""
_EPSILON = 1e-4


@dataclass(frozen=True)
class GroupPlan:
    """What is done with one group."""

    n_decoded: int
    """The first so many packets go to the decoder; 0: none."""
    targets: tuple[float, ...]
    """The frame that is on display at each of these times is kept; in seconds, rising."""
    may_skim: NDArray[np.bool_] = field(repr=False)
    """bool [N]: the frame may be left out by the decoder if no other needs it."""
    likely_cut: float | None = None
    """Where, in what is not decoded of it, a shot begins if the next key frame shows something else."""


@dataclass(frozen=True)
class Outline:
    """What is known of a film's pictures before any is decoded."""

    n_packets: int
    """All of them, by the container's index, or those at the film's beginning."""
    key_seconds: tuple[float, ...]
    """Presentation times of the key frames among them."""
    seconds: float
    """Of the film that these packets span."""
    duration_seconds: float
    """Of the whole film; 0: not known."""


@dataclass(frozen=True)
class Choice:
    """A mode, and why."""

    mode: Mode
    reason: str


def choose(outline: Outline, sampling: Sampling) -> Choice:
    """Return the mode for one film: the one that was asked for, or with `auto` the one that suits how it is coded."""
    n_keys, seconds = len(outline.key_seconds), max(outline.seconds, 1e-3)
    usual = seconds / n_keys if n_keys else float("inf")
    if sampling.mode != Mode.AUTO:
        if n_keys > 1 or sampling.mode == Mode.EXACT or outline.n_packets < 2:
            return Choice(sampling.mode, ASKED)
        return Choice(
            sampling.mode, f"{ASKED}, but there is one key frame only: all is decoded up to the last frame kept"
        )
    if 0 < outline.duration_seconds <= SHORT_SECONDS:
        return Choice(Mode.EXACT, f"the film is short: {outline.duration_seconds:.1f} s")
    if n_keys == outline.n_packets:
        return Choice(Mode.EXACT, "every frame is a key frame: only those that are kept are decoded")
    if usual > _FEW_KEYS_SECONDS or (n_keys < 2 and seconds > _FEW_KEYS_SECONDS):
        return Choice(Mode.EXACT, f"key frames are too few to enter at: {n_keys} in {seconds:.0f} s")
    if outline.n_packets / seconds < 2 / sampling.interval_seconds:
        return Choice(Mode.EXACT, f"there are few frames: {outline.n_packets / seconds:.2g} a second")
    return Choice(Mode.SHOTS, f"key frames lie {usual:.1f} s apart")


class Planner:
    """Plans the groups of one piece of a film, in order."""

    def __init__(self, mode: Mode, sampling: Sampling) -> None:
        """Begin a piece.

        Args:
            mode: not `auto`.
            sampling: what that mode asks.
        """
        self._mode, self._sampling = mode, sampling
        self._spacing = max(sampling.interval_seconds, sampling.longest_shot_seconds / sampling.frames_per_shot)
        self._kept = self._key = float("-inf")
        """The last target; the last key frame."""
        self._lengths: deque[float] = deque(maxlen=_REMEMBERED)
        """Of the last groups."""
        self._begins_at_cut = False
        self._ends_at_cut = True
        """As far as the group's length tells."""
        self._is_regular = True
        """Key frames lie evenly apart, whatever is shown."""
        self._rolling = False
        """The group before this one was decoded to its end."""
        self._planned: float | None = None
        """Up to where the groups before this one have their targets; between its parts a long group may pause."""

    def plan(self, group: Group) -> GroupPlan:
        """Return what to do with the next group."""
        spikes: list[float] = []
        likely_cut = None
        self._note_length(group)
        if self._mode == Mode.SHOTS:
            spikes = _apart(spikes_of(group))
            shown_on = not (self._ends_at_cut or group.goes_on or group.closes or self._sampling.mode == Mode.SHOTS)
            if spikes and shown_on and group.stop_seconds - spikes[-1] < self._spacing:
                likely_cut = spikes.pop()  # the shot that begins there is still shown at the next key frame
        # An edit may hide the beginning of a group; then the first frame that is displayed stands for its key frame.
        targets = sorted({max(0.0, at) for at in self._targets(group, spikes)}) if group.stop_seconds > 0 else []
        seen = [*targets, *(spike + SETTLED_SECONDS for spike in spikes)]
        if self._mode == Mode.SHOTS:  # each key frame is compared with the one before it
            seen.append(float(group.at_seconds[0]))
        n = self._n_decoded(group, seen)
        if likely_cut is None and n and self._is_regular:
            likely_cut = likeliest_cut(group, n)
        self._rolling = n == len(group.sizes)
        self._kept, self._key = max([self._kept, *targets]), float(group.at_seconds[0]) if group.keyed else self._key
        self._planned = min(group.stop_seconds, group.lead_seconds)
        only_key = self._mode == Mode.KEYFRAMES and n <= 1
        may_skim = np.zeros(len(group.sizes), np.bool_) if only_key else self._may_skim(group, targets)
        return GroupPlan(n, tuple(targets), may_skim, likely_cut)

    def _note_length(self, group: Group) -> None:
        """Judge by the group's length whether it ended at a cut: encoders that look for cuts put a key frame there."""
        self._begins_at_cut = self._ends_at_cut
        self._lengths.append(group.stop_seconds - float(group.at_seconds[0]))
        longest = max(self._lengths)
        self._is_regular = longest - min(self._lengths) <= _IRREGULAR * longest
        self._ends_at_cut = not self._is_regular and self._lengths[-1] < _CUT_SHORT * longest

    def _n_decoded(self, group: Group, seen: Sequence[float]) -> int:
        """Return how many packets to decode so that the frames on display at these times are among them."""
        needed = self._mode == Mode.EXACT and any(
            True for _ in _grid(group.lead_seconds, group.stop_seconds, self._sampling.interval_seconds)
        )
        if group.goes_on or not group.keyed or needed:
            return len(group.sizes)
        shown = np.searchsorted(group.at_seconds[group.order], np.array(seen) + _EPSILON, side="right") - 1
        if not (shown >= 0).any():
            return 0
        # The frame on display last is not always coded last: those shown before a key frame are coded after it.
        n = int(group.order[shown[shown >= 0]].max()) + 1
        return len(group.sizes) if len(group.sizes) - n <= ROLL_ON_PACKETS else n

    def _targets(self, group: Group, spikes: Sequence[float]) -> Iterator[float]:
        s, key = self._sampling, float(group.at_seconds[0])
        first = float(group.at_seconds.min()) if self._planned is None else self._planned
        start = first if self._rolling or not group.keyed else key
        match self._mode:
            case Mode.EXACT:
                yield from _grid(start, min(group.stop_seconds, group.lead_seconds), s.interval_seconds)
            case Mode.SNAP:
                follows = not group.goes_on and not group.closes  # another key frame
                before, after = (s.tolerance_seconds * is_key for is_key in (follows, group.keyed))
                points = _grid(key - after, key + after, s.interval_seconds)
                if any(self._is_closest(key, group.stop_seconds if follows else float("inf"), at) for at in points):
                    yield key
                yield from _grid(key + after if group.keyed else start, group.stop_seconds - before, s.interval_seconds)
            case Mode.KEYFRAMES:
                yield from self._with_gaps(group, s.smallest_gap_seconds, s.largest_gap_seconds)
            case _:
                yield from self._of_shots(group, spikes)

    def _is_closest(self, key: float, following: float, at_seconds: float) -> bool:
        """Tell whether this key frame is closer to a time than the one before it and the one that follows."""
        away = abs(at_seconds - key)
        return away < abs(at_seconds - self._key) and away <= abs(at_seconds - following)

    def _with_gaps(self, group: Group, smallest: float, largest: float) -> Iterator[float]:
        """Yield the key frame's time unless it follows too soon, and times between where the next is too far away."""
        at = float(group.at_seconds[0])
        if group.keyed and at - self._kept >= smallest - _EPSILON:
            yield at
        elif self._kept > float("-inf"):
            at = self._kept
        while (at := at + largest) < group.stop_seconds - _EPSILON:
            yield at

    def _of_shots(self, group: Group, spikes: Sequence[float]) -> Iterator[float]:
        """Yield the key frame's time if it may begin a shot or enough time went by, and one after each likely cut.

        Where shots were asked for, or everything is decoded anyway, also times between these, so that long shots have
        as many frames as they should; otherwise `auto` is content with their key frames.
        """
        fills = self._sampling.mode == Mode.SHOTS or group.goes_on or not group.keyed
        key, kept = float(group.at_seconds[0]), self._kept
        if group.keyed and key - kept >= (SHORTEST_SECONDS if self._begins_at_cut else self._spacing) - _EPSILON:
            yield (kept := key)
        if kept == float("-inf"):  # the film begins without a key frame
            kept = key - self._spacing
        settled = [min(spike + SETTLED_SECONDS, group.stop_seconds - _EPSILON) for spike in spikes]
        for spike, at in [*zip(spikes, settled, strict=True), (group.stop_seconds, group.stop_seconds)]:
            while fills and kept + self._spacing < spike - SHORTEST_SECONDS:
                yield (kept := kept + self._spacing)
            if spike < at < group.stop_seconds and at - kept >= SHORTEST_SECONDS:
                yield (kept := at)

    def _may_skim(self, group: Group, targets: list[float]) -> NDArray[np.bool_]:
        """Return which frames nobody would miss: shown briefly, not around a cut, and not on display at a target."""
        rising = group.at_seconds[group.order]
        shown = np.empty_like(rising)
        shown[group.order] = np.diff(np.append(rising, group.stop_seconds))
        may = shown <= SKIMMED_SECONDS
        may &= ~before_large(group)
        if self._mode == Mode.EXACT and targets:
            on_display = np.searchsorted(rising, np.array(targets) + _EPSILON, side="right") - 1
            may[group.order[on_display[on_display >= 0]]] = False
        may[0] &= not group.keyed
        return may


def _apart(rising: Sequence[float]) -> list[float]:
    """Return those of the times that do not follow the one before too soon to be another shot."""
    kept: list[float] = []
    for at in rising:
        if not kept or at - kept[-1] >= SHORTEST_SECONDS:
            kept.append(at)
    return kept


def _grid(start_seconds: float, stop_seconds: float, interval_seconds: float) -> Iterator[float]:
    """Yield the multiples of the interval in [start, stop)."""
    if start_seconds >= stop_seconds:
        return
    n = int(np.ceil((start_seconds - _EPSILON) / interval_seconds))
    while n * interval_seconds < stop_seconds - _EPSILON:
        if n >= 0:
            yield n * interval_seconds
        n += 1
