"""What is taken out of the Delta tables for good: rows, files of old versions, and the log that still describes them.

Deleting rows only takes their files out of force. The bytes go with `vacuum`, and the log goes last: it holds the least
and greatest value of each column of each file that there was, which for short texts is the text itself. Hence a
checkpoint of what is in force, and then no older log file.

All of it needs the archive to be held for writing. Each step finds out for itself what is left to do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from pipeline.store.files import Removed, is_older, remove, sizes_below, sync_folder
from pipeline.store.schemas import SCHEMAS
from pipeline.store.tables import Tables, among, commit_number

LARGE_BYTES = 100 << 20
"""Files below it are joined."""


def count(tables: Tables, asset_id: str) -> tuple[int, int]:
    """Return how many rows of the table moments an asset has, and how many pictures they name."""
    rows = tables.stored("moments", [asset_id], ["asset_id", "thumb"])
    thumbs = {(t["pack"], t["offset"]) for t in rows["thumb"].to_pylist() if t and t["pack"]}
    return len(rows), len(thumbs)


def named_pictures(tables: Tables) -> list[tuple[str, int, int]]:
    """Return pack, offset and length of every picture that a row for the table moments names, visible or staged."""
    rows = tables.read("moments", lambda table: table.to_pyarrow_table(columns=["thumb"]))
    thumbs = pa.concat_tables([rows, tables.staged_moments().select(["thumb"])])["thumb"].drop_null()
    columns = {name: pc.struct_field(thumbs, name) for name in ("pack", "offset", "length")}
    unique = pa.table(columns).group_by(list(columns)).aggregate([]).to_pylist()
    return [(each["pack"], each["offset"], each["length"]) for each in unique if each["pack"]]


def erase(tables: Tables, asset_ids: Collection[str]) -> None:
    """Delete all rows of some assets from both tables, moments first."""
    number = max(tables.versions().values()) + 1
    for name in ("moments", "assets"):
        if len(tables.stored(name, asset_ids, ["asset_id"])):
            _open(tables, name).delete(among(sorted(asset_ids)), commit_properties=commit_number(number))


def compact(tables: Tables, *, dry_run: bool = False) -> int:
    """Join small files of a partition into larger ones; return how many were joined. The rows stay as they are."""
    joined = 0
    for name in SCHEMAS:
        table = _open(tables, name)
        small = _joinable(table)
        if small and not dry_run:
            small = table.optimize.compact(target_size=LARGE_BYTES)["numFilesRemoved"]
        joined += small
    return joined


def vacuum(tables: Tables, days: float, *, dry_run: bool = False) -> Removed:
    """Remove files that went out of force, or never came into it, more than `days` ago; 0: all of them."""
    removed = Removed()
    for name in SCHEMAS:
        table, before = _open(tables, name), sizes_below(tables.root / name)
        hours = math.ceil(days * 24)
        going = table.vacuum(hours, dry_run=True, enforce_retention_duration=False, full=True)
        if not going:
            continue
        gone = {tables.root / name / unquote(path) for path in going}
        if not dry_run:
            table.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True)
            gone = before.keys() - sizes_below(tables.root / name).keys()  # vacuum itself adds to the log only
        removed += Removed(len(gone), sum(before.get(path, 0) for path in gone))
    return removed


def trim_logs(tables: Tables, days: float, *, dry_run: bool = False) -> Removed:
    """Put a checkpoint at what is in force; remove log files before it that are older than `days`, 0: all of them."""
    removed = Removed()
    for name in SCHEMAS:
        table, log = _open(tables, name), tables.root / name / "_delta_log"
        now = f"{table.version():020}."
        if not dry_run and not (log / f"{now}checkpoint.parquet").exists():
            table.create_checkpoint()
            sync_folder(log)
        stays = (now, "_last_checkpoint")
        removed += remove(
            (path for path in sorted(log.iterdir()) if not path.name.startswith(stays) and is_older(path, days)),
            dry_run=dry_run,
        )
    return removed


def _joinable(table: DeltaTable) -> int:
    """Return how many files of a table are small and not alone in their partition."""
    small = Counter(
        Path(path).parent
        for path, size in zip(
            *(table.get_add_actions()[name].to_pylist() for name in ("path", "size_bytes")), strict=True
        )
        if size < LARGE_BYTES
    )
    return sum(n for n in small.values() if n > 1)


def _open(tables: Tables, name: str) -> DeltaTable:
    return tables.read(name, lambda table: table)
