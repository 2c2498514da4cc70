"""The bare stages of an ingest, one after the other in this process: the work without what holds it together.

Files are decoded one at a time. What comes out is kept until there is a batch of it, so that no file's length shows in
memory, and goes through each encoder in turn. Only the calls of decoder, encoders and reader count; weights are loaded
before. The moments that an ingest has made are then committed to fresh tables and indexed.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.build import build
from pipeline.archive import Archive, create_archive
from pipeline.decode import decode
from pipeline.decode.limits import NotMediaError
from pipeline.errors import MediaError
from pipeline.look import Look, look_at
from pipeline.media import FrameChunk, Modality, Outcome, Sampling, SoundChunk, Transcript
from pipeline.processing import ASSETS_PER_COMMIT
from pipeline.recipe import Models, sampling_of
from pipeline.store.discover import open_source
from pipeline.store.schemas import moment_table
from pipeline.store.stored import stored_moments
from pipeline.store.tables import Batch, Tables
from pipeline.store.thumbs import write_pack

FRAMES_PER_BATCH = 96
SECONDS_PER_BATCH = 600.0


@dataclass
class _Kept:
    """What was decoded and waits for the encoders."""

    frames: dict[tuple[int, ...], list[NDArray[np.uint8]]] = field(default_factory=lambda: defaultdict(list))
    sounds: list[tuple[SoundChunk, bool]] = field(default_factory=list)
    """Stretches of sound, and whether speech is to be read from them."""
    texts: list[str] = field(default_factory=list)

    def is_full(self) -> bool:
        n_frames = sum(len(pixels) for group in self.frames.values() for pixels in group)
        return n_frames >= FRAMES_PER_BATCH or self._seconds() >= SECONDS_PER_BATCH

    def _seconds(self) -> float:
        return sum(len(sound.samples) / sound.rate_hz for sound, _ in self.sounds)


def bare_seconds(ingested: Archive, scratch: Path) -> dict[str, float]:
    """Return stage → seconds for the files that an archive was made from.

    Args:
        ingested: the archive; its sources are decoded once more, its moments committed and indexed once more.
        scratch: a folder that does not exist yet.
    """
    models = Models.of(ingested.settings.profile)
    sampling = sampling_of(ingested.settings, models)
    _load_weights(models, sampling)
    spent: Counter[str] = Counter()
    kept = _Kept()
    for look in _looks(ingested):
        kept.texts += [words.text for words in look.words]
        kept.texts += [line.text for transcript in look.transcripts for line in transcript.lines]
        for item in _decoded(look, sampling, spent):
            _keep(item, kept, reads=not look.transcripts)
            if kept.is_full():
                _encode(kept, models, sampling, spent)
                kept = _Kept()
    _encode(kept, models, sampling, spent)
    return {**spent, **_store(ingested, scratch)}


def list_files(archive: Archive) -> int:
    """List the archive's sources as a run does; return the number of files."""
    settings = archive.settings
    sources = [open_source(uri, archive.root, follow_links=settings.follow_links) for uri in settings.sources]
    return sum(1 for source in sources for _ in source.list())


def _looks(archive: Archive) -> Iterator[Look]:
    """Yield each asset of the sources once."""
    seen = set()
    for uri in archive.settings.sources:
        for found in open_source(uri, archive.root, follow_links=archive.settings.follow_links).list():
            try:
                look = None if found.skip else look_at(found, None)
            except NotMediaError:
                continue
            if look and look.asset_id not in seen:
                seen.add(look.asset_id)
                yield look


def _decoded(look: Look, sampling: Sampling, spent: Counter[str]) -> Iterator[object]:
    want = frozenset(Modality) - ({Modality.SPEECH} if look.transcripts else set())
    stream = decode(look.path, sampling, want=want)
    while True:
        try:
            with _timed(spent, "decode"):
                item = next(stream, None)
        except MediaError:
            return
        if item is None:
            return
        yield item


def _keep(item: object, kept: _Kept, *, reads: bool) -> None:
    if isinstance(item, FrameChunk):
        kept.frames[item.pixels.shape[1:]].append(item.pixels)
    elif isinstance(item, SoundChunk):
        kept.sounds.append((item, reads))
    elif isinstance(item, Transcript):
        kept.texts += [line.text for line in item.lines]


def _encode(kept: _Kept, models: Models, sampling: Sampling, spent: Counter[str]) -> None:
    for group in kept.frames.values():
        frames = np.concatenate(group)
        with _timed(spent, "visual"):
            for first in range(0, len(frames), FRAMES_PER_BATCH):
                models.visual.encode_frames(frames[first : first + FRAMES_PER_BATCH])
    for sound, reads in kept.sounds:
        seconds = len(sound.samples) / sound.rate_hz
        if seconds and sound.rate_hz == models.audio.spec.rate_hz:
            windows = np.array_split(sound.samples, max(1, round(seconds / sampling.window_seconds)))
            with _timed(spent, "audio"):
                models.audio.encode_sound(windows)
        if seconds and reads and sound.rate_hz == models.speech.rate_hz:
            with _timed(spent, "speech"):
                kept.texts += [said.text for said in models.speech.read(sound.samples)]
    if kept.texts:
        with _timed(spent, "text"):
            models.text.encode_texts(kept.texts)


def _store(ingested: Archive, scratch: Path) -> dict[str, float]:
    """Commit an archive's rows to fresh tables, in batches as a run does, and index them; return stage → seconds."""
    spent: Counter[str] = Counter()
    tables = Tables(ingested.tables)
    good = [row for row in tables.assets() if row.outcome in (Outcome.INDEXED, Outcome.PARTIAL)]
    archive = create_archive(scratch, list(ingested.settings.sources), ingested.settings.profile.name)
    Tables(archive.tables).create()
    for first in range(0, len(good), ASSETS_PER_COMMIT):
        rows = good[first : first + ASSETS_PER_COMMIT]
        everything = frozenset(Modality)
        moments = [m for row in rows for m in stored_moments(tables, ingested.thumbs, row.asset_id, everything)]
        recipes = {row.asset_id: row.recipe for row in rows}
        with _timed(spent, "commit"):
            thumbs = write_pack(archive.thumbs, [m.thumb for m in moments])
            Tables(archive.tables).commit(Batch(rows, moment_table(moments, recipes, thumbs), {}))
    with _timed(spent, "index"):
        build(archive)
    return dict(spent)


def _load_weights(models: Models, sampling: Sampling) -> None:
    models.visual.encode_frames(np.zeros((1, sampling.size_px, sampling.size_px, 3), np.uint8))
    models.text.encode_texts(["a word"])
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * max(sampling.rates_hz)).astype(np.float32)
    models.audio.encode_sound([noise])
    models.speech.read(noise)


@contextmanager
def _timed(spent: Counter[str], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    finally:
        spent[stage] += time.perf_counter() - began  # type: ignore[assignment]  # a Counter of seconds
