"""A film's container: opened on a descriptor that is there already, and read packet by packet, or piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av

from pipeline.decode.pieces import SLOPPY_SECONDS, Share
from pipeline.decode.video import VideoTrack
from pipeline.errors import MediaError


def opened(fd: int, demuxers: tuple[str, ...]) -> Any:
    """Open a file by its descriptor.

    Raises:
        MediaError: `unreadable`.
    """
    # The protocol `fd` reads this one descriptor and can open nothing else, whatever a demuxer asks for.
    options = {"fd": str(fd), "protocol_whitelist": "fd", "format_whitelist": ",".join(demuxers)}
    try:
        return av.open("fd:", options=options, metadata_errors="replace")
    except av.error.MemoryError:
        raise
    except (av.error.FFmpegError, ValueError) as exc:
        raise MediaError("unreadable", getattr(exc, "strerror", None) or str(exc)) from exc


def demuxed(container: Any, streams: list[Any]) -> Iterator[Any]:
    """Yield the packets of some streams, an empty one of each at the end."""
    packets = container.demux(streams)
    while True:
        try:
            yield next(packets)
        except (StopIteration, IndexError):
            return  # PyAV trips over a stream that began half-way, at the end, once all others were flushed


def demuxed_pieces(container: Any, track: VideoTrack, stream: Any, origin_seconds: float) -> Iterator[Any]:
    """Yield the packets of a film's pictures; pass over the pieces of the film that are others' work.

    Args:
        container: open, at its start.
        track: tells after each packet whether to go on.
        stream: of the pictures.
        origin_seconds: the time stamp that is the asset's time zero.
    """
    packets = demuxed(container, [stream])
    while True:
        for packet in packets:
            yield packet
            if (piece := track.next_own) is not None:
                break
        else:
            return
        if piece == len(track.share.starts):
            return
        packets = _sought(container, track.share, piece, stream, origin_seconds)
        track.sought(piece)


def _sought(container: Any, share: Share, piece: int, stream: Any, origin_seconds: float) -> Iterator[Any]:
    """Yield the packets from where a piece begins, or from a little before it."""
    start = share.starts[piece] + origin_seconds
    if not share.offsets:
        container.seek(round((start + SLOPPY_SECONDS) / stream.time_base), stream=stream)
        yield from demuxed(container, [stream])
        return
    container.seek(share.offsets[piece], unsupported_byte_offset=True, stream=stream)
    begun = False
    for packet in demuxed(container, [stream]):  # the first is what is left of one, and has no time
        stamped = packet.is_keyframe and packet.pts is not None
        begun = begun or not packet.size or (stamped and packet.pts * stream.time_base >= start - SLOPPY_SECONDS)
        if begun:
            yield packet
