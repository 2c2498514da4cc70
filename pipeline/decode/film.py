"""Films and sound files, with PyAV: one pass over the file, all streams that were asked for decoded as they come."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import av
from av.stream import Discard

from pipeline.decode import allowlist
from pipeline.decode.damage import damage_of
from pipeline.decode.demuxer import demuxed, demuxed_pieces, opened
from pipeline.decode.groups import Group, Grouper
from pipeline.decode.limits import Limits
from pipeline.decode.outline import Survey, survey
from pipeline.decode.pieces import Share, owners_of
from pipeline.decode.plans import Plan, plan_film
from pipeline.decode.sound import SoundStream, SoundTrack
from pipeline.decode.streams import Choice, codec_name, runs_seconds, start_timecode
from pipeline.decode.subtitles import TextTrack
from pipeline.decode.video import VideoTrack, arrivals_of
from pipeline.decode.wire import Beat
from pipeline.errors import MediaError
from pipeline.media import Decoded, Ending, Facts, Media, Modality, Sampling

_BEAT_SECONDS = 0.5
_DULL = {"encoder", "handler_name", "vendor_id", "major_brand", "minor_version", "compatible_brands", "duration"} | {
    "software", "alpha_mode"}  # fmt: skip
"""Tags that say how a file was written, not what is in it."""


def decode_film(
    fd: int,
    demuxers: tuple[str, ...],
    wanted: Sampling,
    want: frozenset[Modality],
    limits: Limits,
    worker: int = 0,
    workers: int = 1,
) -> Iterator[Decoded | Beat]:
    """Yield a film's or sound file's facts, then its frames, sound and text in the order of decoding, then its ending.

    Args:
        fd: the open file; nothing else is opened.
        demuxers: FFmpeg's names of those that may read it.
        wanted: what is kept.
        want: visual for frames, audio or speech for sound, speech or text for subtitles; the rest is not decoded.
        limits: streams and frame size.
        worker: which of those that share the film's pictures this is, counted from 0.
        workers: how many share them.

    Raises:
        MediaError: `unreadable`, `no_streams`, `too_many_streams:N`, `too_large:WxH` or `unsupported_codec:NAME`.
    """
    surveyed = None
    with opened(fd, demuxers) as container:
        film = _Film(container, limits, fd)
        if Modality.VISUAL in want:
            surveyed = film.survey(wanted)
        if surveyed is None:
            yield from film.run(wanted, want, surveyed, worker, workers)
            return
    os.lseek(fd, 0, os.SEEK_SET)
    with opened(fd, demuxers) as container:
        yield from _Film(container, limits, fd).run(wanted, want, surveyed, worker, workers)


def plan_of(fd: int, demuxers: tuple[str, ...], wanted: Sampling, limits: Limits) -> Plan:
    """Return the plan of a film's pictures: all of its packets are read, none is decoded.

    Raises:
        MediaError: as `decode_film`; `no_pictures` where it has only sound.
    """
    with opened(fd, demuxers) as container:
        surveyed = _Film(container, limits, fd).survey(wanted)
        if surveyed is None:
            raise MediaError("no_pictures", "only pictures that move are planned")
    os.lseek(fd, 0, os.SEEK_SET)
    with opened(fd, demuxers) as container:
        return plan_film(
            _Film(container, limits, fd).groups(wanted, surveyed), surveyed.choice, surveyed.starts, wanted
        )


class _Film:
    """An open container, the tracks of it that are decoded, and what went wrong on the way."""

    def __init__(self, container: Any, limits: Limits, fd: int) -> None:
        self._container, self._limits, self._fd = container, limits, fd
        if len(container.streams) > limits.streams:
            raise MediaError(f"too_many_streams:{len(container.streams)}", f"at most {limits.streams} are looked at")
        self._choice = Choice(container)
        self._video, self._sound, self._missing = self._choice.video, self._choice.sound, self._choice.missing
        if self._video is None and self._sound is None:
            raise MediaError(self._missing or "no_streams", "it holds no pictures and no sound that can be decoded")
        if self._video is not None:
            context = self._video.codec_context
            if context.width * context.height > limits.frame_pixels:
                raise MediaError(f"too_large:{context.width}x{context.height}")
        self._origin = self._started()
        self._broken = ""
        """Why the container could not be read to its end."""
        self.tracks: dict[int, VideoTrack | SoundStream | TextTrack] = {}
        self.pictures: VideoTrack | None = None

    def survey(self, wanted: Sampling) -> Survey | None:
        """Look at the film and decide how to decode its pictures, if it has any."""
        return None if self._video is None else survey(self._container, self._video, self._origin, wanted, self._limits)

    def groups(self, wanted: Sampling, surveyed: Survey) -> Iterator[Group]:
        """Yield the groups of all the pictures' packets."""
        self._video.discard = Discard.default
        arrivals = arrivals_of(self._video, self._origin, wanted, enters=surveyed.enters)
        grouper = Grouper[Any]()
        with suppress(av.error.FFmpegError, ValueError):  # it is broken here: the plan ends
            for packet in demuxed(self._container, [self._video]):
                if packet.size:
                    for group, _ in grouper.push(arrivals.of(packet)):
                        yield group
        for group, _ in grouper.finish():
            yield group

    def run(
        self, wanted: Sampling, want: frozenset[Modality], surveyed: Survey | None, worker: int, workers: int
    ) -> Iterator[Decoded | Beat]:
        """Yield facts, contents and ending."""
        self._follow(wanted, want)
        if surveyed is not None:
            owners = owners_of(surveyed.starts or (0.0,), runs_seconds(self._container), workers)
            self._watch(wanted, surveyed, Share(surveyed.starts, tuple(owners), worker, surveyed.offsets))
        self._discard_others()
        contents = self._contents()
        first: Decoded | Beat | None = None
        for first in contents:
            if not isinstance(first, Beat) or (self.pictures is not None and self.pictures.keeper.width):
                break
            first = None
        yield self._facts()  # after the first frame, since only frames know how they are turned
        if first is not None:
            yield first
        yield from contents
        yield self._ending()

    def _watch(self, wanted: Sampling, surveyed: Survey, share: Share) -> None:
        """Make a track of the pictures."""
        self.pictures = VideoTrack(
            self._video, wanted, self._limits, self._origin, surveyed.choice, share, enters=surveyed.enters
        )
        self.tracks[self._video.index] = self.pictures

    def _discard_others(self) -> None:
        """Have the container pass over the streams that nobody asked for."""
        for stream in self._container.streams:
            stream.discard = Discard.default if stream.index in self.tracks else Discard.all

    def _follow(self, wanted: Sampling, want: frozenset[Modality]) -> None:
        """Make a track of each stream of sound or text that is wanted."""
        for place, sound in enumerate(self._choice.sounds if want & {Modality.AUDIO, Modality.SPEECH} else ()):
            mixed = SoundTrack(sound.name, wanted, main=place == 0)
            for stream in self._choice.heard(sound):
                self.tracks[stream.index] = mixed.add(stream, self._origin)
        if want & {Modality.SPEECH, Modality.TEXT}:
            for number, stream in enumerate(self._container.streams.subtitles):
                if (name := codec_name(stream)) in allowlist.TEXT:
                    self.tracks[stream.index] = TextTrack(name, number, stream.language or "", self._origin)

    def _contents(self) -> Iterator[Decoded | Beat]:
        if not self.tracks:
            return
        beaten = time.monotonic() - _BEAT_SECONDS
        try:
            for packet in self._packets():
                track = self.tracks[packet.stream.index]
                if isinstance(track, TextTrack):
                    track.push(packet)
                else:
                    yield from track.push(packet)
                    if (now := time.monotonic()) - beaten >= _BEAT_SECONDS:
                        beaten = now
                        yield Beat(track.reached_seconds)
        except av.error.MemoryError:
            raise
        except (
            av.error.FFmpegError,
            ValueError,
            OSError,
        ) as exc:  # the container is broken here; what came before is good
            self._broken = getattr(exc, "strerror", None) or str(exc) or "broken"
        for track in self.tracks.values():
            if not isinstance(track, TextTrack):
                yield from track.finish()
            elif (text := track.finish()) is not None:
                yield text

    def _packets(self) -> Iterator[Any]:
        """Yield the packets of all tracks."""
        streams = [self._container.streams[index] for index in self.tracks]
        if self.pictures is not None and len(streams) == 1:
            return demuxed_pieces(self._container, self.pictures, self._video, self._origin)
        return demuxed(self._container, streams)

    def _started(self) -> float:
        """Return the time stamp in seconds that is the asset's time zero: where the file starts.

        Sound that was cut in the middle of a frame starts a little before the picture; then the picture counts.
        """
        start = (self._container.start_time or 0) / av.time_base
        if self._video is not None and self._video.start_time is not None:
            picture = float(self._video.start_time * self._video.time_base)
            if 0 <= picture - start < 0.1:
                return picture
        return float(start)

    def _facts(self) -> Facts:
        video, sound, container = self._video, self._sound, self._container
        width, height = (video.codec_context.width, video.codec_context.height) if video is not None else (0, 0)
        if self.pictures is not None and self.pictures.keeper.width:
            width, height = self.pictures.keeper.width, self.pictures.keeper.height
        metadata: dict[str, str] = {}
        for source in (sound, video, container):  # the later ones overwrite
            for key, text in (source.metadata if source is not None else {}).items():
                if key.lower() not in _DULL and (source is container or key.lower() != "language"):
                    metadata[key.lower()] = text
        if "creation_time" in metadata:
            metadata.setdefault("date", metadata.pop("creation_time"))
        return Facts(
            media=Media.AUDIO if video is None else Media.VIDEO,
            container=container.format.name.split(",")[0],
            duration_seconds=max(0.0, (container.duration or 0) / av.time_base),
            width=width,
            height=height,
            frames_per_second=float(video.average_rate or video.guessed_rate or 0) if video is not None else 0.0,
            video_codec=video.codec_context.codec.canonical_name if video is not None else "",
            audio_codec=sound.codec_context.codec.canonical_name if sound is not None else "",
            metadata=metadata,
            timecode="" if video is None else start_timecode(container, video, self._fd),
            audio_tracks=len(self._choice.sounds),
        )

    def _ending(self) -> Ending:
        decoded = [track for track in self.tracks.values() if not isinstance(track, TextTrack)]
        reached = max((track.reached_seconds for track in decoded), default=0.0)
        damage = damage_of(self._container, self.tracks, self._choice.n_streams, self._broken) or self._missing or None
        if self.pictures is None:
            return Ending(damage, reached)
        kept = self.pictures.keeper
        return Ending(damage, reached, kept.frames, kept.expected, kept.missing, self.pictures.sampled)
