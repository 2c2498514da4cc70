"""What runs in Ray's workers: a task that decodes, and an actor that encodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.executors.encoding import Encoding
from pipeline.executors.local import N_FRAMES
from pipeline.executors.stages import Job, Made, Piece, decode_job
from pipeline.executors.suspects import control
from pipeline.media import FrameChunk, Sampling, SoundChunk
from pipeline.recipe import Models

PARCEL_BYTES = 4 << 20
"""Several pictures, or a stretch of film: small enough to keep encoders fed, large enough not to cost."""


def decode_jobs(jobs: Sequence[Job], sampling: Sampling, n_decoders: int) -> Iterator[list[Piece]]:
    """The first stage as a task: yield the pieces of some assets in parcels, the same ones each time."""
    parcel: list[Piece] = []
    n_bytes = 0
    for job in jobs:
        for piece in decode_job(job, sampling, workers=n_decoders):
            parcel.append(piece)
            n_bytes += _n_bytes(piece)
            if n_bytes >= PARCEL_BYTES:
                yield parcel
                parcel, n_bytes = [], 0
    if parcel:
        yield parcel


def _n_bytes(piece: Piece) -> int:
    if isinstance(piece.body, FrameChunk):
        return piece.body.pixels.nbytes
    return piece.body.samples.nbytes if isinstance(piece.body, SoundChunk) else 0


class Encoder:
    """The second stage as an actor: weights load once, when they are first used."""

    def __init__(self, models: Models, sampling: Sampling) -> None:
        self.encoding = Encoding(models, sampling)

    def encode_control(self) -> None:
        """Encode what harms no encoder that is whole."""
        self.encoding.encode(control(self.encoding.sampling))

    def encode(self, without: frozenset[str], *parcels: list[Piece]) -> list[Made]:
        """Encode parcels in batches of about N_FRAMES frames, but for some assets."""
        made: list[Made] = []
        batch: list[Piece] = []
        n_frames = 0
        for piece in (piece for parcel in parcels for piece in parcel if piece.asset_id not in without):
            batch.append(piece)
            n_frames += len(piece.body.pixels) if isinstance(piece.body, FrameChunk) else 0
            if n_frames >= N_FRAMES:
                made += self.encoding.encode(batch)
                batch, n_frames = [], 0
        return made + (self.encoding.encode(batch) if batch else [])
