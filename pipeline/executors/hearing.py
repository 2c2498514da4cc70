"""What is heard and said in pieces: moments of sound, and sentences that are still to be encoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from encoders.spec import SoundEncoder, SpeechReader, Utterance
from pipeline.executors.stages import Piece
from pipeline.media import Modality, Moment, Sampling, SoundChunk, Transcript
from pipeline.parts import Part
from pipeline.passages import passages

QUIETEST_RMS = 1e-3
"""-60 dB: a stretch of sound below it gets no audio moment."""
N_LABELS = 5


@dataclass(frozen=True)
class Wording:
    """A moment that is words, before they have a vector."""

    at: int
    """The number of its piece among those of the batch."""
    modality: Modality
    track: str
    start_seconds: float
    stop_seconds: float
    text: str
    language: str = ""
    thumb: bytes = b""

    def encoded(self, asset_id: str, space: str, vector: NDArray[np.float32]) -> Moment:
        """Return the moment."""
        return Moment(
            asset_id, self.modality, self.track, self.start_seconds, self.stop_seconds, space, vector,
            text=self.text, language=self.language, thumb=self.thumb,
        )  # fmt: skip


def sounds(
    encoder: SoundEncoder, pieces: Sequence[Piece], sampling: Sampling
) -> Iterator[tuple[int, Moment]]:  # fmt: skip
    """Yield a moment for each window of sound, with the number of its piece; all windows are encoded together."""
    cut = [
        (at, piece.body.track, *window)
        for at, piece in enumerate(pieces)
        if isinstance(piece.body, SoundChunk)
        and Part.AUDIO in piece.makes
        and piece.body.rate_hz == encoder.spec.rate_hz
        for window in _windows(piece.body, sampling)
    ]
    if not cut:
        return
    encoded = encoder.encode_sound([samples for *_, samples in cut])
    for (at, track, start, stop, _), vector, labels in zip(cut, encoded.vectors, encoded.labels, strict=True):
        yield at, Moment(
            pieces[at].asset_id, Modality.AUDIO, track, start, stop, encoder.spec.space, vector,
            labels=labels[:N_LABELS],
        )  # fmt: skip


def speech(reader: SpeechReader, at: int, piece: Piece) -> Iterator[Wording]:
    """Yield what is said in a piece, sentence by sentence and in passages: heard, or as its transcript has it."""
    body = piece.body
    if isinstance(body, Transcript):
        lines = [
            Utterance(line.start_seconds, line.stop_seconds, line.text, body.language, body.track)
            for line in body.lines
        ]
        yield from _said(at, lines)
    elif isinstance(body, SoundChunk) and _may_be_said(piece, body, reader):
        heard = reader.read(body.samples)
        if not body.main:
            heard = [replace(u, track=f"{u.track}:{body.track}") for u in heard]
        yield from _said(at, heard, body.start_seconds)


def _may_be_said(piece: Piece, sound: SoundChunk, reader: SpeechReader) -> bool:
    return Part.SPEECH in piece.makes and sound.rate_hz == reader.rate_hz and _is_audible(sound)


def _said(at: int, sentences: Sequence[Utterance], offset_seconds: float = 0.0) -> Iterator[Wording]:
    for u in [*sentences, *passages(sentences)]:
        times = (offset_seconds + u.start_seconds, offset_seconds + u.stop_seconds)
        yield Wording(at, Modality.SPEECH, u.track, *times, u.text, u.language)


def _is_audible(sound: SoundChunk) -> bool:
    """Tell whether anything in it is louder than silence; many files have tracks with nothing in them."""
    return bool(np.abs(sound.samples).max(initial=0) >= QUIETEST_RMS)


def _windows(sound: SoundChunk, sampling: Sampling) -> Iterator[tuple[float, float, NDArray[np.float32]]]:
    """Cut sound into equal windows of about `window_seconds`; leave out silent ones."""
    n = max(1, round(len(sound.samples) / (sampling.window_seconds * sound.rate_hz)))
    edges = np.linspace(0, len(sound.samples), n + 1).astype(int)
    for first, last in pairwise(edges):
        samples = sound.samples[first:last]
        if len(samples) and float(np.sqrt(np.mean(np.square(samples)))) >= QUIETEST_RMS:
            times = (sound.start_seconds + edge / sound.rate_hz for edge in (first, last))
            start, stop = (round(float(t), 3) for t in times)
            yield start, stop, samples
