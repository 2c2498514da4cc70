"""The two Delta tables, and a commit that gives the same rows once, whatever is killed and whenever.

A batch of assets is first staged: one folder `pending/`, put in place by a rename, that holds the rows of both tables
and the batch's number. Then moments are committed, then assets, each under an application transaction with that number,
and the folder goes. `recover` finishes what was staged and not finished. Repeating a Delta transaction doubles its rows
(delta-rs does not refuse it), so a table whose transaction version says that it has the batch is left alone: that
question is asked before each commit, and so also answers for a commit whose outcome is unknown.

A batch that redoes assets replaces their rows in the same Delta commit that adds the new ones.

What was forgotten (`pipeline.store.forgotten`) is not shown, whatever the files still hold, and not committed, however
it was staged.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from pipeline.errors import ArchiveError, IntegrityError
from pipeline.media import Outcome
from pipeline.parts import OWN_TRACKS, Part, modality_of
from pipeline.store.files import sync_folder, write_synced
from pipeline.store.forgotten import Forgotten
from pipeline.store.schemas import SCHEMAS, AssetRow, asset_rows, asset_table

T = TypeVar("T")

APPLICATION = "rushes-ingest"
ATTEMPTS = 3
"""How often a table is opened that somebody cleans up at the same time."""


@dataclass(frozen=True)
class Batch:
    """Rows that become visible together."""

    assets: Sequence[AssetRow]
    moments: pa.Table
    """Rows of the schema MOMENTS, all of assets in this batch."""
    replaces: Mapping[str, frozenset[Part]]
    """asset_id → the parts whose stored moments this batch replaces; assets that are new are not in it."""


class Tables:
    """The tables of one archive. Any number may read; one at a time writes (`pipeline.archive.writing`)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.forgotten = Forgotten(root)
        self._pending = root / "pending"

    def create(self) -> None:
        """Make the tables that do not exist yet, and add the columns that those of an older version lack."""
        for name, partitions in (("assets", None), ("moments", ["space"])):
            wanted = SCHEMAS[name]
            table = DeltaTable.create(str(self.root / name), schema=wanted, partition_by=partitions, mode="ignore")
            known = {column.name for column in table.schema().fields}
            if missing := [column for column in Schema.from_arrow(wanted).fields if column.name not in known]:
                table.alter.add_columns(missing)  # metadata only: the files stay, their rows read as null

    def commit(self, batch: Batch) -> None:
        """Make a batch visible, exactly once; killed anywhere, it is either absent or finished by `recover`."""
        self.recover()
        self._stage(batch)
        self._finish()

    def recover(self) -> bool:
        """Finish the batch that a killed run had staged; return whether there was one."""
        for rest in self.root.glob(".staging-*"):
            shutil.rmtree(rest)
        if not self._pending.exists():
            return False
        self._finish()
        return True

    def assets(self) -> list[AssetRow]:
        """Return the ledger: one row per asset. Of a forgotten one it says no more than that."""
        gone = self.forgotten.ids
        rows = [row for row in self.stored_assets() if row.asset_id not in gone]
        return rows + [AssetRow(asset_id, Outcome.FORGOTTEN) for asset_id in sorted(gone)]

    def stored_assets(self) -> list[AssetRow]:
        """Return the rows that the table assets holds, with those of forgotten assets that are still to be removed."""
        return self.read("assets", lambda table: asset_rows(table.to_pyarrow_table()))

    def versions(self) -> dict[str, int]:
        """Return for each table the number of the last change of its rows; compaction does not change any."""
        return {name: self.committed(name) for name in SCHEMAS}

    def moments(self, asset_ids: Iterable[str] | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the visible moments: those that were made by the recipe that their asset's row names.

        Args:
            asset_ids: only of these assets; None: of all.
            columns: only these columns; None: all.
        """
        assets = self.read("assets", lambda table: table.to_pyarrow_table(columns=["asset_id", "recipe"]))
        gone = self.forgotten.ids
        current = {
            f"{asset_id}/{modality_of(part)}/{fingerprint}"
            for asset_id, recipe in zip(assets["asset_id"].to_pylist(), assets["recipe"].to_pylist(), strict=True)
            for part, fingerprint in recipe or ()
            if asset_id not in gone
        }
        needed = None if columns is None else list(dict.fromkeys([*columns, "asset_id", "modality", "recipe"]))
        if asset_ids is None:
            table = self.read("moments", lambda table: table.to_pyarrow_table(columns=needed))
        else:
            table = self.stored("moments", asset_ids, needed)
        made = pc.binary_join_element_wise(table["asset_id"], table["modality"], table["recipe"], "/")
        visible = table.filter(pc.is_in(made, value_set=pa.array(sorted(current), type=made.type)))
        return visible if columns is None else visible.select(list(columns))

    def stored(self, name: str, asset_ids: Iterable[str], columns: Sequence[str] | None = None) -> pa.Table:
        """Return the rows of some assets as a table holds them, visible or not, in any order.

        By Delta's own scan: Arrow's refuses to filter files whose statistics come out of a checkpoint.
        """
        wanted, schema = list(asset_ids), SCHEMAS[name]
        if columns is not None:
            schema = pa.schema([schema.field(column) for column in columns])
        if not wanted:
            return schema.empty_table()
        found = self.read(name, lambda table: pa.table(table.scan(schema.names, among(wanted)).read_all()))
        return found.cast(schema)

    def _stage(self, batch: Batch) -> None:
        number = max(self.versions().values()) + 1
        staging = self.root / f".staging-{os.getpid()}"
        staging.mkdir(parents=True)
        replaces = {asset_id: sorted(parts) for asset_id, parts in batch.replaces.items()}
        known = self.stored("assets", [row.asset_id for row in batch.assets], ["asset_id"])
        overwrite = known["asset_id"].to_pylist()
        plan = {"number": number, "replaces": replaces, "overwrites": overwrite}
        write_synced(staging / "plan.json", json.dumps(plan).encode())
        write_synced(staging / "moments.arrow", _ipc(batch.moments))
        write_synced(staging / "assets.arrow", _ipc(asset_table(batch.assets)))
        sync_folder(staging)
        staging.replace(self._pending)
        sync_folder(self.root)

    def _finish(self) -> None:
        plan, rows = self._staged()
        moments, assets = (self._without_forgotten(rows[name]) for name in ("moments", "assets"))
        self._append("moments", moments, plan["number"], _moments_predicate(plan["replaces"], moments))
        self._append("assets", assets, plan["number"], _assets_predicate(plan["overwrites"], assets))
        done = self.root / f".staging-{os.getpid()}"
        self._pending.replace(done)  # out of the way in one step: half of it could not be read
        shutil.rmtree(done)

    def staged_moments(self) -> pa.Table:
        """Return the rows for the table moments that a killed run has staged, and the next `recover` commits."""
        return self._staged()[1]["moments"] if self._pending.exists() else SCHEMAS["moments"].empty_table()

    def _staged(self) -> tuple[dict[str, Any], dict[str, pa.Table]]:
        try:
            plan = json.loads((self._pending / "plan.json").read_bytes())
            rows = {
                name: _widened(pa.ipc.open_file(self._pending / f"{name}.arrow").read_all(), schema)
                for name, schema in SCHEMAS.items()
            }
        except (OSError, ValueError, pa.ArrowException) as exc:
            raise IntegrityError(
                f"The staged batch {self._pending} cannot be read ({exc}); move the folder away and ingest again."
            ) from exc
        return plan, rows

    def _without_forgotten(self, rows: pa.Table) -> pa.Table:
        gone = pa.array(sorted(self.forgotten.ids), pa.string())
        return rows.filter(pc.invert(pc.is_in(rows["asset_id"], value_set=gone)))

    def _append(self, name: str, rows: pa.Table, number: int, replaced: str | None) -> None:
        if self.committed(name) >= number:
            return
        once = commit_number(number)
        if replaced is None:
            write_deltalake(str(self.root / name), rows, mode="append", commit_properties=once)
        else:
            write_deltalake(str(self.root / name), rows, mode="overwrite", predicate=replaced, commit_properties=once)

    def committed(self, name: str) -> int:
        """Return the number of the last batch, or removal, that a table has."""
        return self.read(name, lambda table: table.transaction_version(APPLICATION) or 0)

    def read(self, name: str, ask: Callable[[DeltaTable], T]) -> T:
        """Ask a table as it is now; again, if files were taken away meanwhile since they had gone out of force."""
        for attempts_left in reversed(range(ATTEMPTS)):
            try:
                return ask(DeltaTable(str(self.root / name)))
            except TableNotFoundError as exc:
                raise ArchiveError(f"There is no table at {self.root / name} yet; run `rushes ingest` first.") from exc
            except (OSError, DeltaError):
                if not attempts_left:
                    raise
        raise AssertionError("the last attempt returns or raises")


def _moments_predicate(replaces: Mapping[str, Sequence[str]], rows: pa.Table) -> str | None:
    """Return the SQL condition for the rows that a batch replaces. All values in it are ours: hex ids, enum names."""
    if not replaces:
        return None
    groups: dict[tuple[str, ...], list[str]] = {}
    for asset_id, parts in replaces.items():
        groups.setdefault(tuple(parts), []).append(asset_id)
    fresh = sorted(set(rows["asset_id"].to_pylist()) - set(replaces))  # Delta wants the new rows to match as well
    replaced = [
        f"(asset_id IN ({_quoted(ids)}) AND ({' OR '.join(map(_of_part, parts))}))" for parts, ids in groups.items()
    ]
    return " OR ".join(replaced + ([f"asset_id IN ({_quoted(fresh)})"] if fresh else []))


def _of_part(part: str) -> str:
    """Return the SQL condition for the rows of a part."""
    if part in OWN_TRACKS:
        modality, track = OWN_TRACKS[Part(part)]
        return f"(modality = '{modality}' AND track = '{track}')"
    others = "".join(f" AND track <> '{track}'" for modality, track in OWN_TRACKS.values() if modality == part)
    return f"(modality IN ({_quoted([part])}){others})"


def _assets_predicate(overwrites: Sequence[str], rows: pa.Table) -> str | None:
    return among(rows["asset_id"].to_pylist()) if overwrites and len(rows) else None


def among(asset_ids: Iterable[str]) -> str:
    """Return the SQL condition for the rows of some assets."""
    return f"asset_id IN ({_quoted(asset_ids)})"


def commit_number(number: int) -> CommitProperties:
    """Return what makes a Delta commit the change with this number."""
    return CommitProperties(app_transactions=[Transaction(APPLICATION, number)])


def _quoted(names: Iterable[str]) -> str:
    names = list(names)
    if bad := [name for name in names if not name.isalnum()]:
        raise ValueError(f"Only plain ids and names go into a predicate, got {bad[0]!r}.")
    return ", ".join(f"'{name}'" for name in names)


def _widened(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows, which an older version may have staged, with nulls in the columns that they lack."""
    for column in schema:
        if column.name not in rows.column_names:
            rows = rows.append_column(column, pa.nulls(len(rows), column.type))
    return rows


def _ipc(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
