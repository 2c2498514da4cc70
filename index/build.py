"""From the tables to a published generation. The tables are the truth: everything here can be made again from them."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from encoders.spec import Vectors
from index.calibrate import best_of_others, null_of, unrelated_questions
from index.generation import ListEntry, Manifest, Null, current, next_name, publish, read_manifest, write_manifest
from index.lists import Generation
from index.plan import choose
from index.query import Questioner
from index.vector_index import VectorIndex
from pipeline.archive import Archive
from pipeline.errors import ArchiveError, IntegrityError
from pipeline.media import Modality, Outcome
from pipeline.recipe import Models
from pipeline.store.schemas import AssetRow
from pipeline.store.tables import Tables

DESCRIBED = [
    "moment_id", "asset_id", "track", "start_seconds", "stop_seconds", "text", "language", "labels", "thumb",
]  # fmt: skip


def is_current(archive: Archive) -> bool:
    """Tell whether the generation in force was built from the tables as they are now. Does not read its files."""
    try:
        manifest = read_manifest(current(archive.index), check_files=False)
    except (ArchiveError, IntegrityError):
        return False
    return dict(manifest.tables) == Tables(archive.tables).versions() and manifest.profile == archive.settings.profile


def build(archive: Archive) -> str:
    """Build a generation from the tables and put it in force; return its name. Hold the archive for writing meanwhile.

    Raises:
        ArchiveError: what was built is not what the tables hold.
        IntegrityError: a file of it is not what was written.
    """
    staged = stage(archive)
    check(staged)
    return put_in_force(archive, staged)


def stage(archive: Archive) -> Path:
    """Build a complete generation aside, where no reader looks; return its folder.

    What an interrupted build has left there goes first.
    """
    for rest in archive.index.glob(".gen-*.part"):
        shutil.rmtree(rest)
    tables = Tables(archive.tables)
    versions = tables.versions()
    rows = {row.asset_id: row for row in tables.assets() if row.outcome in (Outcome.INDEXED, Outcome.PARTIAL)}
    moments = tables.moments()
    name = next_name(archive.index)
    staged = archive.index / f".{name}.part"
    staged.mkdir(parents=True)
    positions = {asset_id: n for n, asset_id in enumerate(sorted(rows))}
    _write_arrow(staged / "assets.arrow", _assets([rows[asset_id] for asset_id in positions]))
    questioner = Questioner(Models.of(archive.settings.profile), archive.settings.fusion)
    unrelated = questioner.words(unrelated_questions()) if len(moments) else {}
    lists = [
        _build_list(staged, modality, space, part, positions, unrelated.get(space))
        for modality, space, part in _by_list(moments)
    ]  # fmt: skip
    write_manifest(staged, Manifest(name, archive.settings.profile, versions, tuple(lists)))
    return staged


def check(staged: Path) -> None:
    """Verify a staged generation: each file against the manifest, each list against the tables.

    Raises:
        ArchiveError: it lacks moments that the tables hold, or the tables have moved on.
        IntegrityError: a file is missing or is not what was written.
    """
    cure = f"run `rushes index {staged.parent.parent} --rebuild`"
    generation = Generation(staged)
    manifest = generation.manifest
    tables = Tables(staged.parent.parent / "tables")
    if dict(manifest.tables) != tables.versions():
        raise ArchiveError(f"{manifest.generation} was built from tables that have changed meanwhile; {cure}.")
    stored = tables.moments(columns=["modality", "space"])
    wanted = Counter(zip(stored["modality"].to_pylist(), stored["space"].to_pylist(), strict=True))
    held = {(each.entry.modality, each.entry.space): each for each in generation.lists}
    for key in sorted(wanted.keys() | held.keys()):
        sizes = {len(held[key].index), len(held[key].vectors), held[key].moments.num_rows} if key in held else {0}
        if sizes != {wanted[key]}:
            told = " or ".join(str(size) for size in sorted(sizes))
            raise ArchiveError(f"{manifest.generation} has {told} of {wanted[key]} {key[0]} moments; {cure}.")


def put_in_force(archive: Archive, staged: Path) -> str:
    """Publish a staged generation that has been checked; return its name."""
    name = read_manifest(staged, check_files=False).generation
    publish(archive.index, staged, name)
    return name


def _by_list(moments: pa.Table) -> list[tuple[str, str, pa.Table]]:
    """Split moments by modality and space, each in the order of asset and time."""
    keys = moments.group_by(["modality", "space"]).aggregate([]).sort_by([("modality", "ascending")]).to_pylist()
    order = [("asset_id", "ascending"), ("start_seconds", "ascending"), ("moment_id", "ascending")]
    parts = []
    for key in keys:
        mine = pc.and_(pc.equal(moments["modality"], key["modality"]), pc.equal(moments["space"], key["space"]))
        parts.append((key["modality"], key["space"], moments.filter(mine).sort_by(order)))
    return parts


def _build_list(
    folder: Path,
    modality: str,
    space: str,
    moments: pa.Table,
    positions: Mapping[str, int],
    unrelated: Vectors | None,
) -> ListEntry:
    vectors = _matrix(moments["vector"])
    plan = choose(len(vectors))
    index = VectorIndex.build(plan, vectors)
    name = f"{modality}-{space}"
    index.save(folder / f"{name}.faiss")
    np.save(folder / f"{name}.vectors.npy", vectors.astype(np.float16))
    asset_rows = np.array([positions[asset_id] for asset_id in moments["asset_id"].to_pylist()], np.int32)
    described = moments.select(DESCRIBED).append_column("asset_row", pa.array(asset_rows))
    _write_arrow(folder / f"{name}.moments.arrow", described)
    return ListEntry(
        name=name,
        modality=modality,
        space=space,
        dim=vectors.shape[1],
        n_moments=len(vectors),
        plan=type(plan).__name__.lower(),
        nulls=_nulls(index, modality, vectors, asset_rows, unrelated),
    )


def _nulls(
    index: VectorIndex,
    modality: str,
    vectors: NDArray[np.float32],
    asset_rows: NDArray[np.int32],
    unrelated: Vectors | None,
) -> dict[str, Null]:
    """Return the nulls of a list; `unrelated`: the unrelated questions in its space, None where words do not reach."""
    nulls = {}
    if unrelated is not None:
        best = index.search(unrelated, 1).scores[:, 0]
        if modality in (Modality.SPEECH, Modality.TEXT):
            best = np.maximum(best, best_of_others(unrelated, np.arange(len(unrelated))))
        nulls["words"] = null_of(best)
    best = best_of_others(vectors, asset_rows)
    nulls["media"] = null_of(best[np.isfinite(best)])
    return nulls


def _matrix(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Return a column of lists as float32 [N, dim]."""
    flat = np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks])
    return np.ascontiguousarray(flat.reshape(len(column), -1), np.float32)


def _assets(rows: list[AssetRow]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "asset_id": row.asset_id,
                "uris": [place.uri for place in row.locations],
                "locations": [place.location for place in row.locations],
                "media": str(row.facts.media) if row.facts else "",
                "duration_seconds": row.facts.duration_seconds if row.facts else 0.0,
            }
            for row in rows
        ],
        schema=pa.schema(
            [
                ("asset_id", pa.string()),
                ("uris", pa.list_(pa.string())),
                ("locations", pa.list_(pa.string())),
                ("media", pa.string()),
                ("duration_seconds", pa.float64()),
            ]
        ),
    )


def _write_arrow(path: Path, table: pa.Table) -> None:
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
