"""The pictures of a film: packets in, whole shots of sampled, upright RGB frames out.

Packets are gathered into groups of pictures, each group is planned, and only what its plan names goes to the decoder.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import av

from pipeline.decode.clock import Clock
from pipeline.decode.groups import Arrivals, Group, Grouper
from pipeline.decode.keeper import GAP_SECONDS, Keeper
from pipeline.decode.limits import Limits
from pipeline.decode.packets import Pictures
from pipeline.decode.pieces import Pieces
from pipeline.decode.sampling import SKIMMED_SECONDS, Choice, GroupPlan, Planner
from pipeline.media import FrameChunk, Mode, Sampling

_SHORT_SECONDS = 1.2
"""A group that is no longer is decoded after all if a shot seems to have begun in it, to find out where."""
_MOST_PASSED_BYTES = 24_000_000
_COARSE = 2
"""Frames so many times larger than what is kept need no smoothing of their blocks: scaling averages what is left of
them, and a seventh of the time is saved. Errors add up along a group, but shots are looked at, not shown."""


@dataclass(frozen=True)
class _Passed:
    """A group that was not decoded to its end."""

    at_seconds: float
    packets: Sequence[Any]
    may_skim: Sequence[bool]
    n_bytes: int


@dataclass(frozen=True)
class Share:
    """Which pieces of a film one worker decodes."""

    starts: tuple[float, ...] = ()
    """Where the pieces begin, in seconds; fewer than two: the film is one piece."""
    owners: tuple[int, ...] = (0,)
    """Of each piece, the worker that decodes it."""
    worker: int = 0
    offsets: tuple[int, ...] = ()
    """For each piece, a byte from which its beginning is found; empty: it is found by its time."""

    def owns(self, piece: int) -> bool:
        """Tell whether a piece is this worker's."""
        return self.owners[piece] == self.worker


def arrivals_of(stream: Any, origin_seconds: float, wanted: Sampling, *, enters: bool) -> Arrivals:
    """Return what reads the time stamps of a stream's packets."""
    tick, longest = float(stream.time_base or 1), wanted.longest_shot_seconds
    return Arrivals(tick, _rate(stream), origin_seconds, longest, enters=enters)


def _rate(stream: Any) -> float:
    """Return how many frames a second has on average; headers lie, so the extremes are cut off."""
    return min(1000.0, max(0.01, float(stream.average_rate or stream.guessed_rate or 25)))


