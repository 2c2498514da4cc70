"""A first look at one file: what its content hashes to, and what came beside it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from pipeline.decode.limits import NotMediaError
from pipeline.decode.sidecar import Sidecar, read_sidecar
from pipeline.decode.sniff import BYTES_NEEDED, is_text, refusal, sniff
from pipeline.decode.transcript import read_transcript
from pipeline.errors import MediaError, StoreError
from pipeline.executors.stages import Words
from pipeline.media import Transcript
from pipeline.store import buckets, spool
from pipeline.store.discover import METADATA, Found, is_local, local_path
from pipeline.store.ledger import asset_id_of
from pipeline.store.schemas import Location

CAMERA_NAMES = re.compile(r"^(img|dsc|dscn|dscf|mvi|vid|rec|pxl|gopr|clip|mov|pic|image|video|audio)$", re.IGNORECASE)
"""Words that a device puts into the names of its files, and that say nothing about them."""
READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Look:
    """What a file is, as far as one can tell without decoding it."""

    asset_id: str
    path: Path
    """The file, or where the spool has a copy of the object, if there was room for one."""
    place: Location
    transcripts: tuple[Transcript, ...]
    words: tuple[Words, ...]
    metadata: Mapping[str, str]
    """What a sidecar says: title, description, tags, date and any other key."""
    refused: tuple[tuple[Location, MediaError], ...]
    """Sidecars that could not be read; the file does without them."""

    @property
    def words_hash(self) -> str:
        """Return the hash of all words that came with the file."""
        said = repr((self.transcripts, self.words, sorted(self.metadata.items()))).encode("utf8", "backslashreplace")
        return hashlib.blake2b(said, digest_size=8).hexdigest()


def look_at(found: Found, known_id: str | None) -> Look:
    """Read a file's content (unless `known_id` says what it is) and its sidecars; an object's is copied on the way.

    Raises:
        NotMediaError: it neither is media nor claims to be: nothing of it but its first bytes was read.
        StoreError: the object, or one beside it, cannot be had just now.
        OSError: the file cannot be read.
    """
    place = found.place
    transcripts: list[Transcript] = []
    words = list(_name_words(place.uri))
    metadata: dict[str, str] = {}
    refused: list[tuple[Location, MediaError]] = []
    for sidecar in found.sidecars:
        try:
            with spool.nearby_sidecar(sidecar) as path:
                if path.suffix.lower() == METADATA:
                    said = read_sidecar(path)
                    metadata |= _metadata(said)
                    words.append(Words("metadata", _sentence(said.title, said.description, ", ".join(said.tags))))
                else:
                    transcripts.append(read_transcript(path))
        except StoreError:
            raise
        except MediaError as error:
            refused.append((sidecar, error))
    if known_id is not None:
        asset_id, path = known_id, local_path(place.location) if is_local(place) else spool.path_for(place)
    else:
        asset_id, path = _identified(place)
    return Look(
        asset_id, path, place, tuple(transcripts), tuple(w for w in words if w.text), metadata, tuple(refused)
    )  # fmt: skip


def _identified(place: Location) -> tuple[str, Path]:
    """Return the id of a file's content, and where the file or the copy of an object lies."""
    if is_local(place):
        path = local_path(place.location)
        return asset_id_of(_of_media(_blocks(path), path.name)), path
    return spool.copied(place, _of_media(buckets.read(place), place.uri))


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while block := file.read(READ_BYTES):
            yield block


def _metadata(said: Sidecar) -> dict[str, str]:
    own = {"title": said.title, "description": said.description, "tags": ", ".join(said.tags), "date": said.date}
    return {key: value for key, value in own.items() if value} | dict(said.others)


def _sentence(*parts: str) -> str:
    return ". ".join(part.strip().rstrip(".") for part in parts if part.strip())


def is_as_listed(place: Location) -> bool:
    """Tell whether a file still has the size and time that it was listed with; of an object, reading it tells."""
    if not is_local(place):
        return True
    try:
        facts = local_path(place.location).stat()
    except OSError:
        return False
    return (facts.st_size, facts.st_mtime_ns) == (place.size, place.mtime_ns)


def _of_media(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Yield what is given, but raise NotMediaError for what is no asset at all, before terabytes of it are hashed."""
    first = next(blocks, b"")
    first_bytes = first[:BYTES_NEEDED]
    try:
        known = sniff(first_bytes, name)
    except NotMediaError:
        raise
    except MediaError:
        pass  # it claims to be media: an asset, and the decoder will say what is wrong with it
    else:
        if known is None:
            error = refusal(name, "not_media", text=is_text(first_bytes))
            if isinstance(error, NotMediaError):
                raise error
    yield from chain([first], blocks)


def _name_words(uri: str) -> Sequence[Words]:
    """Return the words in a file's name: not its numbers, and not what a camera calls everything."""
    parts = re.split(r"[\W_\d]+", Path(uri).stem)
    said = [part for part in parts if len(part) > 1 and not CAMERA_NAMES.match(part)]
    return [Words("name", " ".join(said))] if said else []
