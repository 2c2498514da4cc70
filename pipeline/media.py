"""The values that the pipeline passes on: what an asset is, what a decoder hands over, what a moment is.

Times are seconds of the asset's own clock as floats; intervals are half-open, [start_seconds, stop_seconds).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from encoders.spec import Label


class Media(StrEnum):
    """What an asset is."""

    VIDEO = "video"
    AUDIO = "audio"
    IMAGE = "image"


class Modality(StrEnum):
    """In which way a moment was perceived."""

    VISUAL = "visual"
    AUDIO = "audio"
    SPEECH = "speech"
    TEXT = "text"
    SCENE = "scene"


class Outcome(StrEnum):
    """How an asset ended in the ledger."""

    INDEXED = "indexed"
    PARTIAL = "partial"
    QUARANTINED = "quarantined"
    SKIPPED = "skipped"
    DELETED = "deleted"
    FORGOTTEN = "forgotten"


class Mode(StrEnum):
    """How the frames of a film that are kept are chosen; see pipeline/decode/sampling.py."""

    AUTO = "auto"
    """One of the others, chosen for each file by how it is coded."""
    KEYFRAMES = "keyframes"
    SNAP = "snap"
    EXACT = "exact"
    SHOTS = "shots"


HIGHEST_RATE_HZ = 192_000
"""The highest sample rate that sound can be asked for."""


@dataclass(frozen=True)
class Sampling:
    """What the decoder keeps of a file. Part of the recipe: changing a field changes the moments."""

    size_px: int = 260
    """Shorter side of the frames that leave the decoder; unless rushes.toml says it, see `recipe.sampling_of`."""
    mode: Mode = Mode.AUTO
    interval_seconds: float = 1.0
    """Time between frames on the grid of `snap` and `exact`; the least that `shots` aims at."""
    tolerance_seconds: float = 0.5
    """`snap`: a key frame this close to a grid point stands for it."""
    smallest_gap_seconds: float = 0.5
    """`keyframes`: a key frame that follows a kept one sooner is dropped."""
    largest_gap_seconds: float = 10.0
    """`keyframes`: where key frames lie further apart, frames between them are decoded too."""
    frames_per_shot: int = 3
    """`shots`: how many frames of one shot, or of a part of a divided one, are aimed at; with `auto` the most."""
    longest_shot_seconds: float = 10.0
    """A longer shot is split into equal parts."""
    rates_hz: tuple[int, ...] = (16000,)
    """Sample rates of the mono sound that leaves the decoder, rising; the encoders decide, see `recipe.sampling_of`."""
    window_seconds: float = 10.0
    """Length of one audio moment."""
    chunk_seconds: float = 60.0
    """Media time after which the decoder hands over what it has."""

    def __post_init__(self) -> None:
        """Put the rates in order; they and the mode come out of JSON as a list and as a string."""
        rates = tuple(sorted(set(self.rates_hz)))
        if not rates or not all(type(rate) is int and 1000 <= rate <= HIGHEST_RATE_HZ for rate in rates):
            raise ValueError(f"rates_hz = {self.rates_hz} needs whole numbers from 1000 to {HIGHEST_RATE_HZ}.")
        object.__setattr__(self, "rates_hz", rates)
        object.__setattr__(self, "mode", Mode(self.mode))


@dataclass(frozen=True)
class Facts:
    """What the container says about a file, before anything of it is decoded."""

    media: Media
    container: str
    duration_seconds: float = 0.0
    """0 for pictures, and where the container does not say."""
    width: int = 0
    """As displayed: after rotation and sample aspect."""
    height: int = 0
    frames_per_second: float = 0.0
    video_codec: str = ""
    audio_codec: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Container, EXIF and ID3 tags, lower-case keys: title, artist, date, comment, timecode …"""
    timecode: str = ""
    """Time code of the first frame, `HH:MM:SS:FF`, with `;` before the frames for drop frame; empty: none is known."""
    audio_tracks: int = 0
    """How many tracks of sound are told apart: languages, commentaries, descriptions."""


