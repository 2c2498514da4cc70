"""Search and recommendation over the generation in force.

archive = index.open("my-archive")
for hit in archive.search("a dog in the snow", k=5):
    print(hit.uri, hit.start_seconds, hit.why)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from encoders.fusion import pool
from index.find import Question, find, find_alike, scope_in
from index.generation import current, named
from index.hits import Hits
from index.lists import Generation, Scope
from index.query import Questioner
from pipeline.archive import Archive, open_archive
from pipeline.errors import IntegrityError, QueryError
from pipeline.media import Media, Modality
from pipeline.recipe import Models
from pipeline.store.forgotten import Forgotten
from pipeline.store.thumbs import read_thumb

ASKED = (Modality.VISUAL, Modality.AUDIO, Modality.SPEECH, Modality.TEXT)
"""The modalities of a search that names none. Scenes hold the same moments once more, fused; they are asked by name."""
_Answer = TypeVar("_Answer")


class Searcher:
    """An archive that can be searched. Safe to share between threads; follows new generations by itself.

    What is forgotten is left out from the moment on in which its tombstone is written, by whatever process.
    """

    def __init__(self, archive: Archive, generation: str | None = None) -> None:
        self._archive = archive
        self._forgotten = Forgotten(archive.tables)
        self._questioner = Questioner(Models.of(archive.settings.profile), archive.settings.fusion)
        self._moving = threading.Lock()
        self._fixed = generation is not None
        self._generation = (
            Generation.in_force(archive.index) if generation is None else Generation(named(archive.index, generation))
        )
        self._hidden: tuple[Generation, frozenset[str], NDArray[np.bool_] | None] | None = None

    @property
    def generation(self) -> Generation:
        """Return the generation in force, opening a new one when it has been published; or the one that was named."""
        if not self._fixed and current(self._archive.index).name != self._generation.manifest.generation:
            with self._moving:  # one thread moves, the others find it done
                if current(self._archive.index).name != self._generation.manifest.generation:
                    self._generation = Generation.in_force(self._archive.index)
        return self._generation

    def out_of_reach(self) -> tuple[str, ...]:
        """Return the modalities whose moments no question reaches, since the profile's encoders have changed.

        The next `rushes ingest` makes them anew; until then searches go on without them.
        """
        known = self._questioner.spaces()
        return tuple(sorted({e.entry.modality for e in self.generation.lists if e.entry.space not in known}))

    def search(
        self,
        words: str | None = None,
        *,
        image: str | Path | None = None,
        audio: str | Path | NDArray[np.float32] | None = None,
        k: int = 10,
        modality: str | None = None,
        media: str | None = None,
        asset: str | None = None,
        between: tuple[float, float] | None = None,
        among: frozenset[str] | None = None,
    ) -> Hits:
        """Find moments by words, by a picture, by a sound, or by several of them at once.

        Args:
            words: what to look for, as one would say it.
            image: a picture (or film) file.
            audio: a file with sound, or mono samples, float32 [T], in [-1, 1], at 16 kHz.
            k: how many hits at most.
            modality: "visual", "audio", "speech", "text" or "scene"; None: all but scene.
            media: "video", "audio" or "image"; None: all.
            asset: only moments of this one: its path below its source, or its full path.
            between: only moments that share something with this interval, [start, stop), in seconds; no still pictures.
            among: only moments of these assets, by `asset_id`; None: of all.

        Raises:
            QueryError: the question has no content, or none that the archive can be asked for; or there is no such
                asset or interval.
        """
        kinds = _check(k, modality, media)
        question = self._question(words, image, audio)
        return self._answer(
            lambda generation, hidden: find(
                generation, scope_in(generation, hidden, media, asset, between, among), question, kinds, k
            )
        )

    def search_each(
        self, words: Sequence[str], *, k: int = 10, modality: str | None = None, media: str | None = None
    ) -> list[Hits]:
        """Ask many questions in words at once, of one generation; return the hits of each, as `search` does.

        Raises:
            QueryError: a question has no content, or none that the archive can be asked for.
        """
        kinds = _check(k, modality, media)
        if not all(each.strip() for each in words):
            raise QueryError("One of the questions has no content; give words.")
        if not words:
            return []
        vectors = self._questioner.words(words)
        asked = [Question("words", {space: rows[n] for space, rows in vectors.items()}) for n in range(len(words))]
        return self._answer(
            lambda generation, hidden: [find(generation, Scope(media, hidden), each, kinds, k) for each in asked]
        )

    def recommend(
        self,
        like: str,
        *,
        at_seconds: float | None = None,
        k: int = 10,
        modality: str | None = None,
        media: str | None = None,
    ) -> Hits:
        """Find moments of other assets that are like a moment, or like a whole asset.

        Args:
            like: the asset: its path below its source, or its full path.
            at_seconds: the moment's time; None: the whole asset.
            k: how many hits at most.
            modality: in which way alike; None: as it looks, or as it sounds where there is nothing to see.
            media: only such assets.

        Raises:
            QueryError: there is no such asset or moment.
        """
        _check(k, modality, media)
        return self._answer(
            lambda generation, hidden: find_alike(generation, Scope(media, hidden), like, at_seconds, k, modality)
        )

    def _answer(self, ask: Callable[[Generation, NDArray[np.bool_] | None], _Answer]) -> _Answer:
        """Ask the generation in force; if it is replaced and removed meanwhile, the next one answers."""
        while True:
            generation = self.generation
            try:
                return ask(generation, self._hidden_in(generation))
            except (OSError, IntegrityError):
                if self._fixed or current(self._archive.index).name == generation.manifest.generation:
                    raise

    def _hidden_in(self, generation: Generation) -> NDArray[np.bool_] | None:
        """Return bool [n_assets], true for each forgotten asset that a generation still holds; None: it holds none."""
        gone, known = self._forgotten.ids, self._hidden
        if known is None or known[0] is not generation or known[1] is not gone:
            known = self._hidden = (generation, gone, generation.rows_among(gone) if gone else None)
        return known[2]

    def thumbnail(self, thumb: str) -> bytes:
        """Return the small picture, WebP, that a hit's `thumb` names; empty if it names none, or what is forgotten."""
        if not thumb:
            return b""
        pack, _, place = thumb.removeprefix("thumbs/").partition("#")
        offset, length = (int(number) for number in place.split("+"))
        generation = self.generation
        hidden = self._hidden_in(generation)
        if hidden is not None and not generation.shows(hidden, pack, offset):
            return b""
        try:
            picture = read_thumb(self._archive.thumbs, Path(pack).name, offset, length)
        except FileNotFoundError:
            return b""
        return picture if any(picture) else b""

    def _question(
        self, words: str | None, image: str | Path | None, audio: str | Path | NDArray[np.float32] | None
    ) -> Question:
        asked = []
        if words is not None and words.strip():
            asked.append(self._questioner.words([words]))
        if image is not None:
            asked.append(self._questioner.picture(Path(image)))
        if audio is not None:
            asked.append(self._questioner.sound(Path(audio) if isinstance(audio, str) else audio))
        if not asked:
            raise QueryError("The question has no content; give words, a picture or a sound.")
        spaces = {space for vectors in asked for space in vectors}
        joined = {s: pool(np.concatenate([vectors[s] for vectors in asked if s in vectors])) for s in spaces}
        return Question("words" if image is None and audio is None else "media", joined)


def open(path: str | Path, generation: str | None = None) -> Searcher:  # noqa: A001 - read as `index.open`
    """Open an archive for searching.

    Args:
        path: its folder.
        generation: an older generation of its index that is still there, as `gen-000011`; None: the one in force, and
            each that is published while the archive is open.

    Raises:
        ArchiveError: there is no archive, it has no index yet, or no such generation.
        IntegrityError: its index is damaged.
    """
    return Searcher(open_archive(Path(path)), generation)


def _check(k: int, modality: str | None, media: str | None) -> set[str]:
    if k < 1:
        raise QueryError(f"k = {k} needs to be at least 1.")
    if media is not None and media not in set(Media):
        raise QueryError(f"There is no medium {media!r}; known are {', '.join(Media)}.")
    if modality is None:
        return set(ASKED)
    if modality not in set(Modality):
        raise QueryError(f"There is no modality {modality!r}; known are {', '.join(Modality)}.")
    return {modality}
