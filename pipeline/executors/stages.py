"""The work on one asset as values and pure stages: decode → encode → assemble.

An executor decides where and when the stages run, never what they do. Stages do not raise for what a file does to them:
a bad file becomes a `Made` with a failure, and walks on to the ledger.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.fusion import pool
from encoders.spec import Label, Utterance
from pipeline.decode import decode
from pipeline.errors import MediaError
from pipeline.executors.doubts import Doubts
from pipeline.executors.pictures import thumbnail
from pipeline.media import (
    Decoded,
    Ending,
    Facts,
    FrameChunk,
    Media,
    Modality,
    Moment,
    Sampling,
    Shot,
    SoundChunk,
    Transcript,
)
from pipeline.passages import TRACK, passages
from pipeline.recipe import Models
from pipeline.scenes import fuse_scenes
from pipeline.store.schemas import Location
from pipeline.store.spool import nearby

DECODED = frozenset({Modality.VISUAL, Modality.AUDIO, Modality.SPEECH})
"""The modalities that need the file itself."""
INCOMPLETE = "incomplete"
QUIETEST_RMS = 1e-3
"""-60 dB: a stretch of sound below it gets no audio moment."""
N_LABELS = 5
TOLD = ("title", "artist", "album", "genre", "description", "comment", "keywords", "synopsis")
"""The container's tags that are words about the content."""


@dataclass(frozen=True)
class Words:
    """Words about a whole asset that nobody says in it: title, description, tags, name."""

    track: str
    text: str


