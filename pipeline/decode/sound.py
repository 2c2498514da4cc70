"""The sound of a file: its streams as tracks, each mixed to mono, in stretches that end where it is quiet.

A track is decoded and mixed once, at the highest rate that anybody asked for; the lower rates are made from that. All
rates are cut at the same times.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.decode.audio import Block, Voice, resampled
from pipeline.media import Sampling, SoundChunk

_QUIET_WINDOW_SECONDS = 5.0
"""A stretch ends at the quietest point within this time before it is full, so that no sentence is broken."""
_QUIET_FRAME_SECONDS = 0.02
_LONGEST_SILENCE_SECONDS = 30.0
"""A longer gap is not filled: a new stretch begins after it."""
_SILENT = 1e-4
"""-80 dB: a stream that stays below it in a stretch does not make the others quieter."""


class SoundTrack:
    """What is searched as one track: one audio stream, or several mono ones that are mixed."""

    def __init__(self, name: str, wanted: Sampling, *, main: bool = True) -> None:
        """Prepare a track without streams.

        Args:
            name: of the track, such as `a:0`.
            wanted: rates and length of a stretch.
            main: whether it is the one that a player plays.
        """
        self._name, self._main, self._rates = name, main, wanted.rates_hz
        self.rate_hz = max(wanted.rates_hz)
        self._most = max(1, int(wanted.chunk_seconds * self.rate_hz))
        self._longest_silence = int(_LONGEST_SILENCE_SECONDS * self.rate_hz)
        self._streams: list[SoundStream] = []
        self._first = self._released = 0
        """The place of the first sample that is held; all before the other place was handed over."""

    def add(self, stream: av.AudioStream, origin_seconds: float) -> SoundStream:
        """Let a stream belong to the track; `origin_seconds` is the time stamp that is the asset's time zero."""
        self._streams.append(SoundStream(self, Voice(stream, self.rate_hz, origin_seconds)))
        return self._streams[-1]

    def hold(self, stream: SoundStream, blocks: list[Block]) -> Iterator[SoundChunk]:
        """Take a stream's next blocks and yield what is complete."""
        for whole in blocks:
            earliest = max(stream.stop, self._released)
            if whole.stop <= earliest:
                continue
            block = whole.after(earliest)
            if any(s.held for s in self._streams):
                if block.first > self._first + self._longest_silence and self._is_far(block):
                    yield from self._empty()
                    self._first = block.first
                self._first = min(self._first, block.first)
            else:
                self._first = block.first
            stream.held.append(block)
            stream.stop = block.stop
        yield from self._cut()

    def close(self) -> Iterator[SoundChunk]:
        """Yield what is complete now that a stream has ended, which is all once every stream has."""
        yield from self._cut()
        if all(s.ended for s in self._streams):
            yield from self._empty()

    def _is_far(self, block: Block) -> bool:
        return block.first - max(s.stop for s in self._streams) > self._longest_silence

    def _cut(self) -> Iterator[SoundChunk]:
        """Yield full stretches. A stream that lags behind is waited for, but not longer than another stretch."""
        while any(s.held for s in self._streams):
            stop = max(s.stop for s in self._streams)
            ready = min((s.stop for s in self._streams if not s.ended), default=stop)
            if ready - self._first < self._most and stop - self._first < 2 * self._most:
                return
            mix = self._mix(self._most)
            yield from self._release(mix[: quietest(mix, self.rate_hz)])

    def _empty(self) -> Iterator[SoundChunk]:
        """Yield all that is held."""
        while any(s.held for s in self._streams):
            left = max(s.stop for s in self._streams) - self._first
            mix = self._mix(min(left, self._most))
            yield from self._release(mix if left <= self._most else mix[: quietest(mix, self.rate_hz)])

    def _mix(self, n: int) -> NDArray[np.float32]:
        """Return the next n samples of all streams: the mean of those that are not silent."""
        mix, n_heard = np.zeros(n, np.float32), 0
        for stream in self._streams:
            own = stream.sound(self._first, n)
            if len(self._streams) == 1 or np.abs(own).max(initial=0) > _SILENT:
                n_heard += 1
                mix = own if n_heard == 1 else mix + own
        return mix / np.float32(n_heard) if n_heard > 1 else mix

    def _release(self, mix: NDArray[np.float32]) -> Iterator[SoundChunk]:
        """Yield the next samples at every rate, and forget them."""
        start_seconds = self._first / self.rate_hz
        self._first = self._released = self._first + len(mix)
        for stream in self._streams:
            stream.forget(self._released)
        for rate_hz in self._rates:
            samples = _bounded(resampled(mix, self.rate_hz, rate_hz))
            yield SoundChunk(samples, start_seconds, rate_hz, self._name, self._main)


class SoundStream:
    """One audio stream of a track while it is decoded, and what of it waits for the track's next stretch."""

    def __init__(self, track: SoundTrack, voice: Voice) -> None:
        self._track, self._voice = track, voice
        self.held: list[Block] = []
        self.stop = 0
        """The place after the last sample that it gave."""
        self.ended = False

    @property
    def damaged(self) -> int:
        """Return the number of packets that could not be decoded."""
        return self._voice.damaged

    @property
    def reached_seconds(self) -> float:
        """Return how far it has been decoded."""
        return self._voice.reached_seconds

    def push(self, packet: av.Packet[Any]) -> Iterator[SoundChunk]:
        """Decode one packet (an empty one flushes the decoder) and yield what of the track is complete."""
        yield from self._track.hold(self, self._voice.push(packet))

    def finish(self) -> Iterator[SoundChunk]:
        """Yield what is left once all packets were pushed; of several streams, the last one yields the rest."""
        yield from self._track.hold(self, self._voice.finish())
        self.ended = True
        yield from self._track.close()

    def sound(self, first: int, n: int) -> NDArray[np.float32]:
        """Return n samples from a place on, float32 [n], finite, with silence where it has none."""
        sound = np.zeros(n, np.float32)
        for block in self.held:
            begin, end = max(block.first, first), min(block.stop, first + n)
            if begin < end:
                sound[begin - first : end - first] = block.samples[begin - block.first : end - block.first]
        return np.nan_to_num(sound, copy=False, nan=0.0, posinf=1.0, neginf=-1.0)  # float formats may hold anything

    def forget(self, place: int) -> None:
        """Let go of all samples before a place."""
        self.held = [block.after(place) for block in self.held if block.stop > place]


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


def _bounded(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(samples, -1.0, 1.0)
