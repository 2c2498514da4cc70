"""The two guides that say what sounds are like: of nature, people and things in numbers, of music in tags.

Both are tables of text beside this file, to be read and extended by people. Nothing in them was fitted to recordings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from encoders.acoustics import Description

_SHORTEST_SECONDS, _LOWEST_RATE = 0.02, 0.2  # below which lengths and rates do not tell kinds apart
_TONALITY_SPREAD = 0.3
_CALL_SPREAD_OCTAVES = 1.2


@dataclass(frozen=True)
class Kind:
    """A kind of sound in the field guide: who makes it, and what is known of it."""

    label: str
    words: tuple[str, ...]
    lowest_hz: float
    highest_hz: float
    tonality: float
    call_seconds: float
    calls_per_second: float


@dataclass(frozen=True)
class Style:
    """A label for music, and the tags that speak for it: "t:piano" of MagnaTagATune, "s:jazz" of the other network."""

    label: str
    words: tuple[str, ...]
    tags: tuple[str, ...]


def log_likelihood(kind: Kind, sound: Description) -> float:
    """Return how well a sound fits a kind, as the logarithm of a likelihood, up to a constant.

    Pitch, lengths and rates are compared by their ratio, since they vary so: a calf's call is to a cow's as a kitten's
    to a cat's.
    """
    lowest, highest, middle = np.log2((kind.lowest_hz, kind.highest_hz, max(sound.middle_hz, 20.0)))
    spread = np.hypot(0.35 * (highest - lowest), 0.3)  # octaves; the range holds two thirds of a kind's sounds
    misses = (
        (middle - (lowest + highest) / 2) / spread,
        (sound.tonality - kind.tonality) / _TONALITY_SPREAD,
        _octaves(sound.call_seconds, kind.call_seconds, _SHORTEST_SECONDS) / _CALL_SPREAD_OCTAVES,
        _octaves(sound.calls_per_second, kind.calls_per_second, _LOWEST_RATE) / _CALL_SPREAD_OCTAVES,
    )
    return float(-0.5 * np.square(misses).sum() - np.log(spread))


@cache
def read_field_guide() -> tuple[Kind, ...]:
    """Read the kinds of sound that are neither speech nor music."""
    rows = _rows("field_guide.txt", 7)
    return tuple(Kind(label, _words(words), *map(float, numbers)) for label, words, *numbers in rows)


@cache
def read_music_guide() -> tuple[Style, ...]:
    """Read the labels for music."""
    rows = _rows("music_guide.txt", 3)
    return tuple(
        Style(label, _words(words), tuple(tag.replace("_", " ") for tag in tags.split())) for label, words, tags in rows
    )


def _octaves(value: float, expected: float, least: float) -> float:
    return float(np.log2((value + least) / (expected + least)))


def _words(words: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(","))


def _rows(name: str, n_columns: int) -> Iterator[list[str]]:
    for line in Path(__file__).with_name(name).read_text("utf8").splitlines():
        if line and not line.startswith("#"):
            row = [cell.strip() for cell in line.split("|")]
            if len(row) != n_columns:
                raise ValueError(
                    f"{name} has a line with {len(row)} of {n_columns} cells: {line!r}; add what is missing."
                )
            yield row
