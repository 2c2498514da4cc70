"""What a container says about a film's pictures before any is decoded: its index, or else its first packets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
import numpy as np

from pipeline.decode.groups import MOST_BYTES
from pipeline.decode.limits import Limits
from pipeline.decode.packets import Pictures
from pipeline.decode.pieces import even_starts, pieces_of, soonest
from pipeline.decode.sampling import ASKED, Choice, Outline, choose
from pipeline.decode.streams import runs_seconds
from pipeline.media import Mode, Sampling

_WHOLE_INDEX = ("mov", "avi")
"""Containers whose index, read at opening, has every packet."""
_STATES_DECODING = ("mov",)
"""Containers whose index says when packets are decoded, not when their frames are displayed."""
_MAY_REFRESH = ("h264",)
"""Decoders of what may be refreshed without key frames."""
_CUES = ("matroska",)
"""Containers whose index has the key frames that one can enter at; it is read at the first search."""
_SEEKS_BYTES = ("mpeg", "mpegts")
"""Containers without an index that can be entered at any byte; packets say the time there."""
_COVERS = 0.8
"""An index that ends before this share of the film is a broken one."""
_WINDOW_SECONDS = 6.0
"""Where there is no index, so much is read to find a key frame that a piece may begin at."""
_DENSEST = 2.0
"""By how much a minute may hold more or fewer bytes than usual; beyond that, time stamps leap."""
_HEAD_PACKETS, _HEAD_GROUPS, _HEAD_BYTES = 300, 3, 16_000_000


@dataclass(frozen=True)
class Survey:
    """What was decided about a film from its outline."""

    choice: Choice
    starts: tuple[float, ...]
    """Where its pieces begin; fewer than two: it is not divided."""
    offsets: tuple[int, ...] = ()
    """For each piece, a byte from which its beginning is found; empty: it is found by its time."""
    enters: bool = True
    """Decoding can begin at every key frame, not only at the first."""


def survey(container: Any, stream: Any, origin_seconds: float, wanted: Sampling, limits: Limits) -> Survey:
    """Look at a film and decide how to decode it. The container has been read from then: open it again.

    Args:
        container: open.
        stream: of its pictures.
        origin_seconds: the time stamp that is the asset's time zero.
        wanted: the mode, and what it needs.
        limits: the largest frame that is decoded.
    """
    family = container.format.name.split(",")[0]
    duration = runs_seconds(container)
    try:
        if stream.codec_context.name in _MAY_REFRESH and not _enters(container, stream, limits):
            mode = Mode.EXACT if wanted.mode == Mode.AUTO else wanted.mode
            refreshed = Choice(mode, "no frame can be decoded from its key frames but the first")
            return Survey(refreshed, (), enters=False)
        keys, n_packets = _indexed(container, stream, family, duration, origin_seconds)
        offsets: list[int] = []
        if family in _SEEKS_BYTES:
            starts, offsets = _found(container, stream, duration, origin_seconds)
        else:
            starts = pieces_of(keys, duration)
        if family in _WHOLE_INDEX and keys:
            span = float(stream.duration * stream.time_base) if stream.duration else duration
            outline = Outline(n_packets, tuple(keys), span, duration)
        elif wanted.mode == Mode.AUTO:
            outline = _head(container, stream, duration, origin_seconds)
        else:
            return Survey(Choice(wanted.mode, ASKED), tuple(starts), tuple(offsets))
    except (av.error.FFmpegError, OSError, ValueError) as exc:
        if isinstance(exc, av.error.MemoryError):
            raise
        broken = Choice(Mode.EXACT, f"its beginning cannot be searched: {getattr(exc, 'strerror', None) or exc}")
        return Survey(broken, ())
    return Survey(choose(outline, wanted), tuple(starts), tuple(offsets))


def _enters(container: Any, stream: Any, limits: Limits) -> bool:
    """Tell whether decoding can begin at the second key frame, by trying.

    A film that is refreshed bit by bit, rather than by whole frames, marks where a refresh begins as if it were one.
    """
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"max_pixels": str(limits.frame_pixels)}
    n_keys = n_bytes = 0
    for packet in container.demux(stream):
        n_bytes += packet.size
        n_keys += packet.is_keyframe
        if n_keys > 1 and packet.is_keyframe:
            return Pictures(stream, skims=False).peek(packet) is not None
        if n_bytes > MOST_BYTES:
            break
    return True


def _indexed(
    container: Any, stream: Any, family: str, duration: float, origin_seconds: float
) -> tuple[list[float], int]:
    """Return the key frames' times by the container's index, and how many packets it has; nothing if it is no good."""
    if family not in (*_WHOLE_INDEX, *_CUES):
        return [], 0
    if family in _CUES and duration:
        container.seek(round((duration + origin_seconds) / stream.time_base), stream=stream)
    entries = stream.index_entries
    if not len(entries):
        return [], 0
    stamps = np.array([entry.timestamp for entry in entries if entry.is_keyframe], np.float64)
    last = entries[len(entries) - 1].timestamp if family in _WHOLE_INDEX else stamps[-1] if len(stamps) else 0
    keys = (stamps + _delay(container, stream, family)) * float(stream.time_base) - origin_seconds
    if not len(keys) or (np.diff(keys) <= 0).any():
        return [], 0
    reached = last * float(stream.time_base) - origin_seconds
    return (keys.tolist(), len(entries)) if reached >= _COVERS * duration else ([], 0)


def _found(container: Any, stream: Any, duration: float, origin_seconds: float) -> tuple[list[float], list[int]]:
    """Return where pieces of a film without an index begin, and a byte before each; nothing if times leap."""
    starts, offsets, size = [0.0], [0], container.size
    for even in even_starts(0.0, duration)[1:]:
        offset = int(size * even / duration)
        container.seek(offset, unsupported_byte_offset=True, stream=stream)
        start = soonest(_window(container, stream, origin_seconds))
        if start is not None:
            starts.append(start)
            offsets.append(offset)
    seconds, usual = np.diff([*starts, duration]), np.diff([*offsets, size]) / max(1, size) * duration
    leaps = (seconds <= usual / _DENSEST) | (seconds >= usual * _DENSEST)
    return ([], []) if leaps.any() else (starts, offsets)


def _window(container: Any, stream: Any, origin_seconds: float) -> list[float]:
    """Return the times of the next key frames, from where the container is now, that can be found there again."""
    keys: list[float] = []
    first, n_bytes = None, 0
    for packet in container.demux(stream):
        n_bytes += packet.size
        if packet.pts is None:
            continue
        at = float(packet.pts * packet.time_base) - origin_seconds
        first = at if first is None else first
        if abs(at - first) > _WINDOW_SECONDS or n_bytes > MOST_BYTES:
            break
        if packet.is_keyframe:
            keys.append(at)
    return keys


def _delay(container: Any, stream: Any, family: str) -> int:
    """Return how long after the time that the index states for it a key frame is displayed, in the stream's ticks."""
    if family not in _STATES_DECODING:
        return 0
    container.seek(stream.start_time or 0, stream=stream)
    first = next((packet for packet in container.demux(stream) if packet.size), None)
    return 0 if first is None or first.pts is None or first.dts is None else int(first.pts - first.dts)


def _head(container: Any, stream: Any, duration: float, origin_seconds: float) -> Outline:
    """Return the outline of the first packets."""
    container.seek(stream.start_time or 0, stream=stream)
    keys: list[float] = []
    n_packets = n_bytes = 0
    first = last = None
    for packet in container.demux(stream):
        stamp = packet.pts if packet.pts is not None else packet.dts
        if not packet.size or n_packets >= _HEAD_PACKETS or n_bytes >= _HEAD_BYTES or len(keys) > _HEAD_GROUPS:
            break
        n_packets, n_bytes = n_packets + 1, n_bytes + packet.size
        if stamp is None:
            continue
        at = float(stamp * packet.time_base) - origin_seconds
        first, last = (at, at) if first is None or last is None else (min(first, at), max(last, at))
        if packet.is_keyframe:
            keys.append(at)
    span = (last or 0.0) - (first or 0.0)
    return Outline(n_packets, tuple(keys), span, duration)
