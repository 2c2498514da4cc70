"""The work on one asset as values, and its first stage: decode (here) → encode (`encoding`) → assemble (`assembling`).

An executor decides where and when the stages run, never what they do. Stages do not raise for what a file does to them:
a bad file becomes a `Made` with a failure, and walks on to the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.decode import decode
from pipeline.errors import MediaError
from pipeline.media import Decoded, Ending, Facts, Modality, Moment, Sampling, SoundChunk, Transcript
from pipeline.parts import DECODED, SEEN, Part
from pipeline.store.schemas import Location
from pipeline.store.spool import nearby

INCOMPLETE = "incomplete"
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
    makes: frozenset[Part]
    """The parts to make; others are kept as they are stored."""
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
    makes: frozenset[Part]
    """What to make of it."""
    seconds: float = 0.0
    """How long its decoder took."""


@dataclass(frozen=True)
class Unread:
    """A frame that a reader could not read: it costs that reading, not the asset."""

    track: str
    error: str


@dataclass(frozen=True)
class Made:
    """What became of one piece: moments, or news of the asset."""

    asset_id: str
    ordinal: int
    moments: tuple[Moment, ...] = ()
    news: Facts | Ending | MediaError | None = None
    decode_seconds: float = 0.0
    encode_seconds: float = 0.0
    unread: tuple[Unread, ...] = ()
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
    unread: tuple[Unread, ...] = ()


def decode_job(job: Job, sampling: Sampling, *, workers: int = 1) -> Generator[Piece]:
    """Yield the pieces of one asset; the last one's body is an Ending or a MediaError.

    Args:
        job: the asset.
        sampling: what the decoder keeps of it.
        workers: how many children share a long film.
    """
    makes = job.makes
    if job.transcripts and job.facts is not None and job.facts.audio_tracks <= 1:
        makes -= {Part.SPEECH}  # nothing is said but what the transcript has
    asked = time.monotonic()
    for ordinal, body in enumerate(_bodies(job, sampling, makes, workers)):
        told = bool(job.transcripts) and isinstance(body, SoundChunk) and body.main
        took = time.monotonic() - asked
        yield Piece(job.asset_id, ordinal, body, makes - {Part.SPEECH} if told else makes, took)
        asked = time.monotonic()


def _bodies(
    job: Job, sampling: Sampling, makes: frozenset[Part], workers: int
) -> Iterator[Decoded | Words | MediaError]:
    if Part.SPEECH in job.makes:
        yield from job.transcripts
    if Part.TEXT in job.makes:
        yield from job.words
    if not makes & DECODED and job.facts is not None:
        yield job.facts
        yield Ending(decoded_seconds=job.facts.duration_seconds)
        return
    try:
        with nearby(job.path, job.place, job.asset_id) as path:
            for decoded in decode(path, sampling, want=_wanted(makes), workers=workers):
                if job.transcripts and isinstance(decoded, Transcript):
                    continue  # one that lies beside the file beats one inside it
                yield decoded
                if isinstance(decoded, Facts) and Part.TEXT in job.makes:
                    yield from _told(decoded)
    except MediaError as failure:
        yield failure


def _wanted(makes: frozenset[Part]) -> frozenset[Modality]:
    """Return what the decoder has to hand over."""
    heard = {Modality(part) for part in makes & (DECODED - SEEN)}
    return frozenset(heard | {Modality.VISUAL} if makes & SEEN else heard)


def _told(facts: Facts) -> Iterator[Words]:
    if said := ". ".join(facts.metadata[key] for key in TOLD if facts.metadata.get(key)):
        yield Words("tags", said)
