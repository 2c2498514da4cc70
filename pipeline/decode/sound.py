"""The sound of a file: packets in, mono float32 at one rate out, in stretches that end where it is quiet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.media import Sampling, SoundChunk

_QUIET_WINDOW_SECONDS = 5.0
"""A stretch ends at the quietest point within this time before it is full, so that no sentence is broken."""
_QUIET_FRAME_SECONDS = 0.02
_SLACK_SECONDS = 0.1
"""Time stamps jitter by less; a larger gap is one in the sound."""
_LONGEST_SILENCE_SECONDS = 30.0
"""A longer gap is not filled: a new stretch begins after it."""
_LEAP_SECONDS = 3600.0
_RATE_MOST_HZ = 768_000
"""No sound is sampled faster; the filter of a resampler from a rate that a broken header claims takes gigabytes."""


class SoundTrack:
    """One audio stream while it is decoded."""

    def __init__(self, stream: av.AudioStream, wanted: Sampling, origin_seconds: float) -> None:
        """Prepare to decode.

        Args:
            stream: of an open container; nothing of it decoded yet.
            wanted: rate and length of a stretch.
            origin_seconds: the time stamp that is the asset's time zero.
        """
        self.damaged = self.frames = 0
        """Packets that could not be decoded; frames decoded."""
        self.reached_seconds = 0.0
        self._rate, self._most = wanted.rate_hz, max(1, int(wanted.chunk_seconds * wanted.rate_hz))
        self._origin = origin_seconds
        self._resampler: av.AudioResampler | None = None
        self._form: tuple[str, str, int] | None = None
        self._start = self._expected = 0.0
        """When the samples held began, and when the next frame should."""
        self._held: list[NDArray[np.float32]] = []
        self._n_held = 0
        stream.codec_context.thread_count = 1

    def push(self, packet: av.Packet[Any]) -> Iterator[SoundChunk]:
        """Decode one packet (an empty one flushes the decoder) and yield what is complete."""
        try:
            frames = packet.decode()
        except av.error.MemoryError:
            raise
        except (av.error.FFmpegError, ValueError):
            self.damaged += 1
            return
        for frame in frames:
            yield from self._take(cast(av.AudioFrame, frame))
            while self._n_held >= self._most:
                yield self._cut()

    def finish(self) -> Iterator[SoundChunk]:
        """Yield what is left once all packets were pushed."""
        self._drain()
        self.reached_seconds = max(self.reached_seconds, self._start + self._n_held / self._rate)
        while self._n_held > self._most:
            yield self._cut()
        if self._n_held:
            yield self._release(self._n_held)

    def _take(self, frame: av.AudioFrame) -> Iterator[SoundChunk]:
        if not 0 < frame.sample_rate <= _RATE_MOST_HZ or frame.samples <= 0:
            self.damaged += frame.sample_rate > _RATE_MOST_HZ
            return
        at, length = self._time(frame), frame.samples / frame.sample_rate
        if at is None:
            return
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        gap = at - self._expected
        if self.frames and gap > _SLACK_SECONDS:
            self._drain()
            if gap <= _LONGEST_SILENCE_SECONDS:
                self._hold(np.zeros(round(gap * self._rate), np.float32))
            elif self._n_held:
                yield self._release(self._n_held)
        if not self.frames or not self._n_held:
            self._start = at
        if self._resampler is None or form != self._form:
            self._drain()
            # Without the option, two equal channels come out 1.4 times as loud, and a loud film is clipped.
            louder = {"rematrix_maxval": "1.0"}
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=self._rate, options=louder)
            self._form = form
        self.frames += 1
        drift = 0.0 if self.frames == 1 or abs(gap) > _SLACK_SECONDS else gap
        self._expected = self.reached_seconds = at - drift + length
        for made in self._resampler.resample(frame):
            self._hold(_mono(made))

    def _time(self, frame: av.AudioFrame) -> float | None:
        """Return the frame's time in seconds since the asset's start, or None to leave the frame out."""
        if frame.pts is None or frame.time_base is None:
            return self._expected
        at = float(frame.pts * frame.time_base) - self._origin
        step = at - self._expected
        if abs(step) > _LEAP_SECONDS or (self.frames and step < -1):
            self._origin += step  # a clock that leaps is broken: go on where the sound was
            return self._expected
        if at < -1e-3 and not self.frames:
            return None if at + frame.samples / frame.sample_rate <= 0 else 0.0
        return None if self.frames and step < -_SLACK_SECONDS else max(at, 0.0)

    def _drain(self) -> None:
        """Take out what the resampler still holds; it ends there."""
        if self._resampler is not None:
            for made in self._resampler.resample(None):
                self._hold(_mono(made))
        self._resampler = None

    def _hold(self, samples: NDArray[np.float32]) -> None:
        if len(samples):
            self._held.append(samples)
            self._n_held += len(samples)

    def _cut(self) -> SoundChunk:
        self._held = [np.concatenate(self._held)]
        return self._release(quietest(self._held[0][: self._most], self._rate))

    def _release(self, n: int) -> SoundChunk:
        samples = np.concatenate(self._held)
        chunk = SoundChunk(_bounded(samples[:n]), self._start)
        self._held = [samples[n:]] if n < len(samples) else []
        self._n_held = len(samples) - n
        self._start += n / self._rate
        return chunk


def quietest(samples: NDArray[np.float32], rate_hz: int) -> int:
    """Return where in the last seconds of a stretch it is quietest: how many samples to take, at least one.

    Args:
        samples: float32 [T], mono; T > 0.
        rate_hz: their rate.
    """
    width = max(1, int(_QUIET_FRAME_SECONDS * rate_hz))
    first = max(0, len(samples) - int(_QUIET_WINDOW_SECONDS * rate_hz))
    n_frames = (len(samples) - first) // width
    if n_frames < 2:
        return len(samples)
    frames = samples[len(samples) - n_frames * width :].reshape(n_frames, width)
    power = np.einsum("nt,nt->n", frames, frames)
    # The middle of the longest pause beats a single quiet frame between two words.
    calm = np.convolve(power, np.ones(5), mode="same")
    return len(samples) - n_frames * width + int(calm.argmin()) * width + width // 2


def _mono(frame: av.AudioFrame) -> NDArray[np.float32]:
    """Return a resampled frame as float32 [T]."""
    return np.asarray(frame.to_ndarray(), np.float32).reshape(-1)


def _bounded(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return samples in [-1, 1], without NaN: float formats may hold anything."""
    return np.clip(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)