@dataclass(frozen=True)
class Job:
    """One asset to work on, by reference."""

    asset_id: str
    path: Path
    """A regular file; of an object the copy in the spool of the machine that looked at it, if it has one."""
    makes: frozenset[Modality]
    """The modalities to make; others are kept as they are stored."""
    transcripts: tuple[Transcript, ...] = ()
    """From sidecars; they beat speech recognition."""
    words: tuple[Words, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    """From a sidecar; it beats what the container says."""
    facts: Facts | None = None
    """What is known already, when nothing needs to be decoded."""
    kept: tuple[Moment, ...] = ()
    """Stored moments that scenes are fused from."""
    place: Location | None = None
    """The object that is fetched where there is no copy; None for a file."""


@dataclass(frozen=True)
class Piece:
    """Something decoded, on its way to the encoders."""

    asset_id: str
    ordinal: int
    """Place in the asset's sequence of pieces."""
    body: Decoded | Words | MediaError
    makes: frozenset[Modality]
    """What to make of it."""
    seconds: float = 0.0
    """How long its decoder took."""


@dataclass(frozen=True)
class Made:
    """What became of one piece: moments, or news of the asset."""

    asset_id: str
    ordinal: int
    moments: tuple[Moment, ...] = ()
    news: Facts | Ending | MediaError | None = None
    decode_seconds: float = 0.0
    encode_seconds: float = 0.0
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What readers did not believe of the batch that this piece came first in, by reason."""

    @property
    def last(self) -> bool:
        """Tell whether this is the asset's last piece."""
        return isinstance(self.news, Ending | MediaError)


@dataclass(frozen=True)
class Result:
    """Everything about one asset, ready to be committed."""

    asset_id: str
    facts: Facts | None
    moments: tuple[Moment, ...]
    failure: MediaError | None = None
    """The file gave nothing."""
    damage: str | None = None
    """The file gave what came before its damage."""


def decode_job(job: Job, sampling: Sampling, *, workers: int = 1) -> Generator[Piece]:
    """Yield the pieces of one asset; the last one's body is an Ending or a MediaError.

    Args:
        job: the asset.
        sampling: what the decoder keeps of it.
        workers: how many children share a long film.
    """
    makes = job.makes
    if job.transcripts and job.facts is not None and job.facts.audio_tracks <= 1:
        makes -= {Modality.SPEECH}  # nothing is said but what the transcript has
    asked = time.monotonic()
    for ordinal, body in enumerate(_bodies(job, sampling, makes, workers)):
        told = bool(job.transcripts) and isinstance(body, SoundChunk) and body.main
        took = time.monotonic() - asked
        yield Piece(job.asset_id, ordinal, body, makes - {Modality.SPEECH} if told else makes, took)
        asked = time.monotonic()


def _bodies(
    job: Job, sampling: Sampling, makes: frozenset[Modality], workers: int
) -> Iterator[Decoded | Words | MediaError]:
    if Modality.SPEECH in job.makes:
        yield from job.transcripts
    if Modality.TEXT in job.makes:
        yield from job.words
    if not makes & DECODED and job.facts is not None:
        yield job.facts
        yield Ending(decoded_seconds=job.facts.duration_seconds)
        return
    try:
        with nearby(job.path, job.place, job.asset_id) as path:
            for decoded in decode(path, sampling, want=makes & DECODED, workers=workers):
                if job.transcripts and isinstance(decoded, Transcript):
                    continue  # one that lies beside the file beats one inside it
                yield decoded
                if isinstance(decoded, Facts) and Modality.TEXT in job.makes:
                    yield from _told(decoded)
    except MediaError as failure:
        yield failure


def _told(facts: Facts) -> Iterator[Words]:
    if said := ". ".join(facts.metadata[key] for key in TOLD if facts.metadata.get(key)):
        yield Words("tags", said)


class Encoding:
    """The second stage, with its weights: pieces of any assets in, moments out, in order."""

    def __init__(self, models: Models, sampling: Sampling) -> None:
        self.models = models
        self.sampling = sampling
        self._doubts = Doubts(models.speech)

    def encode(self, pieces: Sequence[Piece]) -> list[Made]:
        """Encode pieces; frames of equal shape go through the visual encoder together, whatever asset they are of."""
        began = time.monotonic()
        moments: dict[int, list[Moment]] = defaultdict(list)
        self._see(pieces, moments)
        for at, piece in enumerate(pieces):
            if isinstance(piece.body, SoundChunk):
                moments[at] += self._hear(piece, piece.body)
            elif isinstance(piece.body, Transcript):
                moments[at] += self._read(piece, piece.body)
            elif isinstance(piece.body, Words):
                (vector,) = self.models.text.encode_texts([piece.body.text])
                moments[at].append(
                    self._text(piece, Modality.TEXT, piece.body.track, (0.0, 0.0), piece.body.text, vector)
                )
        took = (time.monotonic() - began) / max(len(pieces), 1)
        made = [
            Made(
                p.asset_id, p.ordinal, tuple(moments[at]), p.body if isinstance(p.body, News) else None, p.seconds, took
            )
            for at, p in enumerate(pieces)
        ]  # fmt: skip
        return [replace(made[0], left_out=self._doubts.since()), *made[1:]] if made else made

    def _see(self, pieces: Sequence[Piece], moments: dict[int, list[Moment]]) -> None:
        by_shape: dict[tuple[int, ...], list[tuple[int, FrameChunk]]] = defaultdict(list)
        for at, piece in enumerate(pieces):
            if isinstance(piece.body, FrameChunk) and Modality.VISUAL in piece.makes:
                by_shape[piece.body.pixels.shape[1:]].append((at, piece.body))
        for group in by_shape.values():
            encoded = self.models.visual.encode_frames(np.concatenate([chunk.pixels for _, chunk in group]))
            first = 0
            for at, chunk in group:
                for shot in chunk.shots:
                    rows = slice(first + shot.first, first + shot.last)
                    moments[at].append(
                        self._visual(pieces[at], chunk, shot, encoded.vectors[rows], encoded.labels[rows])
                    )
                first += len(chunk.pixels)

    def _visual(
        self,
        piece: Piece,
        chunk: FrameChunk,
        shot: Shot,
        vectors: NDArray[np.float32],
        labels: Sequence[Sequence[Label]],
    ) -> Moment:
        return Moment(
            asset_id=piece.asset_id,
            modality=Modality.VISUAL,
            track="v:0",
            start_seconds=shot.start_seconds,
            stop_seconds=shot.stop_seconds,
            space=self.models.visual.spec.space,
            vector=pool(vectors),
            labels=_mean_labels(labels),
            thumb=thumbnail(chunk.pixels[(shot.first + shot.last) // 2 if shot.stop_seconds else shot.first]),
        )

    def _hear(self, piece: Piece, sound: SoundChunk) -> Iterator[Moment]:
        if Modality.AUDIO in piece.makes and sound.rate_hz == self.models.audio.spec.rate_hz:
            windows = list(_windows(sound, self.sampling))
            if windows:
                encoded = self.models.audio.encode_sound([samples for _, _, samples in windows])
                for (start, stop, _), vector, labels in zip(windows, encoded.vectors, encoded.labels, strict=True):
                    space = self.models.audio.spec.space
                    yield Moment(
                        piece.asset_id, Modality.AUDIO, sound.track, start, stop, space, vector,
                        labels=labels[:N_LABELS],
                    )  # fmt: skip
        if Modality.SPEECH in piece.makes and sound.rate_hz == self.models.speech.rate_hz and _is_audible(sound):
            said = self.models.speech.read(sound.samples)
            if not sound.main:
                said = [replace(u, track=f"{u.track}:{sound.track}") for u in said]
            yield from self._said(piece, said, sound.start_seconds)

    def _read(self, piece: Piece, transcript: Transcript) -> Iterator[Moment]:
        lines = [
            Utterance(line.start_seconds, line.stop_seconds, line.text, transcript.language, transcript.track)
            for line in transcript.lines
        ]
        yield from self._said(piece, lines)

    def _said(self, piece: Piece, sentences: Sequence[Utterance], offset_seconds: float = 0.0) -> Iterator[Moment]:
        """Yield a moment for each sentence, and for each passage of sentences."""
        said = [*sentences, *passages(sentences)]
        vectors = self.models.text.encode_texts([u.text for u in said]) if said else ()
        for u, vector in zip(said, vectors, strict=True):
            times = (offset_seconds + u.start_seconds, offset_seconds + u.stop_seconds)
            yield self._text(piece, Modality.SPEECH, u.track, times, u.text, vector, u.language)

    def _text(
        self, piece: Piece, modality: Modality, track: str, times: tuple[float, float],
        text: str, vector: NDArray[np.float32], language: str = "",
    ) -> Moment:  # fmt: skip
        space = self.models.text.spec.space
        return Moment(piece.asset_id, modality, track, *times, space, vector, text=text, language=language)


News = (Facts, Ending, MediaError)
"""Bodies that pass the encoders as they are."""


def assemble(job: Job, made: Sequence[Made], models: Models, fusion: Mapping[Modality, float]) -> Result:
    """Put an asset together from all that was made of its pieces, in any order, and fuse its scenes."""
    made = sorted(made, key=lambda m: m.ordinal)
    facts = next((m.news for m in made if isinstance(m.news, Facts)), job.facts)
    failure = next((m.news for m in made if isinstance(m.news, MediaError)), None)
    ending = next((m.news for m in made if isinstance(m.news, Ending)), None)
    if failure is None and ending is None:
        failure = MediaError(INCOMPLETE, "not all of the file's pieces came back; it is tried again next time")
    if failure is not None or facts is None:
        return Result(job.asset_id, facts, (), failure=failure or MediaError("not_media"))
    moments = _one_voice([m for piece in made for m in piece.moments])
    perceived = [m for m in moments if m.modality in DECODED]
    damage = ending.damage if ending else None
    if damage and not perceived:
        return Result(job.asset_id, facts, (), failure=MediaError(damage))
    duration = (
        0.0 if facts.media == Media.IMAGE else max([facts.duration_seconds, *(m.stop_seconds for m in perceived)])
    )
    moments = [replace(m, stop_seconds=duration) if m.modality == Modality.TEXT else m for m in moments]
    if Modality.SCENE in job.makes:
        moments += fuse_scenes([*perceived, *job.kept], models, fusion)
    unique = {m.moment_id: m for m in moments}
    sampled = {"sampled": ending.sampled} if ending is not None and ending.sampled else {}
    known = replace(facts, duration_seconds=duration, metadata={**facts.metadata, **sampled, **job.metadata})
    return Result(job.asset_id, known, tuple(unique.values()), damage=damage)


def _one_voice(moments: list[Moment]) -> list[Moment]:
    """A transcript that came with the file beats what was heard in its main track; the others say something else."""
    given = any(m.modality == Modality.SPEECH and not _HEARD.match(m.track) for m in moments)
    return [m for m in moments if m.modality != Modality.SPEECH or not given or not _HEARD_IN_MAIN.fullmatch(m.track)]


_HEARD = re.compile(rf"({TRACK})?(speech|translation:)")
"""Tracks of words that came from the speech reader."""
_HEARD_IN_MAIN = re.compile(rf"({TRACK})?(speech|translation:[^:]+)")


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


def _mean_labels(frames: Sequence[Sequence[Label]]) -> tuple[Label, ...]:
    total: dict[str, float] = defaultdict(float)
    for labels in frames:
        for label in labels:
            total[label.name] += label.score / len(frames)
    best = sorted(total.items(), key=lambda item: (-item[1], item[0]))[:N_LABELS]
    return tuple(Label(name, score) for name, score in best)
