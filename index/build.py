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
from index.generation import (
    ListEntry,
    Manifest,
    Null,
    current,
    next_name,
    publish,
    read_manifest,
    rolled_back,
    write_manifest,
)
from index.labelling import Labeller, fingerprint, vocabulary
from index.lists import Generation
from index.plan import Exact, Plan, choose
from index.query import Questioner
from index.recall import FLOOR, N_QUERIES, Oracle, evenly, measure, words_of
from index.vector_index import VectorIndex
from pipeline.archive import Archive
from pipeline.errors import ArchiveError, IntegrityError
from pipeline.media import Modality, Outcome
from pipeline.recipe import Models
from pipeline.store.schemas import AssetRow
from pipeline.store.tables import Tables

_Asked = tuple[Vectors, NDArray[np.int32] | None]
"""Queries, float32 [N, dim], and the asset of each whose rows do not count; see `index.recall.Sample`."""
DESCRIBED = [
    "moment_id", "asset_id", "track", "start_seconds", "stop_seconds", "text", "language", "labels", "thumb",
]  # fmt: skip


def is_current(archive: Archive) -> bool:
    """Tell whether the generation in force was built from the tables as they are now. Does not read its files."""
    try:
        return _is_of_now(archive, current(archive.index))
    except (ArchiveError, IntegrityError):
        return False


def is_settled(archive: Archive) -> bool:
    """Tell whether there is nothing to build: the generation in force is current, or was put back in place of one."""
    try:
        return _is_of_now(archive, rolled_back(archive.index) or current(archive.index))
    except (ArchiveError, IntegrityError):
        return False


def _is_of_now(archive: Archive, folder: Path) -> bool:
    manifest = read_manifest(folder, check_files=False)
    return (
        dict(manifest.tables) == Tables(archive.tables).versions()
        and manifest.profile == archive.settings.profile.name
        and manifest.vocabulary == fingerprint(vocabulary(archive))
    )


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
    words = questioner.words((*unrelated_questions(), *words_of(moments))) if len(moments) else {}
    terms = vocabulary(archive)
    labeller = Labeller(terms if len(moments) else (), questioner)
    lists = []
    for modality, space, part in _by_list(moments):
        asked: dict[str, _Asked] = {"words": (words[space], None)} if space in words else {}
        if space == questioner.scenes:
            asked |= _alone(questioner, moments, positions)
        part = labeller.label(part, modality, space, _matrix(part["vector"]))
        lists.append(_build_list(staged, modality, space, part, positions, asked))
    profile = archive.settings.profile.name
    write_manifest(staged, Manifest(name, profile, versions, tuple(lists), vocabulary=fingerprint(terms)))
    return staged


def check(staged: Path) -> None:
    """Verify a staged generation: each file against the manifest, each list against the tables and the floor of recall.

    Raises:
        ArchiveError: it lacks moments that the tables hold, or finds too few, or the tables have moved on.
        IntegrityError: a file is missing or is not what was written.
    """
    cure = f"run `rushes index {staged.parent.parent} --rebuild`"
    generation = Generation(staged)
    manifest = generation.manifest
    tables = Tables(staged.parent.parent / "tables")
    if dict(manifest.tables) != tables.versions():
        raise ArchiveError(f"{manifest.generation} was built from tables that have changed meanwhile; {cure}.")
    stored = tables.moments(columns=["asset_id", "modality", "space"])
    forgotten = tables.forgotten.ids  # asked last, since more may be forgotten while the rest is read
    stored = stored.filter(pc.invert(pc.is_in(stored["asset_id"], value_set=pa.array(sorted(forgotten), pa.string()))))
    wanted = Counter(zip(stored["modality"].to_pylist(), stored["space"].to_pylist(), strict=True))
    held = {(each.entry.modality, each.entry.space): each for each in generation.lists}
    gone = generation.rows_among(forgotten)  # while this was built: searches leave them out
    if gone is not None:
        wanted.update({key: int(gone[each.asset_rows].sum()) for key, each in held.items()})
    for key in sorted(wanted.keys() | held.keys()):
        sizes = {len(held[key].index), len(held[key].vectors), held[key].moments.num_rows} if key in held else {0}
        if sizes != {wanted[key]}:
            told = " or ".join(str(size) for size in sorted(sizes))
            raise ArchiveError(f"{manifest.generation} has {told} of {wanted[key]} {key[0]} moments; {cure}.")
    for entry in manifest.lists:
        for kind, recall in entry.recalls.items():
            if recall.share < FLOOR:
                raise ArchiveError(
                    f"The {entry.modality} list of {manifest.generation} finds {recall.share:.3f} of what there is to "
                    f"find for {kind}, less than {FLOOR}, and is not published; {cure}."
                )


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


def _alone(questioner: Questioner, moments: pa.Table, positions: Mapping[str, int]) -> dict[str, _Asked]:
    """Return what pictures and sounds ask of scenes: stored ones, each as the only block of a scene."""
    asked: dict[str, _Asked] = {}
    for modality, (space, _) in questioner.models.blocks().items():
        mine = moments.filter(pc.and_(pc.equal(moments["modality"], modality), pc.equal(moments["space"], space)))
        if modality != Modality.SPEECH and len(mine):
            mine = mine.take(evenly(_asset_rows(mine, positions), N_QUERIES))
            scenes = [questioner.scene({modality: vector}) for vector in _matrix(mine["vector"])]
            asked[str(modality)] = (np.stack(scenes), _asset_rows(mine, positions))
    return asked


def _build_list(
    folder: Path,
    modality: str,
    space: str,
    moments: pa.Table,
    positions: Mapping[str, int],
    asked: Mapping[str, _Asked],
) -> ListEntry:
    """Build one list; `asked`: kind of query → a sample of such; "words" begins with the unrelated questions."""
    vectors, asset_rows = _matrix(moments["vector"]), _asset_rows(moments, positions)
    oracle = Oracle(vectors, asset_rows)
    samples = [oracle.stored(), *(oracle.sample(kind, queries, own) for kind, (queries, own) in asked.items())]
    plan: Plan = choose(len(vectors))
    index = VectorIndex.build(plan, vectors)
    recalls, tried = measure(index, oracle, samples)
    if tried and tried[-1].share < FLOOR:  # no breadth will do: slower, but right
        plan = Exact()
        index = VectorIndex.build(plan, vectors)
        recalls, _ = measure(index, oracle, samples)  # what was tried stays on record
    name = f"{modality}-{space}"
    index.save(folder / f"{name}.faiss")
    np.save(folder / f"{name}.vectors.npy", vectors.astype(np.float16))
    described = moments.select(DESCRIBED).append_column("asset_row", pa.array(asset_rows))
    _write_arrow(folder / f"{name}.moments.arrow", described)
    unrelated = asked["words"][0][: len(unrelated_questions())] if "words" in asked else None
    return ListEntry(
        name=name,
        modality=modality,
        space=space,
        dim=vectors.shape[1],
        n_moments=len(vectors),
        plan=type(plan).__name__.lower(),
        nulls=_nulls(index, modality, vectors, asset_rows, unrelated),
        recalls=recalls,
        tried=tried,
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


def _asset_rows(moments: pa.Table, positions: Mapping[str, int]) -> NDArray[np.int32]:
    """Return for each moment its asset's row, int32 [N]."""
    return np.array([positions[asset_id] for asset_id in moments["asset_id"].to_pylist()], np.int32)


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
