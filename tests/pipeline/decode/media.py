"""Small media with known content, made with PyAV: what the tests of the decoder decode."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

from pipeline.decode.compose import as_scheduled

TICKS = 90_000
"""Time base of what is written, unless the container has its own."""


def slide(number: int, width: int = 160, height: int = 90, *, moved: int = 0) -> np.ndarray:
    """Return uint8 [H, W, 3]: a textured picture of its own, on a ground of nearly the same colour as the others'.

    Args:
        number: which picture.
        width: of it.
        height: of it.
        moved: pixels by which it stands to the right of its place.
    """
    ground = np.array([(216, 208, 192), (192, 208, 216), (208, 216, 192)][number % 3], np.uint8)
    frame = np.broadcast_to(ground, (height, width, 3)).copy()
    blocks = np.random.default_rng(number).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    picture = blocks.repeat(max(1, height // 8), 0).repeat(max(1, width // 12), 1)
    top, left = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2 + moved
    frame[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return frame


def slides(count: int, each: int) -> list[np.ndarray]:
    """Return the frames of a show: `count` pictures, each for `each` frames, moving slowly."""
    return [slide(n, moved=round(3 * np.sin(k / 25))) for n in range(count) for k in range(each)]


def flat(red: int, green: int, blue: int, width: int = 160, height: int = 90) -> np.ndarray:
    """Return uint8 [H, W, 3] of one colour."""
    return np.broadcast_to(np.array((red, green, blue), np.uint8), (height, width, 3)).copy()


def tone(seconds: float, rate_hz: int = 16000, hertz: float = 440.0, *, channels: int = 1) -> np.ndarray:
    """Return float32 [channels, T]: a sine at half of full level."""
    at = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.tile(0.5 * np.sin(2 * np.pi * hertz * at), (channels, 1)).astype(np.float32)


def write_film(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    rate: int = 25,
    at_seconds: Sequence[float] | None = None,
    start_seconds: float = 0.0,
    sound: np.ndarray | None = None,
    sound_codec: str = "aac",
    sound_hz: int = 16000,
    sound_start_seconds: float = 0.0,
    pix_fmt: str = "yuv420p",
    aspect: Fraction | None = None,
    rotate: int = 0,
    lines: Sequence[tuple[float, float, str]] = (),
    text_codec: str = "mov_text",
    language: str = "eng",
    tags: dict[str, str] | None = None,
    prepare: Callable[[av.container.OutputContainer], None] | None = None,
    muxing: dict[str, str] | None = None,
) -> Path:
    """Write a film and return its path; the suffix decides the container.

    Args:
        path: of the film.
        frames: uint8 [H, W, 3] each.
        codec: of the pictures.
        options: of the encoder.
        rate: frames a second.
        at_seconds: presentation times; None: evenly spaced.
        start_seconds: time stamp of the first frame.
        sound: float32 [channels, T], or None.
        sound_codec: of the sound.
        sound_hz: its rate.
        sound_start_seconds: time stamp of its first sample.
        pix_fmt: of the coded frames.
        aspect: of a pixel.
        rotate: degrees, counter-clockwise, by which a player turns the frames.
        lines: subtitles: start, stop and text, packed as they are.
        text_codec: of the subtitles.
        language: of the subtitles.
        tags: of the container.
        prepare: called with the container before anything is written.
        muxing: options of the container.
    """
    with as_scheduled(), av.open(str(path), "w", options=muxing or {}) as out:
        out.metadata.update(tags or {})
        video = out.add_stream(codec, rate=rate, options=options or {})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = pix_fmt
        video.codec_context.thread_count = 1
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
        if at_seconds is not None:
            video.codec_context.time_base = video.time_base = Fraction(1, TICKS)
        if rotate:
            video.set_display_rotation(rotate)
        audio = _sound_stream(out, sound_codec, sound_hz, sound) if sound is not None else None
        text = out.add_stream(text_codec) if lines else None
        if text is not None:
            text.metadata["language"] = language
            text.codec_context.subtitle_header = b""
        if prepare:
            prepare(out)
        packets = list(_encoded_frames(video, frames, rate, at_seconds, start_seconds))
        if audio is not None:
            packets += encoded_sound(audio, sound, sound_hz, sound_start_seconds)
        if text is not None:
            packets += [_text_packet(text, text_codec, *line) for line in lines]
        for packet in sorted(packets, key=lambda p: float((p.dts if p.dts is not None else p.pts) * p.time_base)):
            out.mux(packet)
    return path


def write_sound(path: Path, sound: np.ndarray, codec: str, rate_hz: int = 16000, tags: dict[str, str] | None = None
                ) -> Path:  # fmt: skip
    """Write float32 [channels, T] as a sound file and return its path."""
    with av.open(str(path), "w") as out:
        out.metadata.update(tags or {})
        stream = _sound_stream(out, codec, rate_hz, sound)
        for packet in encoded_sound(stream, sound, rate_hz, 0.0):
            out.mux(packet)
    return path


@dataclass(frozen=True)
class Heard:
    """One audio stream of a file."""

    sound: np.ndarray
    """float32 [channels, T]."""
    codec: str = "pcm_s16le"
    rate_hz: int = 48000
    language: str = ""
    flags: Disposition | None = None
    """None: as the container does it."""
    title: str = ""
    layout: str = ""
    start_seconds: float = 0.0


def write_tracks(path: Path, streams: Sequence[Heard], frames: Sequence[np.ndarray] = (), rate: int = 25) -> Path:
    """Write a file with several audio streams, and pictures where there are any; return its path."""
    with av.open(str(path), "w") as out:
        packets = []
        if frames:
            video = out.add_stream("mpeg2video", rate=rate)
            video.height, video.width = frames[0].shape[:2]
            video.pix_fmt, video.codec_context.thread_count = "yuv420p", 1
        heard = [(out.add_stream(h.codec, rate=h.rate_hz, layout=_layout(h.sound, h.layout)), h) for h in streams]
        for stream, h in heard:
            for key, text in (("language", h.language), ("title", h.title)):
                if text:
                    stream.metadata[key] = text
            if h.flags is not None:
                stream.disposition = h.flags
        if frames:
            packets += list(_encoded_frames(video, frames, rate, None, 0.0))
        for stream, h in heard:
            packets += encoded_sound(stream, h.sound, h.rate_hz, h.start_seconds, h.layout)
        for packet in sorted(packets, key=lambda p: float((p.dts if p.dts is not None else p.pts) * p.time_base)):
            out.mux(packet)
    return path


def _layout(sound: np.ndarray, layout: str = "") -> str:
    return layout or ("mono" if len(sound) == 1 else "stereo")


def encoded_sound(stream, sound: np.ndarray, rate_hz: int, start_seconds: float, layout: str = "") -> list:
    """Return the packets of a sound."""
    layout = _layout(sound, layout)
    whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.T.reshape(1, -1)), format="flt", layout=layout)
    whole.sample_rate, whole.time_base, whole.pts = rate_hz, Fraction(1, rate_hz), round(start_seconds * rate_hz)
    context = stream.codec_context
    size = context.frame_size or 1024
    resampler = av.AudioResampler(context.format, context.layout, context.rate, frame_size=size)
    made = [*resampler.resample(whole), *resampler.resample(None), None]
    return [packet for frame in made for packet in stream.encode(frame)]


def _sound_stream(out, codec: str, rate_hz: int, sound: np.ndarray):
    rate = rate_hz if codec not in ("libopus", "mp2") or rate_hz in (16000, 48000) else 48000
    options = {"vorbis": {"strict": "experimental"}, "wmav1": {"b": "64k"}, "wmav2": {"b": "64k"}}.get(codec, {})
    return out.add_stream(codec, rate=rate, layout="mono" if len(sound) == 1 else "stereo", options=options)


def _encoded_frames(video, frames, rate, at_seconds, start_seconds) -> Iterable:
    for i, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        at = start_seconds + (i / rate if at_seconds is None else at_seconds[i])
        frame.time_base = Fraction(1, rate) if at_seconds is None else Fraction(1, TICKS)
        frame.pts = round(at / frame.time_base)
        yield from video.encode(frame)
    yield from video.encode(None)


def _text_packet(stream, codec: str, start: float, stop: float, text: str):
    data = text.encode()
    packet = av.Packet(len(data).to_bytes(2) + data if codec == "mov_text" else data)
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = round(start * 1000)
    packet.duration = round((stop - start) * 1000)
    return packet


def children_of(pid: int) -> list[int]:
    """Return the processes that are children of one."""
    return [int(n) for t in Path(f"/proc/{pid}/task").iterdir() for n in (t / "children").read_text().split()]
