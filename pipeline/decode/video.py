"""The pictures of a film: packets in, whole shots of sampled, upright RGB frames out.

Packets are gathered into groups of pictures, each group is planned, and only what its plan names goes to the decoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import av

from pipeline.decode.clock import Clock
from pipeline.decode.groups import Arrivals, Group, Grouper
from pipeline.decode.keeper import Keeper
from pipeline.decode.limits import Limits
from pipeline.decode.packets import Pictures
from pipeline.decode.pieces import Pieces, Share
from pipeline.decode.sampling import SKIMMED_SECONDS, Choice, Planner
from pipeline.decode.viewer import Viewer
from pipeline.media import FrameChunk, Mode, Sampling

_COARSE = 2
"""Frames so many times larger than what is kept need no smoothing of their blocks: scaling averages what is left of
them, and a seventh of the time is saved. Errors add up along a group, but shots are looked at, not shown."""


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
        share: Share,
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
        self._wanted, self._choice, self.share = wanted, choice, share
        self._arrivals = arrivals_of(stream, origin_seconds, wanted, enters=enters)
        self._rate = _rate(stream)
        self.keeper = Keeper(
            wanted, float(stream.sample_aspect_ratio or 1), keeps_at_cuts=wanted.mode in (Mode.AUTO, Mode.SHOTS)
        )
        self._grouper: Grouper[Any] = Grouper()
        self._planner = Planner(choice.mode, wanted)
        self._pieces = Pieces(share.starts)
        self._is_sought = False
        """What is read now comes just before a piece of this worker's."""
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
        clock, looks_back = Clock(origin_seconds, 1 / self._rate), choice.mode != Mode.KEYFRAMES
        self._viewer = Viewer(self._decoder, self.keeper, clock, float(stream.time_base or 1), looks_back=looks_back)

    @property
    def damaged(self) -> int:
        """Return how many packets could not be decoded, or came out visibly broken."""
        return self._decoder.damaged + self._viewer.broken

    @property
    def sampled(self) -> str:
        """Return how the frames were sampled, and why."""
        return f"{self._choice.mode}: {self._choice.reason}"[:200]

    @property
    def reached_seconds(self) -> float:
        """Return how far the film was seen."""
        return self.keeper.reached_seconds

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
                yield from self._view(group, packets)

    def finish(self) -> Iterator[FrameChunk]:
        """Yield what is left once all packets were pushed."""
        yield from self._viewer.leave()
        yield from self.keeper.finish(self._stop)

    def _advance(self, group: Group, packets: Sequence[Any]) -> Iterator[FrameChunk]:
        """Begin the next piece of the film if this group does."""
        key = float(group.at_seconds[0])
        if not group.keyed or not self._pieces.ends_at(key):
            return
        if self._owns_this:
            if self._choice.mode == Mode.EXACT and group.n_leading:  # they need the piece that ends here
                tail = group.leading
                yield from self._view(tail, packets[: len(tail.sizes)])
            yield from self._viewer.leave()
            yield from self.keeper.finish(key)
        self._pieces.current += 1
        self._is_sought = False
        self._planner = Planner(self._choice.mode, self._wanted)
        self._viewer.begin(key)

    def _view(self, group: Group, packets: Sequence[Any]) -> Iterator[FrameChunk]:
        """Decode of a group of this worker's what its plan says."""
        self._stop = max(self._stop, group.stop_seconds)
        yield from self._viewer.work(group, packets, self._planner.plan(group))
