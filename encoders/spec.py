"""What an encoder and a reader are: one-method protocols, and the values that they exchange.

An encoder maps frames, clips, sound or words to unit vectors of one space. A reader maps sound or frames to text, which
a text encoder then encodes. Two vectors may be compared only if their `space` is equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""float32 [N, dim], each row of unit norm."""


@dataclass(frozen=True)
class EncoderSpec:
    """What a caller must know of an encoder before it gives it something."""

    name: str
    """What `encoders.load` was asked for: "labels", "sentence", "music"."""
    space: str
    """Names model, weights hash, preprocessing and dimension; equal spaces compare, others never."""
    dim: int
    size_px: int | None = None
    """The shorter side of the frames that the encoder wants; None: it takes no frames."""
    rate_hz: int | None = None
    """The sample rate of the sound that the encoder wants; None: it takes no sound."""
    n_frames: int | None = None
    """How many frames of a clip the encoder looks at; None: it takes no clips."""


@dataclass(frozen=True)
class Label:
    """A word for what is in a moment, with the model's probability in [0, 1]."""

    name: str
    score: float


@dataclass(frozen=True)
class Encoded:
    """Vectors of N items, and for each the labels that came out of the same pass, best first (maybe none)."""

    vectors: Vectors
    labels: tuple[tuple[Label, ...], ...]


@dataclass(frozen=True)
class Utterance:
    """One sentence that was said, in the half-open interval [start_seconds, stop_seconds) of the sound read."""

    start_seconds: float
    stop_seconds: float
    text: str
    language: str
    """ISO 639-1 code of `text`."""
    track: str = "speech"
    """"speech": the words as said; "translation:en": the same interval put into English."""


@runtime_checkable
class FrameEncoder(Protocol):
    """Frames into a space."""

    spec: EncoderSpec

    def encode_frames(self, frames: NDArray[np.uint8]) -> Encoded:
        """Encode frames, uint8 [N, H, W, 3], RGB, any H and W; normalised here as the model wants it."""
        ...


@runtime_checkable
class ClipEncoder(Protocol):
    """Clips, which are frames of one shot in the order of time, into a space that knows motion."""

    spec: EncoderSpec

    def encode_clips(self, clips: Sequence[NDArray[np.uint8]]) -> Encoded:
        """Encode clips, each uint8 [T, H, W, 3], RGB, any T at least 1, any H and W; one vector for each clip."""
        ...


@runtime_checkable
class SoundEncoder(Protocol):
    """Sound into a space."""

    spec: EncoderSpec

    def encode_sound(self, windows: Sequence[NDArray[np.float32]]) -> Encoded:
        """Encode stretches of mono sound, each float32 [T], in [-1, 1], at `spec.rate_hz`, of any length."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """Words into a space: a space of their own, or one that frames or sound share."""

    spec: EncoderSpec

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode N texts; float32 [N, dim], each row of unit norm."""
        ...


@runtime_checkable
class QueryEncoder(Protocol):
    """Words that somebody searches with, where the model wants them otherwise than the words that are found.

    What has this beside `encode_texts` is asked here with questions; what has not takes them as texts.
    """

    spec: EncoderSpec

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode N questions; float32 [N, dim], each row of unit norm, of the space of `encode_texts`."""
        ...


class SpeechReader(Protocol):
    """Sound into sentences with their times."""

    name: str
    """Names model, weights hash and settings: it is part of the recipe."""
    rate_hz: int

    def read(self, samples: NDArray[np.float32]) -> list[Utterance]:
        """Return what is said in mono sound, float32 [T], in [-1, 1], at `rate_hz`; times are relative to its start."""
        ...


class FrameReader(Protocol):
    """Frames into words: what is written in them, or a sentence about what they show."""

    name: str
    """Names model, weights hash and settings: it is part of the recipe."""
    track: str
    """Of the moments that it makes: "caption" or "ocr"."""
    size_px: int
    """The shorter side of the frames that it wants."""

    def read_frames(self, frames: NDArray[np.uint8]) -> list[str]:
        """Return a text for each frame of uint8 [N, H, W, 3], RGB; empty where there is nothing to say."""
        ...
