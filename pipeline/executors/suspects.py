"""Who kills encoders: pieces of one asset by themselves, and a control that nobody can have made.

An encoder that dies may have been killed by what it was given, or may be broken. What kills it time after time, alone
and on fresh encoders, is accused; and then a fresh encoder is given the control. If that lives, it was the asset.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import MediaError
from pipeline.executors.stages import Made, Piece, Words
from pipeline.media import FrameChunk, Sampling, Shot, SoundChunk
from pipeline.parts import Part

ENCODER_CRASH = "encoder_crash"
CONTROL_SECONDS, CONTROL_HZ = 4.0, 440.0


@dataclass(frozen=True)
class Suspect:
    """An asset, and the first of those pieces of it that were alone with an encoder when it died."""

    asset_id: str
    ordinal: int

    def guilty(self) -> Made:
        """Return what becomes of the asset."""
        told = "encoders died of it, alone, time after time, and lived with other media"
        return Made(self.asset_id, self.ordinal, news=MediaError(ENCODER_CRASH, told))


def suspects(pieces: Iterable[Piece]) -> list[tuple[Suspect, list[Piece]]]:
    """Divide pieces by asset."""
    of: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        of[piece.asset_id].append(piece)
    return [(Suspect(asset_id, mine[0].ordinal), mine) for asset_id, mine in of.items()]


def control(sampling: Sampling) -> Sequence[Piece]:
    """Return pieces for everything that encodes: a grey picture, a tone at each rate, a word."""
    frames = np.full((1, sampling.size_px, sampling.size_px, 3), 128, np.uint8)
    picture = FrameChunk(frames, np.zeros(1), (Shot(0.0, 0.0, 0, 1),))
    bodies: list[FrameChunk | SoundChunk | Words] = [picture, *map(_tone, sampling.rates_hz), Words("control", "grey")]
    return [Piece("control", n, body, frozenset(Part)) for n, body in enumerate(bodies)]


def _tone(rate_hz: int) -> SoundChunk:
    at_seconds = np.arange(int(CONTROL_SECONDS * rate_hz)) / rate_hz
    return SoundChunk((np.sin(2 * np.pi * CONTROL_HZ * at_seconds) / 2).astype(np.float32), 0.0, rate_hz)
