"""High dynamic range and wide colour to what encoders were trained on: standard range, BT.709 primaries, sRGB.

Works on the few pixels that are left after scaling, by tables. Sources: PQ is SMPTE ST 2084 and ITU-R BT.2100 table 4;
HLG and its gamma are BT.2100 table 5; the tone curve is the EETF of ITU-R BT.2390, section 5.4, without its lift of
black; reference white of 203 cd/m² is ITU-R BT.2408; colour matrices follow from the primaries and D65 white of
BT.709, BT.2020 and SMPTE RP 431-2; the output's curve is IEC 61966-2-1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

PQ, HLG = 16, 18
"""Transfer characteristics, numbered as in H.273."""
_PEAK_NITS = 1000.0
"""What is brighter is shown as white: most films are mastered for this, and it is HLG's nominal display."""
_WHITE_NITS = 203.0
"""What the brightest is brought down to. Paper in the scene is this bright before, and 0.90 of white after."""
_STEPS = 4096
"""Entries of the tables over light; they go by its square root, in which steps look about equal."""
_GAMMA = 2.4
"""Of a standard-range display, ITU-R BT.1886."""

_TO_BT709 = {
    9: ((1.660491, -0.587641, -0.072850), (-0.124550, 1.132900, -0.008349), (-0.018151, -0.100579, 1.118730)),
    12: ((1.224940, -0.224940, 0.0), (-0.042057, 1.042057, 0.0), (-0.019638, -0.078636, 1.098274)),
}
"""Primaries, numbered as in H.273 (BT.2020, and P3 with D65 white) → linear RGB of theirs to that of BT.709."""


def needs_mapping(transfer: int, primaries: int) -> bool:
    """Tell whether frames that are tagged so, by the numbers of H.273, are anything but ordinary."""
    return transfer in (PQ, HLG) or primaries in _TO_BT709


def to_srgb(codes: NDArray[np.uint16], white: int, transfer: int, primaries: int) -> NDArray[np.uint8]:
    """Return standard-range RGB of code values.

    Args:
        codes: uint16 [3, H, W], R'G'B' in the film's own encoding; 0 is black.
        white: the code of nominal full level.
        transfer: PQ or HLG; any other is taken for standard range, of which only the colours are converted.
        primaries: as in H.273; for PQ and HLG those of BT.2020 where not said otherwise.

    Returns:
        uint8 [H, W, 3].
    """
    high = transfer in (PQ, HLG)
    light = _decoding(white, transfer).take(codes)
    if transfer == HLG:  # the display's gamma of 1.2 is applied to luminance, so that hues stay
        luminance = _mixed((0.2627, 0.6780, 0.0593), light)
        light *= np.power(luminance, 0.2, out=np.zeros_like(luminance), where=luminance > 0)
    matrix = _TO_BT709.get(primaries, _TO_BT709[9] if high and primaries != 1 else None)
    if matrix is not None:
        light = np.stack([_mixed(row, light) for row in matrix])
    np.clip(light, 0, None, out=light)
    if high:  # by the brightest of the three, so that none is clipped and hues stay
        light *= _gains().take(_steps(light.max(axis=0)))
    levels = _encoding(high)
    out = np.empty((*light.shape[1:], 3), np.uint8)
    for channel, plane in enumerate(light):
        out[..., channel] = levels.take(_steps(plane))
    return out


def _steps(light: Floats) -> NDArray[np.int32]:
    """Return the place in a table of light, which is 1 at its end."""
    place = np.sqrt(light)
    place *= _STEPS - 1
    place += 0.5
    return np.minimum(place, _STEPS - 1, out=place).astype(np.int32)


def _mixed(weights: tuple[float, float, float], light: Floats) -> Floats:
    """Return a weighted sum of the channels; not by BLAS, whose threads wait for each other on busy cores."""
    mix: Floats = light[0] * np.float32(weights[0])
    for weight, plane in zip(weights[1:], light[1:], strict=True):
        mix += plane * np.float32(weight)
    return mix


def _over_light() -> NDArray[np.float64]:
    return np.linspace(0, 1, _STEPS) ** 2


@lru_cache(maxsize=4)
def _decoding(white: int, transfer: int) -> Floats:
    """Return light per code, float32 [65536]; 1 is `_PEAK_NITS`, or white where the range is standard."""
    signal = np.minimum(np.arange(2**16) / white, 1.0)
    if transfer == PQ:
        return np.asarray(pq_to_nits(signal) / _PEAK_NITS, np.float32)
    return np.asarray(hlg_to_scene(signal) if transfer == HLG else signal**_GAMMA, np.float32)


@lru_cache(maxsize=1)
def _gains() -> Floats:
    """Return by what light is multiplied, by the brightest channel: the tone curve, and 1 becomes `_WHITE_NITS`."""
    nits = np.maximum(_over_light() * _PEAK_NITS, 1e-6)
    return (tone_mapped(nits) / nits * (_PEAK_NITS / _WHITE_NITS)).astype(np.float32)


@lru_cache(maxsize=2)
def _encoding(srgb: bool) -> NDArray[np.uint8]:
    """Return the level per light, uint8: sRGB's curve, or the one that standard-range films were decoded by."""
    light = _over_light()
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(255 * (curve if srgb else light ** (1 / _GAMMA))), np.uint8)


_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128


def pq_to_nits(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the light in cd/m² of PQ signals in [0, 1]: SMPTE ST 2084, equation 4.1."""
    power = signal ** (1 / _M2)
    return np.asarray(10_000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1))


def nits_to_pq(nits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the PQ signals of light in cd/m²: SMPTE ST 2084, equation 5.1."""
    power = (nits / 10_000) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def hlg_to_scene(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scene's light in [0, 1] of HLG signals in [0, 1]: BT.2100, inverse of the OETF."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


def tone_mapped(nits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return light in cd/m² of at most `_WHITE_NITS` for light up to `_PEAK_NITS`: BT.2390's EETF.

    Below a knee, at 93 cd/m² with these peaks, nothing changes; above it a Hermite spline over the PQ signal bends to
    the peak.
    """
    top = nits_to_pq(np.array(_PEAK_NITS))
    signal, most = np.minimum(nits_to_pq(nits) / top, 1.0), nits_to_pq(np.array(_WHITE_NITS)) / top
    knee = 1.5 * most - 0.5
    t = np.maximum(signal - knee, 0) / (1 - knee)
    bent = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    return pq_to_nits(np.where(signal < knee, signal, bent) * top)
