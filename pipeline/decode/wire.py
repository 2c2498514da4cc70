"""How a child answers: a length, a JSON header, and raw arrays. Nothing is unpickled, and everything is checked.

The child reads hostile bytes, so its answer may be hostile too: whatever a header claims is compared with bounds
before a byte of what it announces is read, and every value is made anew from plain numbers and strings.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import numpy as np

from pipeline.decode import timecode
from pipeline.decode.plans import Plan, Range
from pipeline.errors import MediaError
from pipeline.media import (
    HIGHEST_RATE_HZ,
    Decoded,
    Ending,
    Facts,
    FrameChunk,
    Line,
    Media,
    Mode,
    Shot,
    SoundChunk,
    Transcript,
)

HEADER_BYTES_MOST = 32 * 2**20
ARRAY_BYTES_MOST = 2**30
_SECONDS_MOST = 1e9
_TAGS_MOST, _TAG_CHARACTERS_MOST = 256, 20_000
_REASON = re.compile(r"[a-z_]{1,40}(:[A-Za-z0-9_.+-]{1,80})?")
_TRACK = re.compile(r"a:\d{1,4}")
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True)
class Beat:
    """The child is getting on; it is at this time of the file."""

    at_seconds: float


@dataclass(frozen=True)
class Refusal:
    """The child could not go on, and says why."""

    reason: str
    detail: str


Message = Decoded | Beat | Refusal | Plan


def write(file: BinaryIO, message: Message) -> None:
    """Write one message; blocks while the reader is busy, so that a child never runs ahead of who reads it."""
    header: dict[str, Any]
    arrays: list[np.ndarray[Any, Any]] = []
    match message:
        case FrameChunk():
            shots = [[s.start_seconds, s.stop_seconds, s.first, s.last] for s in message.shots]
            header = {"shape": message.pixels.shape, "at_seconds": message.at_seconds.tolist(), "shots": shots}
            arrays.append(np.ascontiguousarray(message.pixels, np.uint8))
        case SoundChunk():
            header = {"length": len(message.samples), "start_seconds": message.start_seconds}
            header |= {"rate_hz": message.rate_hz, "track": message.track, "main": message.main}
            arrays.append(np.ascontiguousarray(message.samples, "<f4"))
        case Transcript():
            lines = [[line.start_seconds, line.stop_seconds, line.text] for line in message.lines]
            header = {"track": message.track, "language": message.language, "lines": lines}
        case Facts():
            header = asdict(message)
            metadata = list(message.metadata.items())[:_TAGS_MOST]
            for key in ("duration_seconds", "frames_per_second"):  # headers may say anything: then they say nothing
                header[key] = header[key] if 0 <= header[key] <= _SECONDS_MOST else 0.0
            header["metadata"] = {key[:100]: text[:_TAG_CHARACTERS_MOST] for key, text in metadata}
        case Plan():
            header = {**asdict(message), "at_seconds": message.at_seconds.tolist()}
            header["ranges"] = [[r.start_seconds, r.stop_seconds, r.n_decoded, r.n_packets] for r in message.ranges]
        case Refusal():
            header = {"reason": message.reason, "detail": message.detail[:1000]}
        case _:
            header = asdict(message)
    encoded = json.dumps({"is": type(message).__name__, **header}).encode("ascii")
    file.write(_LENGTH.pack(len(encoded)) + encoded)
    for array in arrays:
        file.write(array.reshape(-1).view(np.uint8).data)
    file.flush()


def read(read_into: Callable[[memoryview], None]) -> Message:
    """Read one message.

    Args:
        read_into: fills a writable buffer completely, or raises.

    Raises:
        MediaError: `protocol`: what came is none of our messages.
    """
    prefix = bytearray(_LENGTH.size)
    read_into(memoryview(prefix))
    (length,) = _LENGTH.unpack(prefix)
    if length > HEADER_BYTES_MOST:
        raise MediaError("protocol", f"a header of {length} bytes was announced")
    body = bytearray(length)
    read_into(memoryview(body))
    try:
        header = json.loads(body)
        return _READERS[header["is"]](header, read_into)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as exc:
        raise MediaError("protocol", f"{type(exc).__name__}: {exc}"[:200]) from exc


def _frames(header: Any, read_into: Callable[[memoryview], None]) -> FrameChunk:
    n, height, width, channels = (_whole(side, 2**20) for side in header["shape"])
    if channels != 3 or not n or not height or not width or n * height * width * 3 > ARRAY_BYTES_MOST:
        raise ValueError(f"frames of shape {header['shape']}")
    at_seconds = np.array([_seconds(at) for at in header["at_seconds"]], np.float64)
    if len(at_seconds) != n or (np.diff(at_seconds) < 0).any():
        raise ValueError("times that do not fit the frames")
    shots = tuple(
        Shot(_seconds(start), _seconds(stop), _whole(first, n), _whole(last, n))
        for start, stop, first, last in header["shots"]
    )
    firsts, lasts = [shot.first for shot in shots], [shot.last for shot in shots]
    if firsts != [0, *lasts[:-1]] or lasts[-1:] != [n] or any(s.last <= s.first for s in shots):
        raise ValueError("shots that do not fit the frames")
    if any(shot.stop_seconds < shot.start_seconds for shot in shots):
        raise ValueError("a shot that ends before it starts")
    pixels = np.empty((n, height, width, 3), np.uint8)
    read_into(pixels.reshape(-1).data)
    return FrameChunk(pixels, at_seconds, shots)


def _sound(header: Any, read_into: Callable[[memoryview], None]) -> SoundChunk:
    samples = np.empty(_whole(header["length"], ARRAY_BYTES_MOST // 4), "<f4")
    start_seconds, rate_hz = _seconds(header["start_seconds"]), _whole(header["rate_hz"], HIGHEST_RATE_HZ)
    track, main = _text(header["track"], 10), header["main"]
    if not rate_hz or not _TRACK.fullmatch(track) or type(main) is not bool:
        raise ValueError(f"sound of track {track!r} at {rate_hz} Hz")
    read_into(samples.view(np.uint8).data)
    if not (np.abs(samples) <= 1).all():
        raise ValueError("samples outside [-1, 1]")
    return SoundChunk(samples, start_seconds, rate_hz, track, main)


def _transcript(header: Any, _: Any) -> Transcript:
    lines = tuple(Line(_seconds(a), max(_seconds(a), _seconds(b)), _text(text)) for a, b, text in header["lines"])
    return Transcript(_text(header["track"], 40), lines, _text(header["language"], 40))


def _facts(header: Any, _: Any) -> Facts:
    metadata = {_text(key, 100): _text(text) for key, text in header["metadata"].items()}
    if len(metadata) > _TAGS_MOST:
        raise ValueError(f"{len(metadata)} tags")
    start = _text(header["timecode"], 20)
    if start != timecode.normal(start):
        raise ValueError(f"the time code {start!r}")
    return Facts(
        Media(header["media"]), _text(header["container"], 40), _seconds(header["duration_seconds"]),
        _whole(header["width"], 2**24), _whole(header["height"], 2**24), _seconds(header["frames_per_second"]),
        _text(header["video_codec"], 40), _text(header["audio_codec"], 40), metadata,
        start, _whole(header["audio_tracks"], 64),
    )  # fmt: skip


def _ending(header: Any, _: Any) -> Ending:
    damage = header["damage"]
    return Ending(
        None if damage is None else _reason(damage),
        _seconds(header["decoded_seconds"]),
        _whole(header["frames_decoded"], 2**53),
        _whole(header["frames_expected"], 2**53),
        _whole(header["frames_missing"], 2**53),
        _text(header["sampled"], 200),
    )


def _plan(header: Any, _: Any) -> Plan:
    return Plan(
        Mode(header["mode"]),
        _text(header["reason"]),
        np.array([_seconds(at) for at in header["at_seconds"]], np.float64),
        tuple(
            Range(_seconds(start), _seconds(stop), _whole(n, 2**53), _whole(of, 2**53))
            for start, stop, n, of in header["ranges"]
        ),
        tuple(_seconds(start) for start in header["starts"]),
        _whole(header["n_packets"], 2**53),
        _whole(header["n_bytes"], 2**63),
        _whole(header["n_bytes_decoded"], 2**63),
    )


_READERS: dict[str, Callable[[Any, Any], Message]] = {
    "FrameChunk": _frames,
    "SoundChunk": _sound,
    "Transcript": _transcript,
    "Facts": _facts,
    "Ending": _ending,
    "Plan": _plan,
    "Beat": lambda header, _: Beat(_seconds(header["at_seconds"])),
    "Refusal": lambda header, _: Refusal(_reason(header["reason"]), _text(header["detail"])),
}


def _whole(value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{value!r} is no number from 0 to {most}")
    return value


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value <= _SECONDS_MOST:
        raise ValueError(f"{value!r} is no time")
    return float(value)


def _text(value: Any, most: int = _TAG_CHARACTERS_MOST) -> str:
    if type(value) is not str or len(value) > most:
        raise ValueError("no text, or too long a one")
    return value.encode("utf-8", "replace").decode("utf-8")  # no lone surrogates: they cannot be written anywhere


def _reason(value: Any) -> str:
    if type(value) is not str or not _REASON.fullmatch(value):
        raise ValueError("no reason")
    return value
