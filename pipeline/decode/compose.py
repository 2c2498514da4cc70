"""Writes small films and sounds: still pictures under a slowly moving camera, over a sound track.

The other direction of this room, for `rushes demo` and for tests that need a real file of some codec. The same input
gives the same bytes with the same release of PyAV: encoders run with a fixed number of threads and stamp no dates.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Box = tuple[float, float, float, float]
"""Left, top, right, bottom as fractions of the picture, each in [0, 1]."""

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Still:
    """A picture on screen for a while, the camera moving evenly from one box of it to another."""

    pixels: NDArray[np.uint8]
    """uint8 [H, W, 3], RGB, any H and W; cropped around the middle of the box to the film's shape."""
    seconds: float
    start: Box = WHOLE
    stop: Box = WHOLE


@dataclass(frozen=True)
class Sound:
    """A sound track."""

    samples: NDArray[np.float32]
    """float32 [T], mono, in [-1, 1]."""
    rate_hz: int

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate_hz


@dataclass(frozen=True)
class Coding:
    """How a stream is encoded: FFmpeg's names for the encoder and its format, and the encoder's options."""

    encoder: str
    format: str
    options: tuple[tuple[str, str], ...] = ()


VIDEO = {
    "h264": Coding("libx264", "yuv420p", (("preset", "veryfast"), ("crf", "26"))),
    "h264-lossless": Coding("libx264", "yuv444p", (("preset", "ultrafast"), ("qp", "0"))),
    "hevc": Coding("libx265", "yuv420p", (("preset", "ultrafast"), ("crf", "27"), ("x265-params", "log-level=none"))),
    "hevc-10": Coding("libx265", "yuv420p10le", (("preset", "ultrafast"), ("x265-params", "log-level=none"))),
    "vp9": Coding("libvpx-vp9", "yuv420p", (("deadline", "realtime"), ("cpu-used", "8"), ("crf", "34"), ("b", "0"))),
    "av1": Coding("libsvtav1", "yuv420p", (("preset", "11"), ("crf", "40"), ("svtav1-params", "lp=1"))),
    "mpeg2": Coding("mpeg2video", "yuv420p", (("qscale", "5"),)),
    "mpeg4": Coding("mpeg4", "yuv420p", (("qscale", "5"),)),
    "prores": Coding("prores_ks", "yuv422p10le", (("profile", "0"),)),
}
"""Codecs of pictures that move."""

AUDIO = {
    "aac": Coding("aac", "fltp", (("b", "96000"),)),
    "opus": Coding("libopus", "s16", (("b", "48000"),)),
    "mp3": Coding("libmp3lame", "fltp", (("b", "96000"),)),
    "mp2": Coding("mp2", "s16"),
    "flac": Coding("flac", "s16"),
    "pcm": Coding("pcm_s16le", "s16"),
}
"""Codecs of sound."""

_RATES_HZ = {"libopus": (8000, 12000, 16000, 24000, 48000), "mp2": (16000, 22050, 24000, 32000, 44100, 48000)}
"""Where an encoder does not take every rate."""


def write_film(
    path: Path,
    stills: Sequence[Still],
    sound: Sound | None = None,
    *,
    video: str = "h264",
    audio: str = "aac",
    size: tuple[int, int] = (640, 360),
    frames_per_second: int = 25,
) -> None:
    """Write a film that shows the pictures one after the other, with a cut between them.

    Args:
        path: its suffix decides the container, which must take both codecs; the folder exists.
        stills: at least one.
        sound: cut where the pictures end; None: the film has no sound track.
        video: a key of VIDEO.
        audio: a key of AUDIO.
        size: width and height of the film in pixels, both even.
        frames_per_second: of the film; a still's time is rounded to whole frames.

    Raises:
        ValueError: a codec is not known, there is nothing to show, or the container takes no such codec.
        OSError: the file cannot be written.
    """
    if not stills:
        raise ValueError(f"A film needs at least one still, got none for {path.name}.")
    picture, voice = _coding(VIDEO, video), _coding(AUDIO, audio)
    with as_scheduled(), av.open(f"file:{path}", "w", options={"fflags": "+bitexact"}) as container:
        screen: Any = container.add_stream(picture.encoder, rate=frames_per_second, options=dict(picture.options))
        screen.width, screen.height = size
        screen.pix_fmt = picture.format
        _make_repeatable(screen)
        track = None if sound is None else _add_track(container, voice, sound.rate_hz)
        packets: list[Any] = []
        n_frames = 0
        for frame in _frames(stills, size, frames_per_second):
            frame.pts, frame.time_base = n_frames, Fraction(1, frames_per_second)
            packets += screen.encode(frame)
            n_frames += 1
        packets += screen.encode(None)
        if sound is not None:
            packets += _encode_sound(track, sound, until_seconds=n_frames / frames_per_second)
        for packet in sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)):
            container.mux(packet)  # in the order of time, or who reads the file in order holds one stream in memory


