"""One long film through several children at once: each decodes every n-th piece of it, and the pieces are put in order.

The pieces are the same however many share them, so the frames are too. Sound and text come from the first child alone.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

from pipeline.decode.children import ForkServer
from pipeline.decode.limits import Limits
from pipeline.decode.reading import Reading
from pipeline.decode.wire import Beat
from pipeline.errors import MediaError
from pipeline.media import Decoded, Ending, Facts, FrameChunk, Modality, Sampling, SoundChunk

_WAITING_BYTES = 64_000_000
"""Of what one child said, while it waits for the others: a minute of frames, closely sampled."""
_LEAST_BYTES = 10_000
"""What anything that was said is taken to weigh."""


class _Stream:
    """What one child has said and nobody has taken."""

    def __init__(self, reading: Reading) -> None:
        self.reading, self.said = reading, deque[Decoded]()
        self.ending: Ending | None = None
        self.error: MediaError | None = None
        self.heard = time.monotonic()
        self.n_bytes = 0
        """What all of it weighs."""
        self._items = iter(reading)

    @property
    def is_done(self) -> bool:
        return self.ending is not None or self.error is not None

    def hear(self) -> None:
        """Take the next thing that the child says."""
        self.heard = time.monotonic()
        try:
            item = next(self._items)
        except MediaError as error:
            self.error = error
            return
        if isinstance(item, Ending):
            self.ending = item
        elif not isinstance(item, Beat):
            self.said.append(item)
            self.n_bytes += _weight(item)

    def take(self) -> Decoded:
        """Return what was said first, and forget it."""
        item = self.said.popleft()
        self.n_bytes -= _weight(item)
        return item


def _weight(item: Decoded) -> int:
    match item:
        case FrameChunk():
            return _LEAST_BYTES + item.pixels.nbytes
        case SoundChunk():
            return _LEAST_BYTES + item.samples.nbytes
        case _:
            return _LEAST_BYTES


def read(
    path: Path, sampling: Sampling, want: frozenset[Modality], limits: Limits, server: ForkServer, workers: int
) -> Iterator[Decoded]:
    """Yield what `pipeline.decode.decode` promises, from several children of this server."""
    with ExitStack() as opened:
        first = opened.enter_context(closing(Reading(path, sampling, want, limits, server, 0, workers)))
        streams = [_Stream(first)]
        if first.is_divisible and Modality.VISUAL in want:
            for n in range(1, workers):
                pictures = Reading(path, sampling, frozenset({Modality.VISUAL}), limits, server, n, workers)
                streams.append(_Stream(opened.enter_context(closing(pictures))))
        yield from _in_order(streams, limits.stalled_seconds)
        yield _ending(streams)


def _in_order(streams: list[_Stream], stalled_seconds: float) -> Iterator[Decoded]:
    """Yield the first child's facts, sound and text as they come, and the frames of all by time."""
    leader = streams[0]
    while any(s.said or not s.is_done for s in streams):
        if leader.error is not None and not leader.said and leader.ending is None:
            raise leader.error
        for stream in streams:
            while stream.said and not isinstance(stream.said[0], FrameChunk):
                item = stream.take()
                if stream is leader:
                    yield item
                elif not isinstance(item, Facts):
                    stream.error = MediaError("protocol", f"a child that shares pictures sent {type(item).__name__}")
        heads = [(s.said[0].at_seconds[0], s) for s in streams if s.said and isinstance(s.said[0], FrameChunk)]
        if heads and all(s.said or s.is_done for s in streams):
            yield min(heads, key=lambda head: float(head[0]))[1].take()
        else:
            _hear_some(streams, stalled_seconds)


def _hear_some(streams: list[_Stream], stalled_seconds: float) -> None:
    """Wait until a child that has room says something; one that is silent for too long is left to fail."""
    talking = {s.reading.child.fileno(): s for s in streams if not s.is_done and s.n_bytes < _WAITING_BYTES}
    poll = select.poll()
    for descriptor in talking:
        poll.register(descriptor, select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll(1000)}
    now = time.monotonic()
    for descriptor, stream in talking.items():
        if descriptor in ready or now - stream.heard > stalled_seconds:
            stream.hear()


def _ending(streams: list[_Stream]) -> Ending:
    """Return one ending for all: whatever damage any child met."""
    endings = [s.ending or Ending(s.error.reason if s.error else None) for s in streams]
    return replace(
        endings[0],
        damage=_worst([e.damage for e in endings if e.damage]),
        decoded_seconds=max(e.decoded_seconds for e in endings),
        frames_decoded=sum(e.frames_decoded for e in endings),
        frames_expected=sum(e.frames_expected for e in endings),
        frames_missing=sum(e.frames_missing for e in endings),
    )


def _worst(damages: list[str]) -> str | None:
    """Return what is wrong with the whole film: what ended a child early, or else what all of them counted."""
    for reason in ("missing_frames", "corrupt"):
        if others := [damage for damage in damages if not damage.startswith(f"{reason}:")]:
            damages = others
        elif damages:
            return f"{reason}:{sum(int(damage.partition(':')[2]) for damage in damages)}"
    return damages[0] if damages else None
