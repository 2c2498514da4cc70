"""What is wrong with a film or a sound file, once all of it was read: what came out against what was promised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.decode.sound import SoundStream
from pipeline.decode.streams import runs_seconds
from pipeline.decode.subtitles import TextTrack
from pipeline.decode.video import VideoTrack

_SHORT_SECONDS = 1.0
"""A stream that ends this much, or a fiftieth of its length, before its container says is truncated."""
_STATES_LENGTH = {"mov", "matroska", "avi", "wav", "flac", "asf", "flv", "mxf", "aiff", "caf", "ivf"}
"""Containers whose header says how long they are; for others FFmpeg guesses from the rate of bits, and errs."""


def damage_of(
    container: Any, tracks: Mapping[int, VideoTrack | SoundStream | TextTrack], n_streams: int, broken: str
) -> str | None:
    """Return the reason why a file is only partly good, or None.

    Args:
        container: read to its end, or to where it is broken.
        tracks: what was decoded of it, by the stream's index.
        n_streams: how many streams of pictures and sound it has that could be decoded.
        broken: why it could not be read to its end; empty where it could.
    """
    decoded = [track for track in tracks.values() if not isinstance(track, TextTrack)]
    if not decoded:
        return None
    reached = max(track.reached_seconds for track in decoded)
    damaged = sum(track.damaged for track in decoded)
    if damaged and not _memory_is_left():
        return "memory"
    states_length = container.format.name.split(",")[0] in _STATES_LENGTH
    if broken or (states_length and _falls_short(container, tracks, n_streams, reached)):
        return f"truncated_at:{reached:.1f}"
    if damaged:
        return f"corrupt:{damaged}"
    missing = sum(track.keeper.missing for track in decoded if isinstance(track, VideoTrack))
    return f"missing_frames:{missing}" if missing else None


def _falls_short(
    container: Any, tracks: Mapping[int, VideoTrack | SoundStream | TextTrack], n_streams: int, reached: float
) -> bool:
    """Tell whether a stream, or where all were decoded the whole, ended well before the container says."""
    decoded = {index: track for index, track in tracks.items() if not isinstance(track, TextTrack)}
    if any(isinstance(track, VideoTrack) and not track.owns_the_end for track in decoded.values()):
        return False  # whoever decodes the last piece will tell
    claims: list[tuple[float, float]] = []
    for index, track in decoded.items():
        if (stream := container.streams[index]).duration:
            claims.append((track.reached_seconds, float(stream.duration * stream.time_base)))
    if len(decoded) == n_streams:
        claims.append((reached, runs_seconds(container)))
    return any(came < claimed - max(_SHORT_SECONDS, claimed / 50) for came, claimed in claims)


def _memory_is_left() -> bool:
    """Tell whether the limit on memory is still away; FFmpeg's decoders call a want of memory invalid data."""
    try:
        return bool(bytearray(2**25))
    except MemoryError:
        return False
