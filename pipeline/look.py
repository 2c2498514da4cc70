"""A first look at one file: what its content hashes to, and what came beside it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.decode.sidecar import read_sidecar
from pipeline.decode.transcript import read_transcript
from pipeline.errors import MediaError
from pipeline.executors.stages import Words
from pipeline.media import Transcript
from pipeline.store.discover import METADATA, Found, local_path
from pipeline.store.ledger import asset_id_of
from pipeline.store.schemas import Location

CAMERA_NAMES = re.compile(r"^(img|dsc|dscn|dscf|mvi|vid|rec|pxl|gopr|clip|mov|pic|image|video|audio)$", re.IGNORECASE)
"""Words that a device puts into the names of its files, and that say nothing about them."""


@dataclass(frozen=True)
class Look:
    """What a file is, as far as one can tell without decoding it."""

    asset_id: str
    path: Path
    place: Location
    transcripts: tuple[Transcript, ...]
    words: tuple[Words, ...]
    refused: tuple[tuple[Path, MediaError], ...]
    """Sidecars that could not be read; the file does without them."""

    @property
    def words_hash(self) -> str:
        """Return the hash of all words that came with the file."""
        said = repr((self.transcripts, self.words)).encode("utf8", "backslashreplace")
        return hashlib.blake2b(said, digest_size=8).hexdigest()


def look_at(found: Found, known_id: str | None) -> Look:
    """Read a file's content (unless `known_id` says what it is) and its sidecars.

    Raises:
        OSError: it cannot be read.
    """
    path = local_path(found.place.location)
    transcripts: list[Transcript] = []
    words = list(_name_words(found.place.uri))
    refused: list[tuple[Path, MediaError]] = []
    for sidecar in found.sidecars:
        try:
            if sidecar.suffix.lower() == METADATA:
                words.append(Words("metadata", read_sidecar(sidecar).text))
            else:
                transcripts.append(read_transcript(sidecar))
        except MediaError as error:
            refused.append((sidecar, error))
    return Look(
        known_id or asset_id_of(path), path, found.place, tuple(transcripts),
        tuple(w for w in words if w.text), tuple(refused),
    )  # fmt: skip


def is_as_listed(path: Path, place: Location) -> bool:
    """Tell whether a file still has the size and time that it was listed with."""
    try:
        facts = path.stat()
    except OSError:
        return False
    return (facts.st_size, facts.st_mtime_ns) == (place.size, place.mtime_ns)


def _name_words(uri: str) -> Sequence[Words]:
    """Return the words in a file's name: not its numbers, and not what a camera calls everything."""
    parts = re.split(r"[\W_\d]+", Path(uri).stem)
    said = [part for part in parts if len(part) > 1 and not CAMERA_NAMES.match(part)]
    return [Words("name", " ".join(said))] if said else []
