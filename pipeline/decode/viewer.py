"""Groups of pictures through the decoder, as far as their plans say; what comes out is shown to the keeper."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.decode.clock import Clock
from pipeline.decode.groups import Group
from pipeline.decode.keeper import GAP_SECONDS, Keeper
from pipeline.decode.packets import Pictures
from pipeline.decode.sampling import GroupPlan
from pipeline.media import FrameChunk

_SHORT_SECONDS = 1.2
"""A group that is no longer is decoded after all if a shot seems to have begun in it, to find out where."""
_MOST_PASSED_BYTES = 24_000_000


@dataclass(frozen=True)
class _Passed:
    """A group that was not decoded to its end."""

    at_seconds: float
    packets: Sequence[Any]
    may_skim: Sequence[bool]
    n_bytes: int


class Viewer:
    """Enters a decoder here and there in a film."""

    def __init__(
        self, decoder: Pictures, keeper: Keeper, clock: Clock, tick_seconds: float, *, looks_back: bool
    ) -> None:
        """Prepare.

        Args:
            decoder: of the film's pictures.
            keeper: whom frames are shown.
            clock: of frames.
            tick_seconds: the unit of their time stamps.
            looks_back: whether a short group is decoded after all where a shot seems to have begun in it.
        """
        self.broken = 0
        """Frames that came out visibly broken."""
        self.keeper, self._decoder, self._frame_clock = keeper, decoder, clock
        self._tick, self._looks_back = tick_seconds, looks_back
        self._entered = False
        """The decoder has taken all packets since it was entered, and can take the next."""
        self._shown: float | None = None
        self._passed: list[_Passed] = []
        """Groups, not decoded to their end, since the last frame that was: single frames, or short groups."""

    @property
    def _skims(self) -> bool:
        """Tell whether frames may be left out; where that leaves large gaps, too few remain to see cuts by."""
        return self.keeper.gap_seconds <= GAP_SECONDS

    def begin(self, key_seconds: float) -> None:
        """Begin a piece of the film with the key frame at this time."""
        self._frame_clock.reach(key_seconds)
        self._shown, self._passed = None, []

    def work(self, group: Group, packets: Sequence[Any], plan: GroupPlan) -> Iterator[FrameChunk]:
        """Decode of a group what its plan says."""
        goes_on = plan.n_decoded == len(packets) > 1
        if self._entered or not group.keyed:
            self._passed = []
        if self._passed and goes_on and self._decoder.may_hold_back(len(packets)):
            # The next group needs the decoder as this one leaves it: look before it is entered.
            key = self._decoder.peek(packets[0])
            if key is not None and self.keeper.sees_change(key):
                yield from self._look_back()
            self._passed = []
        skipped = 0 if self._entered else group.n_leading  # they would need what was not decoded
        rows = [row for row in range(plan.n_decoded) if not 0 < row <= skipped]
        if rows and (yield from self._feed(packets, plan, rows, leaves=not goes_on)):
            self._decoder.flush()
            yield from self._look_back()
            yield from self._feed(packets, plan, rows, leaves=not goes_on)
        self._entered = self._entered or goes_on
        if not goes_on:
            yield from self.leave()
            self._pass_by(group, packets, plan)

    def _feed(
        self, packets: Sequence[Any], plan: GroupPlan, rows: Sequence[int], *, leaves: bool
    ) -> Generator[FrameChunk, None, bool]:
        """Decode packets and show their frames.

        Returns:
            True, with nothing shown, if the first frame says that a shot began in what was passed by before it.
        """
        aimed = False
        for frame in self._frames(packets, plan, rows, leaves=leaves):
            if self._passed and self.keeper.sees_change(frame):
                return True
            self._passed = []
            if not aimed:
                self.keeper.aim(plan.targets)
                aimed = True
            yield from self._show(frame)
        if not aimed:
            self.keeper.aim(plan.targets)
        return False

    def _frames(self, packets: Sequence[Any], plan: GroupPlan, rows: Sequence[int], *, leaves: bool) -> Iterator[Any]:
        for row in rows:
            yield from self._decoder.frames(packets[row], skim=bool(plan.may_skim[row]) and self._skims)
        if leaves:
            self._entered = False
            yield from self._decoder.drained()

    def _pass_by(self, group: Group, packets: Sequence[Any], plan: GroupPlan) -> None:
        """Note what is not decoded of a group, should it turn out that a shot began there."""
        self.keeper.reached_seconds = max(self.keeper.reached_seconds, group.stop_seconds)
        self.keeper.likely_cut = plan.likely_cut
        if plan.n_decoded:
            self._passed = []
        is_short = group.keyed and group.stop_seconds - group.at_seconds[0] <= _SHORT_SECONDS
        if not self._looks_back:
            return
        if is_short and plan.n_decoded < len(packets):
            if sum(passed.n_bytes for passed in self._passed) > _MOST_PASSED_BYTES:
                self._passed = []
            skims = plan.may_skim.tolist()
            self._passed.append(_Passed(float(group.at_seconds[0]), packets, skims, int(group.sizes.sum())))
        elif plan.n_decoded < len(packets):
            self._passed = []

    def _look_back(self) -> Iterator[FrameChunk]:
        """Find the cut between the last frame that was seen and a key frame that differs, in what was passed by."""
        passed, self._passed = self._passed, []
        if any(len(group.packets) > 1 for group in passed):
            self._frame_clock.reach(passed[0].at_seconds)
            for group in passed:
                for packet, skim in zip(group.packets, group.may_skim, strict=True):
                    for frame in self._decoder.frames(packet, skim=skim and self._skims):
                        yield from self._show(frame)
            self._entered = True
            yield from self.leave()
            return
        low, high, first = 0, len(passed), None  # every frame is a key frame: by bisection
        while low < high:
            middle = (low + high) // 2
            seen = self._decoder.peek(passed[middle].packets[0])
            if seen is not None and self.keeper.sees_change(seen):
                high, first = middle, (passed[middle].at_seconds, seen)
            else:
                low = middle + 1
        if first is not None:
            self.keeper.glimpse(*first)

    def leave(self) -> Iterator[FrameChunk]:
        """Show what the decoder holds back, and note that what comes next is decoded elsewhere, if at all."""
        if self._entered:
            self._entered = False
            for frame in self._decoder.drained():
                yield from self._show(frame)
        self.keeper.leave()

    def _show(self, frame: Any) -> Iterator[FrameChunk]:
        if frame.is_corrupt:
            self.broken += 1
            return
        stamp = frame.pts if frame.pts is not None else frame.dts
        at = self._frame_clock.seconds(None if stamp is None else stamp * self._tick)
        if at < -1e-3 or (self._shown is not None and at <= self._shown):
            return  # before the film's start, or shown already
        self._shown = at = max(at, 0.0)
        try:
            yield from self.keeper.show(at, frame)
        except MemoryError:
            raise
        except (OSError, ValueError):  # the scaler refuses what a broken stream says of its colours
            self.broken += 1
