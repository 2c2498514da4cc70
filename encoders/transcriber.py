"""What a speech reader asks of a Whisper model, whichever library runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from encoders.listening import Window
from encoders.utterances import Word

MULTILINGUAL_TOKENS = 51865
"""A Whisper with fewer has no languages in its vocabulary and knows English alone."""


@dataclass(frozen=True)
class Skills:
    """What a Whisper model was trained for."""

    languages: bool = True
    """It knows other languages than English."""
    translation: bool = True
    """It puts them into English."""

    @classmethod
    def of(cls, n_tokens: int, encoder_layers: int, decoder_layers: int) -> Skills:
        """Return the skills of a model of this shape.

        A decoder that is thinner than its encoder (turbo, Distil-Whisper) was cut down and then trained to write down
        alone: asked to translate, it writes down all the same.
        """
        languages = n_tokens >= MULTILINGUAL_TOKENS
        return cls(languages, languages and decoder_layers >= encoder_layers)

    @property
    def suffix(self) -> str:
        """What is missing, for the end of a name; empty: nothing."""
        return "" if self.translation else "-untranslated" if self.languages else "-english"


@dataclass(frozen=True)
class Written:
    """What a model wrote down for a window, and how sure it is of it."""

    tokens: list[int]
    text: str
    log_probability: float
    """The mean over its tokens."""
    silence_probability: float
    """That nothing is said at all."""


class Transcriber(Protocol):
    """A Whisper model with its weights; windows of a call are of one language."""

    windows_per_call: int

    def languages(self, sounds: Sequence[NDArray[np.float32]]) -> list[dict[str, float]]:
        """Return for each stretch of sound, float32 [T], the probability of each language by its code."""
        ...

    def encode(self, sounds: Sequence[NDArray[np.float32]], seconds: float) -> Any:
        """Return what the encoder makes of sounds, each float32 [T], filled with silence up to `seconds`."""
        ...

    def write(self, encoding: Any, windows: Sequence[Window], task: str, *, beam_size: int = 1) -> list[Written]:
        """Write down ("transcribe") or put into English ("translate") what is said in each window."""
        ...

    def timed(self, encoding: Any, windows: Sequence[Window], tokens: Sequence[Sequence[int]]) -> list[Word]:
        """Return when each word was said, given the tokens that were written for each window (maybe none)."""
        ...