@contextmanager
def as_scheduled() -> Iterator[None]:
    """Give this thread back the scheduling that it came with.

    SVT-AV1, where it may, makes the thread that encodes a real-time one of the highest priority and leaves it so. All
    that it starts later inherits that: two of its threads that spin then keep everything else from the processor.
    """
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, priority)


def write_sound(path: Path, sound: Sound, *, audio: str = "flac", tags: dict[str, str] | None = None) -> None:
    """Write a sound file; the suffix decides the container, which must take the codec (a key of AUDIO).

    Raises:
        ValueError: the codec is not known, or the container does not take it.
        OSError: the file cannot be written.
    """
    with av.open(f"file:{path}", "w", options={"fflags": "+bitexact"}) as container:
        container.metadata.update(tags or {})
        track = _add_track(container, _coding(AUDIO, audio), sound.rate_hz)
        container.mux(_encode_sound(track, sound, until_seconds=sound.seconds))


def read_sound(path: Path, rate_hz: int) -> Sound:
    """Read a small sound file that is known to be good, as mono at the rate; for a stranger's file use the decoder."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
    with av.open(f"file:{path}") as container:
        parts = [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return Sound(np.concatenate(parts).astype(np.float32), rate_hz)


def _coding(codings: dict[str, Coding], name: str) -> Coding:
    if name not in codings:
        raise ValueError(f"{name!r} is no codec that can be written; choose one of {', '.join(codings)}.")
    return codings[name]


def _make_repeatable(stream: Any) -> None:
    stream.codec_context.thread_count = 2  # x264's choices depend on it, so it is the same on every machine
    stream.codec_context.flags |= 1 << 23  # AV_CODEC_FLAG_BITEXACT: no encoder version in the stream


def _frames(stills: Sequence[Still], size: tuple[int, int], frames_per_second: int) -> Iterator[Any]:
    for still in stills:
        picture = Image.fromarray(still.pixels)
        n_frames = max(1, round(still.seconds * frames_per_second))
        for i in range(n_frames):
            box = _view(still, i / max(1, n_frames - 1), picture.size, size)
            seen = picture.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
            yield av.VideoFrame.from_ndarray(np.asarray(seen), format="rgb24")


def _view(still: Still, done: float, picture: tuple[int, int], film: tuple[int, int]) -> Box:
    """Return what the camera sees, in the picture's pixels: the box after `done` in [0, 1], in the film's shape."""
    left, top, right, bottom = ((1 - done) * a + done * b for a, b in zip(still.start, still.stop, strict=True))
    width, height = (right - left) * picture[0], (bottom - top) * picture[1]
    middle_x, middle_y = (left + right) / 2 * picture[0], (top + bottom) / 2 * picture[1]
    width = min(width, height * film[0] / film[1])
    height = width * film[1] / film[0]
    return middle_x - width / 2, middle_y - height / 2, middle_x + width / 2, middle_y + height / 2


def _add_track(container: Any, coding: Coding, rate_hz: int) -> Any:
    allowed = _RATES_HZ.get(coding.encoder, (rate_hz,))
    rate = next((r for r in allowed if r >= rate_hz), allowed[-1])
    track = container.add_stream(coding.encoder, rate=rate, layout="mono", options=dict(coding.options))
    track.codec_context.format = coding.format
    _make_repeatable(track)
    return track


def _encode_sound(track: Any, sound: Sound, *, until_seconds: float) -> list[Any]:
    samples = sound.samples[: round(until_seconds * sound.rate_hz)]
    context = track.codec_context
    resampler = av.AudioResampler(format=context.format, layout=context.layout, rate=context.rate)
    whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="flt", layout="mono")
    whole.sample_rate, whole.pts, whole.time_base = sound.rate_hz, 0, Fraction(1, sound.rate_hz)
    frames = [*resampler.resample(whole), *resampler.resample(None), None]  # None: what the encoder still holds
    return [packet for frame in frames for packet in track.encode(frame)]