class VideoTrack:
    """One video stream while it is decoded."""

    def __init__(
        self,
        stream: av.VideoStream,
        wanted: Sampling,
        limits: Limits,
        origin_seconds: float,
        choice: Choice,
        share: Share = Share(),
        *,
        enters: bool = True,
    ) -> None:
        """Prepare to decode.

        Args:
            stream: of an open container; nothing of it decoded yet.
            wanted: size, and what the mode needs.
            limits: the largest frame that is decoded.
            origin_seconds: the time stamp that is the asset's time zero.
            choice: the mode.
            share: which pieces of the film are decoded.
            enters: False: decoding can begin only at the first key frame.
        """
        self._broken = 0
        """Frames that came out visibly broken."""
        self._wanted, self._choice, self.share = wanted, choice, share
        self._tick = float(stream.time_base or 1)
        self._arrivals = arrivals_of(stream, origin_seconds, wanted, enters=enters)
        self._rate = _rate(stream)
        self.keeper = Keeper(
            wanted, float(stream.sample_aspect_ratio or 1), keeps_at_cuts=wanted.mode in (Mode.AUTO, Mode.SHOTS)
        )
        self._frame_clock = Clock(origin_seconds, 1 / self._rate)
        self._grouper: Grouper[Any] = Grouper()
        self._planner = Planner(choice.mode, wanted)
        self._pieces = Pieces(share.starts)
        self._is_sought = False
        """What is read now comes just before a piece of this worker's."""
        self._entered = False
        """The decoder has taken all packets since it was entered, and can take the next."""
        self._shown: float | None = None
        self._passed: list[_Passed] = []
        """Groups, not decoded to their end, since the last frame that was: single frames, or short groups."""
        self._stop = 0.0
        context = stream.codec_context
        context.thread_count = 1  # several files at once use the cores better: 2 threads cost 8% more on two cores
        context.options = {"max_pixels": str(limits.frame_pixels)}
        if choice.mode == Mode.SHOTS and min(context.width, context.height) >= _COARSE * wanted.size_px:
            context.options |= {"skip_loop_filter": "all"}
        self._decoder = Pictures(stream, skims=context.name != "libdav1d")
        if context.name == "libdav1d":  # it hears of `skip_frame` only when it starts, so the rate must be even
            even = stream.average_rate and stream.average_rate == stream.base_rate
            skims = even and self._rate * SKIMMED_SECONDS >= 1 and choice.mode != Mode.EXACT
            context.skip_frame = "NONREF" if skims else "DEFAULT"

    @property
    def damaged(self) -> int:
        """Return how many packets could not be decoded, or came out visibly broken."""
        return self._decoder.damaged + self._broken

    @property
    def sampled(self) -> str:
        """Return how the frames were sampled, and why."""
        return f"{self._choice.mode}: {self._choice.reason}"[:200]

    @property
    def reached_seconds(self) -> float:
        """Return how far the film was seen."""
        return self.keeper.reached_seconds

    @property
    def _skims(self) -> bool:
        """Tell whether frames may be left out; where that leaves large gaps, too few remain to see cuts by."""
        return self.keeper.gap_seconds <= GAP_SECONDS

    @property
    def _owns_this(self) -> bool:
        """Tell whether the piece that is read now is this worker's."""
        return self.share.owns(self._pieces.current)

    @property
    def owns_the_end(self) -> bool:
        """Tell whether the film's last piece is this worker's, so that it should reach the end."""
        return self.share.owns(max(0, len(self.share.starts) - 1))

    @property
    def next_own(self) -> int | None:
        """Return this worker's next piece, where another's is read now; after its last one the number of all."""
        if self._is_sought or self._owns_this:
            return None
        pieces = range(self._pieces.current + 1, len(self.share.starts))
        return next((piece for piece in pieces if self.share.owns(piece)), pieces.stop)

    def sought(self, piece: int) -> None:
        """Note that what comes next was sought: the key frame that a piece begins with, or one before it."""
        self._grouper, self._pieces.current = Grouper(), piece - 1
        self._arrivals.clock.reach(self.share.starts[piece])
        self._is_sought = True

    def push(self, packet: av.Packet[Any]) -> Iterator[FrameChunk]:
        """Take one packet (an empty one ends the film) and yield what is complete."""
        due = self._grouper.push(self._arrivals.of(packet)) if packet.size else self._grouper.finish()
        for group, packets in due:
            yield from self._advance(group, packets)
            if self._owns_this:
                if self._pieces.ends_at(group.stop_seconds):
                    group = replace(group, closes=True)
                yield from self._work(group, packets, self._planner.plan(group))

    def finish(self) -> Iterator[FrameChunk]:
        """Yield what is left once all packets were pushed."""
        yield from self._leave()
        yield from self.keeper.finish(self._stop)

    def _advance(self, group: Group, packets: Sequence[Any]) -> Iterator[FrameChunk]:
        """Begin the next piece of the film if this group does."""
        key = float(group.at_seconds[0])
        if not group.keyed or not self._pieces.ends_at(key):
            return
        if self._owns_this:
            if self._choice.mode == Mode.EXACT and group.n_leading:  # they need the piece that ends here
                tail = group.leading
                yield from self._work(tail, packets[: len(tail.sizes)], self._planner.plan(tail))
            yield from self._leave()
            yield from self.keeper.finish(key)
        self._pieces.current += 1
        self._is_sought = False
        self._planner = Planner(self._choice.mode, self._wanted)
        self._frame_clock.reach(key)
        self._shown, self._passed = None, []

    def _work(self, group: Group, packets: Sequence[Any], plan: GroupPlan) -> Iterator[FrameChunk]:
        """Decode of a group what its plan says."""
        self._stop = max(self._stop, group.stop_seconds)
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
            yield from self._leave()
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
        if self._choice.mode == Mode.KEYFRAMES:
            return  # nothing else is decoded then
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
            yield from self._leave()
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

    def _leave(self) -> Iterator[FrameChunk]:
        """Show what the decoder holds back, and note that what comes next is decoded elsewhere, if at all."""
        if self._entered:
            self._entered = False
            for frame in self._decoder.drained():
                yield from self._show(frame)
        self.keeper.leave()

    def _show(self, frame: Any) -> Iterator[FrameChunk]:
        if frame.is_corrupt:
            self._broken += 1
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
            self._broken += 1
