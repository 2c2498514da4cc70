"""A first look at one file: what its content hashes to, and what came beside it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.decode.limits import NotMediaError
from pipeline.decode.sidecar import Sidecar, read_sidecar
from pipeline.decode.sniff import BYTES_NEEDED, is_text, refusal, sniff
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
    metadata: Mapping[str, str]
    """What a sidecar says: title, description, tags, date and any other key."""
    refused: tuple[tuple[Path, MediaError], ...]
    """Sidecars that could not be read; the file does without them."""

    @property
    def words_hash(self) -> str:
        """Return the hash of all words that came with the file."""
        said = repr((self.transcripts, self.words, sorted(self.metadata.items()))).encode("utf8", "backslashreplace")
        return hashlib.blake2b(said, digest_size=8).hexdigest()


def look_at(found: Found, known_id: str | None) -> Look:
    """Read a file's content (unless `known_id` says what it is) and its sidecars.

    Raises:
        NotMediaError: it neither is media nor claims to be: nothing of it but its first bytes was read.
        OSError: it cannot be read.
    """
    path = local_path(found.place.location)
    if known_id is None:
        _refuse_what_claims_nothing(path)
    transcripts: list[Transcript] = []
    words = list(_name_words(found.place.uri))
    metadata: dict[str, str] = {}
    refused: list[tuple[Path, MediaError]] = []
    for sidecar in found.sidecars:
        try:
            if sidecar.suffix.lower() == METADATA:
                said = read_sidecar(sidecar)
                metadata |= _metadata(said)
                words.append(Words("metadata", _sentence(said.title, said.description, ", ".join(said.tags))))
            else:
                transcripts.append(read_transcript(sidecar))
        except MediaError as error:
            refused.append((sidecar, error))
    return Look(
        known_id or asset_id_of(path), path, found.place, tuple(transcripts),
        tuple(w for w in words if w.text), metadata, tuple(refused),
    )  # fmt: skip


def _metadata(said: Sidecar) -> dict[str, str]:
    own = {"title": said.title, "description": said.description, "tags": ", ".join(said.tags), "date": said.date}
    return {key: value for key, value in own.items() if value} | dict(said.others)


def _sentence(*parts: str) -> str:
    return ". ".join(part.strip().rstrip(".") for part in parts if part.strip())


def is_as_listed(path: Path, place: Location) -> bool:
    """Tell whether a file still has the size and time that it was listed with."""
    try:
        facts = path.stat()
    except OSError:
        return False
    return (facts.st_size, facts.st_mtime_ns) == (place.size, place.mtime_ns)


def _refuse_what_claims_nothing(path: Path) -> None:
    """Raise NotMediaError for what is no asset at all, before terabytes of it are hashed."""
    with path.open("rb") as file:
        first_bytes = file.read(BYTES_NEEDED)
    try:
        known = sniff(first_bytes, path.name)
    except NotMediaError:
        raise
    except MediaError:
        return  # it claims to be media: an asset, and the decoder will say what is wrong with it
    if known is None:
        error = refusal(path.name, "not_media", text=is_text(first_bytes))
        if isinstance(error, NotMediaError):
            raise error


def _name_words(uri: str) -> Sequence[Words]:
    """Return the words in a file's name: not its numbers, and not what a camera calls everything."""
    parts = re.split(r"[\W_\d]+", Path(uri).stem)
    said = [part for part in parts if len(part) > 1 and not CAMERA_NAMES.match(part)]
    return [Words("name", " ".join(said))] if said else []
