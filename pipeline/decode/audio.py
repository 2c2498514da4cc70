"""One audio stream: packets in, mono float32 at one rate out, each block at its place on the asset's clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.decode.packets import decode

_SLACK_SECONDS = 0.1
"""Time stamps jitter by less; a larger gap is one in the sound."""
_DRIFT_SECONDS = 0.015
"""A clock that is off by this much over and over does not jitter: the sound is put back to where its stamps say."""
_DRIFT_FRAMES = 32
_LEAP_SECONDS = 3600.0
_RATE_LEAST_HZ, _RATE_MOST_HZ = 1000, 768_000
"""No sound is sampled slower or faster. From a rate that a broken header claims, a resampler's filter takes gigabytes,
or a few kilobytes become hours."""
_UNPLACED = re.compile(r"\d+ channels|ambisonic.*")
"""Layouts that do not say where a channel stands."""


@dataclass(frozen=True)
class Block:
    """Samples in a row; the first one's place is counted in samples from the asset's time zero, and may be negative."""

    first: int
    samples: NDArray[np.float32]
    """float32 [T], mono, not yet bounded; T > 0."""

    @property
    def stop(self) -> int:
        """Return the place after its last sample."""
        return self.first + len(self.samples)

    def after(self, place: int) -> Block:
        """Return what of it lies at or after a place before its end."""
        return self if place <= self.first else Block(place, self.samples[place - self.first :])


class Voice:
    """One audio stream while it is decoded."""

    def __init__(self, stream: av.AudioStream, rate_hz: int, origin_seconds: float) -> None:
        """Prepare to decode.

        Args:
            stream: of an open container; nothing of it decoded yet.
            rate_hz: of the samples that come out.
            origin_seconds: the time stamp that is the asset's time zero.
        """
        self.damaged = self.frames = 0
        """Packets that could not be decoded; frames decoded."""
        self.reached_seconds = 0.0
        self._rate, self._origin = rate_hz, origin_seconds
        self._resampler: av.AudioResampler | None = None
        self._form: tuple[str, str, int] | None = None
        self._expected = self._drift = 0.0
        """When the next frame should begin; by how much frames begin later than that of late."""
        self._next = 0
        """The place of the next sample."""
        self._made: list[Block] = []
        stream.codec_context.thread_count = 1

    def push(self, packet: av.Packet[Any]) -> list[Block]:
        """Decode one packet (an empty one flushes the decoder); return what came out, in order."""
        try:
            for frame in decode(packet.stream, packet):
                self._take(frame)
        except ValueError:
            self.damaged += 1
        return self._handed()

    def finish(self) -> list[Block]:
        """Return what is left once all packets were pushed."""
        self._drain()
        return self._handed()

    def _handed(self) -> list[Block]:
        made, self._made = self._made, []
        return made

    def _take(self, frame: av.AudioFrame) -> None:
        if not _RATE_LEAST_HZ <= frame.sample_rate <= _RATE_MOST_HZ or frame.samples <= 0:
            self.damaged += 1
            return
        at, length = self._time(frame), frame.samples / frame.sample_rate
        if at is None:
            return
        gap = at - self._expected
        self._drift += (gap - self._drift) / _DRIFT_FRAMES
        moved = not self.frames or gap > _SLACK_SECONDS or abs(self._drift) > _DRIFT_SECONDS
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if moved or form != self._form or self._resampler is None:
            self._drain()
            self._form = form
            # Without the option, two equal channels come out 1.4 times as loud, and a loud film is clipped.
            louder = {"rematrix_maxval": "1.0"}
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=self._rate, options=louder)
            # Overlapping samples are dropped by who puts the blocks together.
            self._next = round((at if moved else self._expected) * self._rate)
        if moved:
            self._expected, self._drift = at, 0.0
        self.frames += 1
        self._expected += length
        self.reached_seconds = max(self.reached_seconds, self._expected)
        self._keep(self._resampler.resample(_placed(frame)))

    def _time(self, frame: av.AudioFrame) -> float | None:
        """Return the frame's time in seconds since the asset's start, or None to leave the frame out."""
        if frame.time is None:
            return self._expected
        at = frame.time - self._origin
        step = at - self._expected
        if abs(step) > _LEAP_SECONDS or (self.frames and step < -1):
            self._origin += step  # a clock that leaps is broken: go on where the sound was
            return self._expected
        return None if self.frames and step < -_SLACK_SECONDS else at

    def _drain(self) -> None:
        """Take out what the resampler still holds; it ends there."""
        if self._resampler is not None:
            self._keep(self._resampler.resample(None))
        self._resampler = None

    def _keep(self, frames: list[av.AudioFrame]) -> None:
        for frame in frames:
            samples = _mono(frame)
            if len(samples):
                self._made.append(Block(self._next, samples))
                self._next += len(samples)


def resampled(samples: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """Return mono sound, float32 [T], at another rate; it lasts as long, to the nearest sample."""
    if from_hz == to_hz or not len(samples):
        return samples
    frame = _frame(samples, from_hz)
    resampler = av.AudioResampler(format="flt", layout="mono", rate=to_hz)
    made = np.concatenate([_mono(part) for part in (*resampler.resample(frame), *resampler.resample(None))])
    wanted = round(len(samples) * to_hz / from_hz)
    return np.pad(made[:wanted], (0, max(0, wanted - len(made))))


def _placed(frame: av.AudioFrame) -> av.AudioFrame:
    """Return a frame whose layout says where its channels stand; one that does not is mixed evenly.

    FFmpeg takes eight unnamed channels for 7.1 and leaves the fourth out, which in a recording is a microphone.
    """
    channels = frame.layout.nb_channels
    if channels <= 2 or not _UNPLACED.fullmatch(frame.layout.name):
        return frame
    planar = np.asarray(frame.to_ndarray())
    planar = planar if frame.format.is_planar else planar.reshape(-1, channels).T
    whole = planar.astype(np.float32) - (128.0 if planar.dtype == np.uint8 else 0.0)
    if planar.dtype.kind in "iu":
        whole /= 2.0 ** (8 * planar.dtype.itemsize - 1)
    first = frame.layout.name.startswith("ambisonic")  # its first channel is what arrives from all sides
    return _frame(whole[0] if first else whole.mean(axis=0, dtype=np.float32), frame.sample_rate)


def _frame(samples: NDArray[np.float32], rate_hz: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="flt", layout="mono")
    frame.sample_rate = rate_hz
    return frame


def _mono(frame: av.AudioFrame) -> NDArray[np.float32]:
    """Return a resampled frame as float32 [T]."""
    return np.asarray(frame.to_ndarray(), np.float32).reshape(-1)
