"""Which packets of a film are decoded and which of its frames are kept: a plan, from the packets' times and sizes alone.

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
_WINDOW_SECONDS = 1.0
_SPIKES = ((2.0, 0.3), (4.0, 0.1))
"""A packet may begin a shot if it is so many times larger than any in the second before it, and has this share of its
group's key frame: the frame after a cut cannot be told from the one before it, so that it is coded almost anew."""
ASKED = "asked for"
_PIECE_SECONDS = 60.0
_REMEMBERED = 16
_CUT_SHORT = 0.9
"""A group that is so much shorter than most ended because the encoder saw a cut."""
_SOON_SECONDS = 0.25
"""Frames of one film that are closer than this show the same."""
_EPSILON = 1e-4


@dataclass(frozen=True)
class Group:
    """The packets from one key frame to the next, in the order of decoding."""

    at_seconds: NDArray[np.float64]
    """float64 [N], presentation times; the key frame's first."""
    sizes: NDArray[np.int64]
    """int64 [N], bytes."""
    stop_seconds: float
    """When the next group's key frame is displayed, or the film ends."""
    keyed: bool = True
    """False: this goes on with a group that was too long to be held; it cannot be entered here."""
    goes_on: bool = False
    """The next one goes on with this one."""
    leads_on: bool = False
    """Some of the next group's frames are displayed before its key frame and need this group (an open group)."""

    @property
    def n_leading(self) -> int:
        """Return how many frames of it are displayed before its key frame; they follow the key frame directly."""
        return int((self.at_seconds < self.at_seconds[0] - _EPSILON).sum()) if self.keyed else 0


@dataclass(frozen=True)
class GroupPlan:
    """What is done with one group."""

    n_decoded: int
    """The first so many packets go to the decoder; 0: none."""
    targets: tuple[float, ...]
    """The frame that is on display at each of these times is kept; in seconds, rising."""
    may_skim: NDArray[np.bool_] = field(repr=False)
    """bool [N]: the frame may be left out by the decoder if no other needs it."""


