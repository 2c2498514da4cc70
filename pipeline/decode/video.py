"""The pictures of a film: packets in, whole shots of sampled, upright RGB frames out.

Every frame that is decoded is looked at through a few thousand samples for cut detection; only those that are kept are
scaled and converted. Frames that no other frame needs are not even decoded where enough remain.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.decode import cuts, pixels
from pipeline.decode import sampling as plan
from pipeline.decode.limits import Limits
from pipeline.decode.shape import displayed_size
from pipeline.decode.skimming import LONGEST_SECONDS, Skimmer
from pipeline.media import FrameChunk, Sampling

FLUSH_BYTES = 48_000_000
"""Frames are handed over at the next shot's end once they weigh this much, however short the time."""
_GAP_SECONDS = 0.25
"""Where frames that were left out leave larger gaps, too few remain to see cuts by: then all are decoded."""
_LEAP_SECONDS = 3600.0
"""A larger step in the time stamps is a broken clock, not a pause."""


class VideoTrack:
    """One video stream while it is decoded."""

    def __init__(self, stream: av.VideoStream, wanted: Sampling, limits: Limits, origin_seconds: float) -> None:
        """Prepare to decode.

        Args:
            stream: of an open container; nothing of it decoded yet.
            wanted: size, interval and longest shot.
            limits: the largest frame that is decoded.
            origin_seconds: the time stamp that is the asset's time zero.
        """
        self.damaged = self.frames = 0
        """Packets that could not be decoded or came out visibly broken; frames decoded."""
        self.width = self.height = 0
        """As displayed, of the first frame; 0 before it."""
        self.reached_seconds = 0.0
        self._stream, self._wanted, self._origin = stream, wanted, origin_seconds
        self._aspect = float(stream.sample_aspect_ratio or 1)
        self._rate = min(1000.0, max(0.01, float(stream.average_rate or stream.guessed_rate or 25)))  # headers lie
        self._detector, self._sampler = cuts.CutDetector(), plan.Sampler(wanted)
        self._skims = True
        self._scaler, self._eye = pixels.Scaler(wanted.size_px), pixels.Eye()
        self._last: tuple[float, av.VideoFrame] | None = None
        self._kept: list[tuple[float, NDArray[np.uint8]]] = []
        self._bounds: list[float] = []
        context = stream.codec_context
        context.thread_count = 1  # several files at once use the cores better: 2 threads cost 8% more on two cores
        context.options = {"max_pixels": str(limits.frame_pixels)}
        self._skimmer: Skimmer[Any] | None = Skimmer()
        if context.name == "libdav1d":  # it hears of `skip_frame` only when it starts, so the rate must be even
            self._skimmer = None
            even = stream.average_rate and stream.average_rate == stream.base_rate
            context.skip_frame = "NONREF" if even and self._rate * LONGEST_SECONDS >= 1 else "DEFAULT"

    def push(self, packet: av.Packet[Any]) -> Iterator[FrameChunk]:
        """Take one packet (an empty one flushes the decoder) and yield what is complete."""
        if self._skimmer is None:
            yield from self._decode(packet)
            return
        if packet.size:
            stamp = packet.pts if packet.pts is not None else packet.dts
            at = float(stamp * packet.time_base) if stamp is not None else 0.0  # without times nothing is left out
            due = self._skimmer.push(at, packet.size, packet)
        else:
            due = self._skimmer.finish()
        for waited, may_skim in due:
            self._stream.codec_context.skip_frame = "NONREF" if may_skim and self._skims else "DEFAULT"
            yield from self._decode(waited)
        if not packet.size:
            yield from self._decode(packet)

    def _decode(self, packet: av.Packet[Any]) -> Iterator[FrameChunk]:
        try:
            frames = packet.decode()
        except av.error.MemoryError:
            raise
        except (av.error.FFmpegError, ValueError):
            self.damaged += 1
            return
        for frame in frames:
            if frame.is_corrupt:
                self.damaged += 1
            else:
                yield from self._show(frame)

    def finish(self) -> Iterator[FrameChunk]:
        """Yield what is left once all packets were pushed."""
        if self._last is None:
            return
        at, frame = self._last
        length = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 1 / self._rate
        stop = at + min(length, self._wanted.longest_shot_seconds)
        self.reached_seconds = stop
        if self._sampler.wants(at, stop):
            self._keep(at, frame)
        cut = self._detector.finish()
        if cut is not None and stop - cut >= plan.SHORTEST_SECONDS and any(t >= cut for t, _ in self._kept):
            self._close(self._sampler.cut(cut, at))
        if not self._kept:
            self._keep(at, frame)  # a shot that ends before its first sample is due: better this frame than none
        self._close(self._sampler.end(stop))
        self._last = None
        yield from self._flush()

    def _show(self, frame: av.VideoFrame) -> Iterator[FrameChunk]:
        at = self._time(frame)
        if at is None:
            return
        self.frames += 1
        if self._last is not None:
            before, shown = self._last
            if self._sampler.wants(before, at):
                self._keep(before, shown)
            self._skims &= at - before <= _GAP_SECONDS
        else:
            self._sampler.wants(at, at)
            self.width, self.height = displayed_size(frame.width, frame.height, self._aspect, frame.rotation)
        if self._scaler.reshaped(frame, self._aspect) and self._last is not None:
            self._close(self._sampler.restart(at))
            yield from self._flush()
            self._scaler = pixels.Scaler(self._wanted.size_px)
            self._scaler.reshaped(frame, self._aspect)
        cut = self._detector.push(at, self._eye.signature(frame))
        seen = at if self._last is None else self._last[0]
        self._close(self._sampler.grown(seen) if cut is None else self._sampler.cut(cut, at))
        self._last, self.reached_seconds = (at, frame), at
        if self._bounds and (self._bounds[-1] - self._bounds[0] >= self._wanted.chunk_seconds or self._heavy()):
            yield from self._flush()

    def _time(self, frame: av.VideoFrame) -> float | None:
        """Return the frame's presentation time in seconds since the asset's start, or None to leave it out."""
        stamp = frame.pts if frame.pts is not None else frame.dts
        if stamp is None or frame.time_base is None:
            at = self._last[0] + 1 / self._rate if self._last else 0.0
        else:
            at = float(stamp * frame.time_base) - self._origin
        if self._last is None:
            if at < -1e-3:
                return None if at > -_LEAP_SECONDS else self._rebase(at, 0.0)
            return max(at, 0.0) if at < _LEAP_SECONDS else self._rebase(at, 0.0)
        step = at - self._last[0]
        if step < -1 or step > _LEAP_SECONDS:
            return self._rebase(at, self._last[0] + 1 / self._rate)
        return at if step > 0 else None

    def _rebase(self, at: float, wanted: float) -> float:
        """Move the origin so that a clock which leapt goes on where it should."""
        self._origin += at - wanted
        return wanted

    def _keep(self, at: float, frame: av.VideoFrame) -> None:
        if not self._kept or self._kept[-1][0] < at:
            self._kept.append((at, self._scaler.scale(frame)))

    def _close(self, bounds: list[float]) -> None:
        """Note the bounds of shots that are complete."""
        if bounds:
            self._bounds = [*self._bounds[:-1], *bounds] if self._bounds else list(bounds)

    def _heavy(self) -> bool:
        return bool(self._kept) and len(self._kept) * self._kept[0][1].nbytes >= FLUSH_BYTES

    def _flush(self) -> Iterator[FrameChunk]:
        if not self._bounds:
            return
        ready = [row for row in self._kept if row[0] < self._bounds[-1]]
        if not ready:
            return  # the bounds wait for a frame: a shot without one joins the next
        self._kept = self._kept[len(ready) :]
        times = [at for at, _ in ready]
        shots = tuple(plan.shots_of(self._bounds, times))
        self._bounds = []
        yield FrameChunk(np.stack([frame for _, frame in ready]), np.array(times, np.float64), shots)
