"""Which of an open container's streams are decoded, and what the container says of them."""

from __future__ import annotations

import os
from typing import Any

import av
from av.stream import Disposition

from pipeline.decode import allowlist, timecode, tracks

_HEAD_BYTES = 2**18
"""Where the first group of pictures of MPEG-2 is looked for, and with it the time code."""
_TITLES = ("title", "name", "handler_name")
"""Tags in which containers keep a stream's title."""


class Choice:
    """The streams of a file that can be decoded."""

    def __init__(self, container: Any) -> None:
        self.missing = ""
        """Why the first stream was left out that somebody might have asked for."""
        self._streams = container.streams
        pictures = self._usable(self._streams.video, allowlist.VIDEO)
        self.video: Any = next((s for s in pictures if s.disposition & Disposition.default), next(iter(pictures), None))
        """The stream of pictures: the first default one, or else the first; None: there is none."""
        heard = {stream.index for stream in self._usable(self._streams.audio, allowlist.SOUND)}
        sources = [_source(number, s) for number, s in enumerate(self._streams.audio) if s.index in heard]
        self.sounds, n_left_out = tracks.choose(sources)
        """The tracks of sound, the main one first."""
        if n_left_out:
            self.missing = self.missing or f"streams_left_out:{n_left_out}"

    @property
    def sound(self) -> Any:
        """Return the main track's first stream; None: there is none."""
        return self.heard(self.sounds[0])[0] if self.sounds else None

    @property
    def n_streams(self) -> int:
        """Return how many streams of pictures and sound there are to decode."""
        return (self.video is not None) + sum(len(track.numbers) for track in self.sounds)

    def heard(self, track: tracks.Track) -> list[Any]:
        """Return the streams of a track of sound."""
        return [self._streams.audio[number] for number in track.numbers]

    def _usable(self, streams: Any, allowed: frozenset[str]) -> list[Any]:
        """Return the streams whose codec is allowed; cover pictures are none."""
        usable = []
        for stream in streams:
            if stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails):
                continue
            if (name := codec_name(stream)) in allowed:
                usable.append(stream)
            else:
                self.missing = self.missing or f"unsupported_codec:{name or 'unknown'}"
        return usable


def runs_seconds(container: Any) -> float:
    """Return for how long a file runs, as its container says; 0 where it does not."""
    duration = container.duration or 0
    if container.format.name.startswith("matroska"):  # it says when it stops, not for how long it runs
        duration -= max(0, container.start_time or 0)
    return max(0.0, float(duration / av.time_base))


def start_timecode(container: Any, video: Any, fd: int) -> str:
    """Return the time code of a film's first frame, from the container's tags or from MPEG-2 pictures; or empty.

    Args:
        container: the open container.
        video: its stream of pictures.
        fd: the file; read without moving its position.
    """
    sources = [video.metadata, container.metadata, *(stream.metadata for stream in container.streams)]
    for key, text in (tag for source in sources for tag in source.items()):
        if key.lower() == "timecode" and (code := timecode.normal(text)):
            return code
    if video.codec_context.codec.canonical_name != "mpeg2video":
        return ""
    match container.format.name:
        case "mpegts":
            return timecode.of_gop(timecode.payload(os.pread(fd, _HEAD_BYTES, 0), video.id))
        case "mpeg" | "mpegvideo":
            return timecode.of_gop(os.pread(fd, _HEAD_BYTES, 0))
        case _:
            return ""


def codec_name(stream: Any) -> str:
    """Return the name of the decoder that would run, or empty where there is none."""
    return stream.codec_context.name if stream.codec_context is not None else ""


def _source(number: int, stream: Any) -> tracks.Source:
    flags = [str(disposition.name) for disposition in Disposition if stream.disposition & disposition]
    return tracks.Source(
        number,
        stream.codec_context.channels,
        stream.language or "",
        tracks.purpose_of(flags, " ".join(stream.metadata.get(key, "") for key in _TITLES)),
        bool(stream.disposition & Disposition.default),
    )