@dataclass(frozen=True)
class Outline:
    """What is known of a film's pictures before any is decoded."""

    n_packets: int
    """In the index, or looked at."""
    key_seconds: tuple[float, ...]
    """Presentation times of the key frames among them."""
    seconds: float
    """Of the film that these packets span."""
    duration_seconds: float
    """Of the whole film; 0: not known."""
    indexed: bool
    """The container has an index of all packets; otherwise this is the beginning of the film."""


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
            return Choice(Mode(sampling.mode), ASKED)
        return Choice(Mode(sampling.mode), f"{ASKED}, but there is one key frame only: all is decoded up to the last frame kept")
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
        self._kept = float("-inf")
        """The last target."""
        self._lengths: deque[float] = deque(maxlen=_REMEMBERED)
        """Of the last groups."""
        self._cut_short = True
        """The group before this one was."""
        self._rolling = False
        """The group before this one was decoded to its end."""

    def plan(self, group: Group) -> GroupPlan:
        """Return what to do with the next group."""
        spikes = spikes_of(group) if self._mode == Mode.SHOTS else np.empty(0, np.int64)
        targets = sorted({*self._targets(group, spikes)})
        seen = [*targets, *(group.at_seconds[spikes] + SETTLED_SECONDS)]
        if self._mode != Mode.KEYFRAMES and len(group.sizes) > 1:  # each key frame is compared with the one before it
            seen.append(group.at_seconds[0])
        n = self._n_decoded(group, max(seen, default=float("-inf")))
        self._rolling = n == len(group.sizes)
        self._kept = max([self._kept, *targets])
        return GroupPlan(n, tuple(targets), self._may_skim(group, targets, spikes))

    def _n_decoded(self, group: Group, until_seconds: float) -> int:
        """Return how many packets to decode so that the frame on display at a time is among them."""
        exact = self._mode in (Mode.EXACT, Mode.SNAP)
        if group.goes_on or not group.keyed or (exact and group.leads_on):
            return len(group.sizes)
        shown = np.flatnonzero(group.at_seconds <= until_seconds + _EPSILON)
        if not len(shown):
            return 0
        wanted = shown[np.argmax(group.at_seconds[shown])]
        # What is displayed before it is coded before it, but for what refers to it.
        n = int(wanted) + 1
        return len(group.sizes) if len(group.sizes) - n <= ROLL_ON_PACKETS else n

    def _targets(self, group: Group, spikes: NDArray[np.int64]) -> Iterator[float]:
        s, key = self._sampling, float(group.at_seconds[0])
        start = float(group.at_seconds.min()) if self._rolling or not group.keyed else key
        match self._mode:
            case Mode.EXACT:
                yield from _grid(start, group.stop_seconds, s.interval_seconds)
            case Mode.SNAP:
                before, after = (s.tolerance_seconds * is_key for is_key in (not group.goes_on, group.keyed))
                if any(True for _ in _grid(key - after, key + after, s.interval_seconds)):
                    yield key
                yield from _grid(key + after, group.stop_seconds - before, s.interval_seconds)
            case Mode.KEYFRAMES:
                yield from self._with_gaps(group, s.smallest_gap_seconds, s.largest_gap_seconds)
            case _:
                yield from self._of_shots(group, spikes)

    def _with_gaps(self, group: Group, smallest: float, largest: float) -> Iterator[float]:
        """Yield the key frame's time unless it follows too soon, and times between where the next is too far away."""
        at = float(group.at_seconds[0])
        if group.keyed and at - self._kept >= smallest - _EPSILON:
            yield at
        at = at if group.keyed else self._kept
        while (at := at + largest) < group.stop_seconds - _EPSILON:
            yield at

    def _of_shots(self, group: Group, spikes: NDArray[np.int64]) -> Iterator[float]:
        """Yield the key frame's time if it may begin a shot or enough time went by, and one after each likely cut."""
        key, kept = float(group.at_seconds[0]), self._kept
        if group.keyed and key - kept >= (_SOON_SECONDS if self._cut_short else self._spacing) - _EPSILON:
            yield (kept := key)
        length = group.stop_seconds - key
        self._lengths.append(length)
        self._cut_short = length < _CUT_SHORT * sorted(self._lengths)[3 * len(self._lengths) // 4]
        for spike in np.sort(group.at_seconds[spikes]).tolist():
            at = min(spike + SETTLED_SECONDS, group.stop_seconds - _SOON_SECONDS)
            if at > spike and at - kept >= _SOON_SECONDS:
                yield (kept := at)

    def _may_skim(self, group: Group, targets: list[float], spikes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which frames nobody would miss: shown briefly, not around a cut, and not on display at a target."""
        order = np.argsort(group.at_seconds, kind="stable")
        rising = group.at_seconds[order]
        shown = np.empty_like(rising)
        shown[order] = np.diff(np.append(rising, group.stop_seconds))
        may = shown <= SKIMMED_SECONDS
        may &= ~_before_large(group)
        if self._mode == Mode.EXACT and targets:
            on_display = np.searchsorted(rising, np.array(targets) + _EPSILON, side="right") - 1
            may[order[on_display[on_display >= 0]]] = False
        may[0] &= not group.keyed
        return may


def spikes_of(group: Group) -> NDArray[np.int64]:
    """Return the rows of the packets whose size says that a shot may begin there; int64 [S]."""
    sizes, at = group.sizes, group.at_seconds
    if len(sizes) < 2 or group.stop_seconds - float(at[0]) <= _WINDOW_SECONDS:
        return np.empty(0, np.int64)  # the next key frame comes soon enough to tell
    seconds = max(group.stop_seconds - float(at.min()), 1e-3)
    window = max(2, round(_WINDOW_SECONDS * len(sizes) / seconds))
    padded = np.concatenate([np.zeros(window, np.int64), sizes])
    if group.keyed:
        padded[window] = 0  # its size says nothing of those after it
    before = np.lib.stride_tricks.sliding_window_view(padded, window)[: len(sizes)].max(axis=1)
    spikes = np.zeros(len(sizes), np.bool_)
    for ratio, share in _SPIKES:
        spikes |= (sizes >= ratio * before) & (sizes >= share * sizes[0])
    spikes[0] = False
    return np.flatnonzero(spikes)


def _before_large(group: Group) -> NDArray[np.bool_]:
    """Return which packets are decoded after, but displayed before, one so large that it may begin a shot."""
    sizes = group.sizes
    usual = np.sort(sizes)[3 * len(sizes) // 4]
    large = np.where(sizes > 2 * usual, group.at_seconds, -np.inf)
    return np.asarray(group.at_seconds <= np.maximum.accumulate(large))


def _grid(start_seconds: float, stop_seconds: float, interval_seconds: float) -> Iterator[float]:
    """Yield the multiples of the interval in [start, stop)."""
    n = int(np.ceil((start_seconds - _EPSILON) / interval_seconds))
    while n * interval_seconds < stop_seconds - _EPSILON:
        if n >= 0:
            yield n * interval_seconds
        n += 1


def pieces_of(key_seconds: Sequence[float], stop_seconds: float) -> list[float]:
    """Return where the pieces of a long film begin: key frames that are a minute or more apart, at cuts if possible.

    Each piece is decoded by itself, perhaps by another worker, and its shots are its own. So it should begin where a
    shot does: of the key frames in reach, at the one that follows the one before it soonest.

    Args:
        key_seconds: rising times of all key frames.
        stop_seconds: where the film ends.
    """
    keys = np.array(key_seconds)
    starts = [float(keys[0])] if len(keys) else []
    while starts and stop_seconds - starts[-1] >= 2 * _PIECE_SECONDS:
        first, last = np.searchsorted(keys, [starts[-1] + _PIECE_SECONDS, starts[-1] + 1.5 * _PIECE_SECONDS])
        if first == len(keys):
            break
        reach = np.arange(first, max(last, first + 1))
        starts.append(float(keys[reach[np.argmin(np.round(keys[reach] - keys[reach - 1], 2))]]))
    return starts
