"""What is kept of the frames that a decoder gives: those that were aimed at, scaled, and divided into shots."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import av

from pipeline.decode import cuts, pixels, shots
from pipeline.decode.batch import Batch
from pipeline.decode.shape import displayed_size
from pipeline.media import FrameChunk, Sampling

FLUSH_BYTES = 6_000_000
"""Frames are handed over at the next shot's end once they weigh this much, however short the time: soon, so that who
waits for them takes them while the next are decoded, and so little that the memory of the last ones is used again."""
GAP_SECONDS = 0.25
"""Frames further apart than this are not compared as neighbours."""
_EPSILON = 1e-3


class Keeper:
    """Takes frames in the order of display and yields whole shots."""

    def __init__(self, wanted: Sampling, aspect: float, *, keeps_at_cuts: bool) -> None:
        """Prepare.

        Args:
            wanted: size, longest shot, and how much is handed over at a time.
            aspect: of a pixel.
            keeps_at_cuts: also keep a frame of each shot that begins where no target lies.
        """
        self.frames = self.expected = self.missing = 0
        """Frames shown; targets; targets for which no frame came."""
        self.width = self.height = 0
        """As displayed, of the first frame; 0 before it."""
        self.reached_seconds = 0.0
        self.likely_cut: float | None = None
        """Where a shot begins, if the next frame shows something else than the last one."""
        self.gap_seconds = 0.0
        """The longest time between two frames of one run."""
        self._wanted, self._aspect, self._keeps_at_cuts = wanted, aspect, keeps_at_cuts
        self._targets: deque[float] = deque()
        self._detector, self._divider = cuts.CutDetector(), shots.Divider(wanted.longest_shot_seconds)
        self._scaler, self._eye = pixels.Scaler(wanted.size_px), pixels.Eye()
        self._last: tuple[float, av.VideoFrame] | None = None
        self._looked_at: tuple[av.VideoFrame, cuts.Signature] | None = None
        self._runs = False
        """The last frame and the next come from one run of the decoder: nothing is left out between them."""
        self._kept = Batch(FLUSH_BYTES)
        self._bounds: list[float] = []

    def aim(self, targets: Iterable[float]) -> None:
        """Add times, later than those before; the frame on display at each will be kept."""
        n_before = len(self._targets)
        self._targets += targets
        self.expected += len(self._targets) - n_before

    def sees_change(self, frame: av.VideoFrame) -> bool:
        """Tell whether a frame shows something else than the last one did."""
        return self._detector.differs(self._signature(frame))

    def glimpse(self, at: float, frame: av.VideoFrame) -> None:
        """Look at a frame for cuts only: one that was decoded out of the order of the others."""
        self._cut_at(at, frame, dense=False)

    def show(self, at: float, frame: av.VideoFrame) -> Iterator[FrameChunk]:
        """Take the next frame."""
        self.frames += 1
        before = self._last if self._runs else None
        if before:
            self._answer(at, *before)
        if not self.width:
            self.width, self.height = displayed_size(frame.width, frame.height, self._aspect, frame.rotation)
        if before:
            self.gap_seconds = max(self.gap_seconds, at - before[0])
        self._divider.begin(at)
        if self._scaler.reshaped(frame, self._aspect):
            if self._last is not None:
                self._close(self._divider.restart(at))
                yield from self._flush()
            self._scaler = pixels.Scaler(self._wanted.size_px)
            self._scaler.reshaped(frame, self._aspect)
        self._answer(at, at, frame)  # after a gap a frame answers targets that lie before it
        cut = self._cut_at(at, frame, dense=before is not None and at - before[0] <= GAP_SECONDS)
        if cut is not None and self._keeps_at_cuts and not self._is_aimed_at(cut, at):
            self._keep(at, frame)
        self._last, self._runs, self.reached_seconds = (at, frame), True, max(self.reached_seconds, at)
        heavy = self._kept.n_bytes >= FLUSH_BYTES
        if self._bounds and (heavy or self._bounds[-1] - self._bounds[0] >= self._wanted.chunk_seconds):
            yield from self._flush()

    def leave(self) -> None:
        """Note that the decoder stops here and goes on elsewhere: its last frame answers the targets that are left."""
        if self._runs and self._last is not None and self._targets:
            self._keep(*self._last)
        elif not self._runs:
            self.missing += len(self._targets)
        self._targets.clear()
        self._runs = False

    def finish(self, stop_seconds: float) -> Iterator[FrameChunk]:
        """End the film, or a piece of it, and yield what is left.

        Args:
            stop_seconds: when its last frame is no longer displayed.
        """
        if self._last is None:
            self.leave()
            return
        at, frame = self._last
        stop = max(at, stop_seconds)
        self.leave()
        cut = self._detector.finish()
        if cut is not None and stop - cut >= shots.SHORTEST_SECONDS and self._kept.reaches(cut):
            self._close(self._divider.cut(cut))
        if not self._kept.at_seconds:
            self._keep(at, frame)  # a shot that ends before its first target: better this frame than none
        self._close(self._divider.end(stop))
        self._last, self.reached_seconds = None, max(self.reached_seconds, stop)
        yield from self._flush()
        self._detector, self._divider = cuts.CutDetector(), shots.Divider(self._wanted.longest_shot_seconds)
        self._kept, self._bounds = Batch(FLUSH_BYTES), []

    def _cut_at(self, at: float, frame: av.VideoFrame, *, dense: bool) -> float | None:
        """Compare a frame with those before it, and close what is certain; return where a new shot began."""
        cut = self._detector.push(at, self._signature(frame), dense=dense)
        seen = at if self._last is None else self._last[0]
        if cut == at and not dense and self.likely_cut is not None and seen < self.likely_cut:
            cut = self.likely_cut
        self.likely_cut = None
        self._close(self._divider.grown(seen) if cut is None else self._divider.cut(cut))
        return cut

    def _signature(self, frame: av.VideoFrame) -> cuts.Signature:
        """Return a frame's signature; the same frame may be asked about twice in a row."""
        if self._looked_at is None or self._looked_at[0] is not frame:
            self._looked_at = frame, self._eye.signature(frame)
        return self._looked_at[1]

    def _is_aimed_at(self, cut: float, at: float) -> bool:
        """Tell whether the shot that began at the cut has a frame, or will soon have one."""
        soon = max(at + _EPSILON, cut + shots.SHORTEST_SECONDS)
        return self._kept.reaches(cut - _EPSILON) or (bool(self._targets) and self._targets[0] <= soon)

    def _answer(self, before_seconds: float, at: float, frame: av.VideoFrame) -> None:
        """Keep a frame for the targets that lie before a time, if any."""
        while self._targets and self._targets[0] < before_seconds - _EPSILON:
            self._keep(at, frame)
            self._targets.popleft()

    def _keep(self, at: float, frame: av.VideoFrame) -> None:
        self._kept.add(at, frame, self._scaler)

    def _close(self, bounds: list[float]) -> None:
        """Note the bounds of shots that are complete."""
        if bounds:
            self._bounds = [*self._bounds[:-1], *bounds] if self._bounds else list(bounds)

    def _flush(self) -> Iterator[FrameChunk]:
        if not self._bounds:
            return
        pixels, at_seconds = self._kept.taken(self._bounds[-1])
        if not len(pixels):
            return  # the bounds wait for a frame: a shot without one joins the next
        divided = tuple(shots.shots_of(self._bounds, at_seconds.tolist()))
        self._bounds = []
        yield FrameChunk(pixels, at_seconds, divided)