@dataclass(frozen=True)
class Shot:
    """A run of frames without a cut, [start_seconds, stop_seconds); rows [first, last) of its chunk's frames."""

    start_seconds: float
    stop_seconds: float
    first: int
    last: int


@dataclass(frozen=True)
class FrameChunk:
    """Whole shots of one asset, or one still picture (its shot has zero length)."""

    pixels: NDArray[np.uint8]
    """uint8 [N, H, W, 3], RGB, upright, square pixels."""
    at_seconds: NDArray[np.float64]
    """float64 [N], presentation times, rising."""
    shots: tuple[Shot, ...]
    """In order, each with at least one frame."""


@dataclass(frozen=True)
class SoundChunk:
    """A stretch of one track of an asset's sound. Each stretch comes once at each of `Sampling.rates_hz`."""

    samples: NDArray[np.float32]
    """float32 [T], mono, in [-1, 1]."""
    start_seconds: float
    rate_hz: int
    track: str = "a:0"
    """`a:` and the number of its stream, or of its first one, among the file's audio streams."""
    main: bool = True
    """Whether it is the track that a player plays, and not another language, a commentary or a description."""


@dataclass(frozen=True)
class Line:
    """One timed line of a transcript that came with the file."""

    start_seconds: float
    stop_seconds: float
    text: str


@dataclass(frozen=True)
class Transcript:
    """Timed words that came with a file: a sidecar, or an embedded text track."""

    track: str
    """`sidecar:NAME.srt` or `s:0`."""
    lines: tuple[Line, ...]
    language: str = ""


@dataclass(frozen=True)
class Ending:
    """The last thing a decoder says about a file."""

    damage: str | None = None
    """None: everything was decoded. Otherwise the reason why it ended early, such as `truncated_at:12.5`."""
    decoded_seconds: float = 0.0
    frames_decoded: int = 0
    frames_expected: int = 0
    """How many the plan of the pictures said would be kept; 0 where nothing was planned."""
    frames_missing: int = 0
    """How many of those did not come out of the decoder."""
    sampled: str = ""
    """How the pictures were sampled, and why: the mode, a colon, the reason."""


Decoded = Facts | FrameChunk | SoundChunk | Transcript | Ending
"""What a decoder yields for one file: Facts first, Ending last, the rest between them in the order of decoding."""


@dataclass(frozen=True)
class Moment:
    """One searchable interval of one asset in one modality. A still picture is one moment of zero length."""

    asset_id: str
    modality: Modality
    track: str
    """Which stream or reader it came from: `v:0`, `clip:0`, `a:0`, `speech`, `speech:a:1`, `translation:en`,
    `sidecar:show.srt`, `title`, `caption`, `ocr`."""
    start_seconds: float
    stop_seconds: float
    space: str
    vector: NDArray[np.float32]
    """float32 [dim], unit norm."""
    text: str = ""
    language: str = ""
    labels: tuple[Label, ...] = ()
    thumb: bytes = field(default=b"", repr=False)
    """A small WebP picture, or nothing."""

    def __post_init__(self) -> None:
        if not 0 <= self.start_seconds <= self.stop_seconds:
            raise ValueError(f"Moment needs 0 <= start <= stop, got {self.start_seconds = }, {self.stop_seconds = }.")

    @property
    def moment_id(self) -> int:
        """Return a stable 63-bit id: the hash of asset, modality, track, start and stop (to the millisecond).

        At 10^8 moments the probability that any two share an id is about 5e-4.
        """
        start_ms, stop_ms = round(self.start_seconds * 1000), round(self.stop_seconds * 1000)
        key = f"{self.asset_id}:{self.modality}:{self.track}:{start_ms}:{stop_ms}".encode()
        return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) >> 1  # FAISS ids are signed
