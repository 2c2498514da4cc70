"""What can be measured of a sound without having learnt anything: level, pitch, tonality, calls, held tones, timbre."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.floating]

RATE_HZ = 16000
N_BANDS = 32
_HOP = 160  # 10 ms
_SHORT, _MIDDLE, _LONG = 512, 1024, 2048
_TONALITY_FRAMES = 200  # at most about so many are looked at: enough for a median
_LOWEST_HZ = 40.0  # below lie rumble and hum of the recording
_FLOOR = 1e-12


@dataclass(frozen=True)
class Description:
    """A stretch of sound in numbers. Apart from the level, they do not depend on how loud it was recorded."""

    level_db: float
    """Of the loudest 10 ms but for 2%, against full scale; -120 for digital silence."""
    active_seconds: float
    """How long it lasts that something is heard: within 20 dB of the loudest, and above the background."""
    middle_hz: float
    """Half of the energy lies below, half above."""
    tonality: float
    """0: noise; 0.5: a harsh voice; 1: a pure tone."""
    call_seconds: float
    """How long a call lasts; the longer ones count more."""
    calls_per_second: float
    held_tones: float
    """How many tones of a steady pitch, for 0.25 s and more, sound at once, less those that are one voice's harmonics:
    speech has next to none, most animals fewer than two, music has two to ten."""
    timbre: NDArray[np.float32]
    """float32 [2 * N_BANDS]: shape of the spectrum, and how much each band moves; of unit norm, zero for silence."""


def describe(samples: NDArray[np.float32]) -> Description:
    """Measure mono sound, float32 [T], in [-1, 1], at RATE_HZ, T at least 1."""
    sound = np.pad(np.asarray(samples, np.float64), (0, max(0, _SHORT - len(samples))))
    power = _power(sound, _SHORT, _HOP)
    power[:, : int(_LOWEST_HZ * _SHORT / RATE_HZ) + 1] = 0
    energy = power.sum(axis=1)
    decibels = 10 * np.log10(energy / (_SHORT**2 * 3 / 32) + _FLOOR)  # a full-scale sine has 0
    loudest, background = np.percentile(decibels, (98, 10))
    if loudest < -119:
        return Description(-120.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, np.zeros(2 * N_BANDS, np.float32))
    active = decibels > max(loudest - 20, min(background + 6, loudest - 6))
    calls = _runs(active) * _HOP / RATE_HZ
    return Description(
        level_db=float(loudest),
        active_seconds=float(active.sum() * _HOP / RATE_HZ),
        middle_hz=_middle_hz(power[active], energy[active]),
        tonality=_tonality(sound, np.flatnonzero(active)[:: max(2, active.sum() // _TONALITY_FRAMES)] * _HOP),
        call_seconds=float((calls**2).sum() / calls.sum()),
        calls_per_second=len(calls) * RATE_HZ / len(sound),
        held_tones=_held_tones(sound),
        timbre=_timbre(power[active]),
    )


def _power(sound: Array, size: int, hop: int) -> Array:
    frames = sliding_window_view(sound, size)[::hop]
    return np.asarray(np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2)


def _runs(active: NDArray[np.bool_]) -> Array:
    """Return the lengths of the runs of true values."""
    edges = np.flatnonzero(np.diff(active, prepend=False, append=False))
    return (edges[1::2] - edges[::2]).astype(np.float64)


def _middle_hz(power: Array, energy: Array) -> float:
    """Return the median frequency; loud frames count more, but only by the root of their energy."""
    spectrum = (power / np.sqrt(energy)[:, None]).sum(axis=0).cumsum()
    return float(np.searchsorted(spectrum, spectrum[-1] / 2) * RATE_HZ / _SHORT)


def _tonality(sound: Array, starts: NDArray[np.intp]) -> float:
    """Return how periodic the sound is in its typical frame: the height of the autocorrelation's best later peak."""
    padded = np.pad(sound, (0, _MIDDLE))
    frames = sliding_window_view(padded, _MIDDLE)[starts] * np.hanning(_MIDDLE)
    spectra = np.abs(np.fft.rfft(frames, 2 * _MIDDLE, axis=1)) ** 2
    lags = np.fft.irfft(spectra, axis=1)[:, : RATE_HZ // 60] / _window_lags()
    lags /= np.maximum(lags[:, :1], _FLOOR)
    later = np.logical_or.accumulate(lags < 0.3, axis=1)  # behind the peak that every sound has at zero
    best = np.where(later, lags, 0).max(axis=1)
    return float(np.clip((np.median(best) - 0.25) / 0.7, 0, 1))  # noise of this length reaches 0.25 by chance


@cache
def _window_lags() -> Array:
    window = np.abs(np.fft.rfft(np.hanning(_MIDDLE), 2 * _MIDDLE)) ** 2
    lags = np.fft.irfft(window)[: RATE_HZ // 60]
    return np.asarray(lags / lags[0] + 1e-3)


def _held_tones(sound: Array) -> float:
    """Count spectral peaks that stay where they are for four frames of 128 ms, half overlapping."""
    padded = np.pad(sound, (0, max(0, 3 * _LONG - len(sound))))
    decibels = 10 * np.log10(_power(padded, _LONG, _LONG // 2)[:, :512] + _FLOOR)  # up to 4 kHz
    loud = decibels.max(axis=1) > decibels.max() - 35
    around = np.pad(decibels, ((0, 0), (15, 16)), mode="edge").cumsum(axis=1)
    surroundings = (around[:, 31:] - around[:, :-31]) / 31
    peaks = np.zeros(decibels.shape, bool)
    peaks[:, 1:-1] = (decibels[:, 1:-1] > decibels[:, :-2]) & (decibels[:, 1:-1] >= decibels[:, 2:])
    peaks &= (decibels > surroundings[:, : decibels.shape[1]] + 10) & loud[:, None]
    peaks[:, :6] = False
    near = peaks.copy()
    near[:, 1:] |= peaks[:, :-1]
    near[:, :-1] |= peaks[:, 1:]
    held = peaks[3:] & near[2:-1] & near[1:-2] & near[:-3]
    return float(held.sum() / max(1, loud.sum())) * (1 - _share_of_one_voice(held.sum(axis=0)))


def _share_of_one_voice(tones: NDArray[np.intp]) -> float:
    """Return what part of the tones, counted by bin, are harmonics of one fundamental, beyond what chance gives."""
    if tones.sum() < 4:
        return 0.0
    harmonics, chance = _harmonics()
    return float((((tones @ harmonics) / tones.sum() - chance) / (1 - chance)).max().clip(0, 1))


@cache
def _harmonics() -> tuple[Array, Array]:
    """Return which of 512 bins belong to each fundamental from 78 Hz to 1 kHz, and which part of all bins that is."""
    fundamentals = np.geomspace(10, 128, 2000)  # so fine that the highest harmonic still meets its bin
    bins = np.arange(512)[:, None]
    distance = np.abs(bins - np.round(bins / fundamentals) * fundamentals)
    belongs = (distance <= 0.8) & (bins >= fundamentals - 1)
    return belongs.astype(np.float32), np.minimum(0.9, 1.7 / fundamentals)


def _timbre(power: Array) -> NDArray[np.float32]:
    bands = 10 * np.log10(power @ _bands() + _FLOOR)
    bands = np.maximum(bands, bands.max() - 60)
    shape = bands.mean(axis=0)
    moves = bands.std(axis=0)
    parts = [part - part.mean() for part in (shape, 2 * moves)]
    vector = np.concatenate(parts)
    norm = float(np.linalg.norm(vector))
    return (vector / norm if norm else vector).astype(np.float32)


@cache
def _bands() -> Array:
    """Return [257, N_BANDS]: triangles of equal width on the mel scale."""
    hertz = np.linspace(0, RATE_HZ / 2, _SHORT // 2 + 1)
    mels = 2595 * np.log10(1 + hertz / 700)
    centres = np.linspace(2595 * np.log10(1 + _LOWEST_HZ / 700), mels[-1], N_BANDS + 2)
    width = centres[1] - centres[0]
    return np.asarray(np.maximum(0, 1 - np.abs(mels[:, None] - centres[None, 1:-1]) / width))
