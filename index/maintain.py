"""Upkeep of an archive: small files joined, and what is out of force taken off the disk after `keep.days`.

Nothing goes that is in force, that somebody reads, or that a commit needs: the archive is held for writing, a batch
that a killed run has staged is committed first, and a generation that is open anywhere stays (`index.generation`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from index.forget import Receipt, complete
from index.generation import POINTER, discard, expired, generations, unfinished
from pipeline.archive import Archive, writing
from pipeline.store import cleaning
from pipeline.store.files import Removed, is_older, remove
from pipeline.store.tables import Tables


@dataclass(frozen=True)
class Maintenance:
    """What was done, or with `dry_run` what would be."""

    joined: int
    """Small files of tables that became larger ones; they go themselves when they are older than `keep.days`."""
    removed: Mapping[str, Removed]
    """Kind of file → what was taken off the disk."""
    forgotten: Receipt | None
    """What a `rushes forget` that did not come to its end had left to do; None: nothing."""
    seconds: float
    dry_run: bool

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, ready for JSON."""
        return {
            "joined": self.joined,
            "removed": {kind: {"files": r.n_files, "bytes": r.n_bytes} for kind, r in self.removed.items()},
            "forgotten": self.forgotten.as_dict() if self.forgotten else None,
            "seconds": round(self.seconds, 3),
            "dry_run": self.dry_run,
        }


def maintain(archive: Archive, *, dry_run: bool = False, waiting: Callable[[str], None] | None = None) -> Maintenance:
    """Do the upkeep; running it again, or after it was killed anywhere, goes on with what is left.

    Args:
        archive: the archive.
        dry_run: only say what would be removed.
        waiting: told which process holds the archive, before this waits for that to end; None: do not wait.

    Raises:
        ArchiveError: another process holds the archive, and this does not wait.
    """
    began = time.monotonic()
    with writing(archive, waiting):
        tables, days = Tables(archive.tables), archive.settings.keep.days
        receipt = None
        if not dry_run:
            tables.recover()
            receipt = complete(archive) if tables.forgotten.errands() else None
        joined = cleaning.compact(tables, dry_run=dry_run)
        removed = {
            "table files": cleaning.vacuum(tables, days, dry_run=dry_run),
            "table logs": cleaning.trim_logs(tables, days, dry_run=dry_run),
            "generations": _generations(archive, days, dry_run=dry_run),
            "unfinished": remove([*unfinished(archive.index), *archive.thumbs.glob(".*")], dry_run=dry_run),
            "pictures": _packs(archive, tables, days, dry_run=dry_run),
        }
    return Maintenance(joined, removed, receipt, time.monotonic() - began, dry_run)


def _generations(archive: Archive, days: float, *, dry_run: bool) -> Removed:
    if not (archive.index / POINTER).exists():
        return Removed()
    return discard(expired(archive.index, days), dry_run=dry_run)


def _packs(archive: Archive, tables: Tables, days: float, *, dry_run: bool) -> Removed:
    """Remove packs of which no picture is named, by the tables or by a generation that is still there."""
    named = {pack for pack, _, _ in cleaning.named_pictures(tables)}
    for folder in generations(archive.index):
        for path in folder.glob("*.moments.arrow"):
            thumbs = pa.ipc.open_file(pa.memory_map(str(path))).read_all()["thumb"]
            named |= set(pc.unique(pc.struct_field(thumbs, "pack")).to_pylist())
    packs = archive.thumbs.glob("*.pack")
    return remove((p for p in sorted(packs) if p.name not in named and is_older(p, days)), dry_run=dry_run)
