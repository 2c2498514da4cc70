"""Four short pieces of sound for the demo, made with a little arithmetic: plucked strings, drums, an organ, birds.

Each is float32 [T], mono, in [-1, 1], at RATE_HZ; the same numbers on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 44100

Samples = NDArray[np.float32]

Note = tuple[float, float]
"""Key (0 is A at 220 Hz, one step is a semitone) and length in beats."""

LULLABY: tuple[Note, ...] = (
    (0, 1), (4, 1), (7, 1), (12, 1), (11, 1), (7, 1), (4, 2), (5, 1), (9, 1), (12, 1), (9, 1), (7, 2), (4, 2),
    (2, 1), (5, 1), (9, 1), (5, 1), (4, 1), (7, 1), (12, 2), (11, 1), (7, 1), (2, 1), (4, 1), (0, 4),
)  # fmt: skip
ROUND: tuple[Note, ...] = (
    (7, 1), (9, 1), (11, 1), (7, 1), (12, 2), (7, 2), (5, 1), (7, 1), (9, 1), (5, 1), (7, 2), (4, 2),
    (4, 1), (5, 1), (7, 1), (4, 1), (2, 1), (4, 1), (5, 2), (4, 1), (2, 1), (0, 2),
)  # fmt: skip


def plucked_strings(melody: Sequence[Note], *, beat_seconds: float = 0.4, seed: int = 1) -> Samples:
    """Play a melody on a plucked string with a low string under every second note (Karplus and Strong, 1983)."""
    rng = np.random.default_rng(seed)
    beats = np.cumsum([0.0, *(length for _, length in melody)])
    piece = np.zeros(round((beats[-1] * beat_seconds + 2) * RATE_HZ))
    for i, ((key, _), at) in enumerate(zip(melody, beats[:-1], strict=True)):
        _add(piece, _pluck(rng, key, 2.0), at * beat_seconds)
        if i % 2 == 0:
            _add(piece, 0.7 * _pluck(rng, key - 12, 2.5), at * beat_seconds)
    return _finished(piece)


def drum_loop(*, bars: int = 6, beat_seconds: float = 0.5, seed: int = 2) -> Samples:
    """Play bass drum, snare and hi-hat in four-four time."""
    rng = np.random.default_rng(seed)
    piece = np.zeros(round((bars * 4 * beat_seconds + 0.5) * RATE_HZ))
    for eighth in range(bars * 8):
        at = eighth * beat_seconds / 2
        _add(piece, 0.25 * _hiss(rng, 0.08, 60), at)
        if eighth % 8 in (0, 3, 4):
            _add(piece, _bass_drum(), at)
        if eighth % 8 in (2, 6):
            _add(piece, 0.6 * _hiss(rng, 0.25, 18) + 0.4 * _tone(190, 0.25) * np.exp(-20 * _clock(0.25)), at)
    return _finished(piece)


def organ_chords(*, seconds: float, chord_seconds: float = 3.0) -> Samples:
    """Hold soft chords of summed partials, each swelling and fading into the next."""
    piece = np.zeros(round((seconds + chord_seconds) * RATE_HZ))
    chords = ((-12, 0, 4, 7), (-8, -3, 0, 4), (-7, 0, 5, 9), (-5, -1, 2, 7))
    swell = np.sin(np.pi * np.linspace(0, 1, len(_clock(1.4 * chord_seconds)))) ** 0.7
    for i in range(int(np.ceil(seconds / chord_seconds))):
        sound = sum(
            _tone(_hertz(key) * partial, 1.4 * chord_seconds) / partial**1.5
            for key in chords[i % len(chords)]
            for partial in (1, 2, 3, 4, 6)
        )
        _add(piece, sound * swell, i * chord_seconds)
    return _finished(piece[: round(seconds * RATE_HZ)])


def birdsong(*, seconds: float = 14.0, seed: int = 4) -> Samples:
    """Let two birds chirp: short whistles that glide up and down, in groups, over a breath of wind."""
    rng = np.random.default_rng(seed)
    piece = np.zeros(round((seconds + 2) * RATE_HZ))
    wind = np.cumsum(rng.standard_normal(len(piece)))
    _add(piece, 0.02 * np.diff(wind, prepend=0.0), 0.0)
    at = 0.4
    while at < seconds - 1:
        low = rng.choice([2400.0, 3600.0])
        for _ in range(rng.integers(3, 7)):
            _add(piece, _whistle(low, low * rng.uniform(1.1, 1.5), rng.uniform(0.06, 0.14)), at)
            at += rng.uniform(0.12, 0.2)
        at += rng.uniform(0.4, 1.1)
    return _finished(piece[: round(seconds * RATE_HZ)])


def _pluck(rng: np.random.Generator, key: float, seconds: float) -> NDArray[np.float64]:
    period = round(RATE_HZ / _hertz(key))
    string = rng.uniform(-1, 1, period)
    string = (string + np.roll(string, 1) + np.roll(string, 2)) / 3  # a soft finger
    turns = []
    for _ in range(int(seconds * RATE_HZ / period)):
        turns.append(string)
        string = 0.498 * (string + np.roll(string, 1))
    return np.concatenate(turns)


def _bass_drum() -> NDArray[np.float64]:
    t = _clock(0.3)
    falling: NDArray[np.float64] = np.sin(2 * np.pi * (50 * t + 60 * (1 - np.exp(-25 * t)) / 25))
    return falling * np.exp(-12 * t)


def _hiss(rng: np.random.Generator, seconds: float, decay: float) -> NDArray[np.float64]:
    t = _clock(seconds)
    noise: NDArray[np.float64] = np.diff(rng.standard_normal(len(t) + 1)) / 2
    return noise * np.exp(-decay * t)


def _whistle(from_hz: float, to_hz: float, seconds: float) -> NDArray[np.float64]:
    t = _clock(seconds)
    pitch = from_hz + (to_hz - from_hz) * np.sin(np.pi * t / seconds)
    glide: NDArray[np.float64] = np.sin(2 * np.pi * np.cumsum(pitch) / RATE_HZ)
    swell: NDArray[np.float64] = np.sin(np.pi * t / seconds)
    return glide * swell * swell


def _tone(hertz: float, seconds: float) -> NDArray[np.float64]:
    return np.sin(2 * np.pi * hertz * _clock(seconds))


def _hertz(key: float) -> float:
    return float(220.0 * 2.0 ** (key / 12))


def _clock(seconds: float) -> NDArray[np.float64]:
    return np.arange(round(seconds * RATE_HZ)) / RATE_HZ


def _add(piece: NDArray[np.float64], sound: NDArray[np.float64], at_seconds: float) -> None:
    first = round(at_seconds * RATE_HZ)
    sound = sound[: max(0, len(piece) - first)]
    piece[first : first + len(sound)] += sound


def _finished(piece: NDArray[np.float64]) -> Samples:
    edge = min(len(piece) // 2, RATE_HZ // 20)
    piece[:edge] *= np.linspace(0, 1, edge)
    piece[-edge:] *= np.linspace(1, 0, edge)
    return np.asarray(0.7 * piece / np.abs(piece).max(), np.float32)
