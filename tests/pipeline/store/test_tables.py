"""Contract 2: re-running any batch any number of times, or after a crash anywhere, yields the same rows once."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from pipeline.errors import IntegrityError
from pipeline.media import Facts, Media, Modality, Moment, Outcome
from pipeline.store.schemas import ASSETS, MOMENTS, AssetRow, Location, asset_table, moment_table
from pipeline.store.tables import Batch, Tables

ALL = frozenset(Modality)


def moment(asset_id: str, start: float, value: float = 1.0, modality: Modality = Modality.VISUAL) -> Moment:
    return Moment(asset_id, modality, "v:0", start, start + 1, f"{modality}-space", np.array([value, 0], np.float32))


def batch(
    names: list[str], value: float = 1.0, recipe: str = "r1", replaces=None, modalities=(Modality.VISUAL,)
) -> Batch:
    facts = Facts(Media.VIDEO, "mp4", 2.0, metadata={"title": "x"})
    recipes = {name: dict.fromkeys((str(m) for m in modalities), recipe) for name in names}
    moments = [moment(name, start, value, m) for name in names for start in (0.0, 1.0) for m in modalities]
    rows = [
        AssetRow(
            name,
            Outcome.INDEXED,
            "",
            (Location(f"{name}.mp4", f"file:///{name}.mp4", 1, 2),),
            facts,
            "w",
            recipes[name],
        )
        for name in names
    ]
    return Batch(rows, moment_table(moments, recipes, [None] * len(moments)), replaces or {})


def tables_at(path: Path) -> Tables:
    tables = Tables(path / "tables")
    tables.create()
    return tables


def test_an_archive_of_an_older_version_opens_and_goes_on(tmp_path):
    new = {"timecode", "audio_tracks"}
    older = pa.schema([column for column in ASSETS if column.name not in new])
    tables = Tables(tmp_path / "tables")
    DeltaTable.create(str(tables.root / "moments"), schema=MOMENTS, partition_by=["space"])
    DeltaTable.create(str(tables.root / "assets"), schema=older)
    write_deltalake(
        str(tables.root / "assets"), asset_table(batch(["a1", "b2"]).assets).select(older.names), mode="append"
    )
    given = sorted(batch(["a1", "b2"]).assets, key=lambda row: row.asset_id)
    assert sorted(tables.assets(), key=lambda row: row.asset_id) == given, "it can be read before anybody writes"
    files = sorted((tables.root / "assets").glob("*.parquet"))

    tables.create()
    assert sorted((tables.root / "assets").glob("*.parquet")) == files, "nothing is written anew"
    assert sorted(tables.assets(), key=lambda row: row.asset_id) == given
    version = tables.versions()["assets"]
    tables.create()
    assert tables.versions()["assets"] == version

    told = replace(given[0], facts=replace(given[0].facts, timecode="10:00:00;02", audio_tracks=3))
    third = batch(["c3"])
    tables.commit(Batch([told, *third.assets], third.moments, {"a1": ALL}))
    assert sorted(tables.assets(), key=lambda row: row.asset_id) == [told, given[1], *third.assets]


def test_a_batch_that_an_older_version_staged_is_finished(tmp_path):
    tables = tables_at(tmp_path)
    tables._stage(batch(["a1"]))
    path = tables.root / "pending/assets.arrow"
    rows = pa.ipc.open_file(pa.BufferReader(path.read_bytes())).read_all().drop_columns(["timecode", "audio_tracks"])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)
    assert tables.recover()
    assert tables.assets() == list(batch(["a1"]).assets)


def test_rows_come_back_as_they_were(tmp_path):
    tables = tables_at(tmp_path)
    given = batch(["a1", "b2"])
    tables.commit(given)
    assert sorted(tables.assets(), key=lambda row: row.asset_id) == list(given.assets)
    assert tables.moments().sort_by("moment_id").drop_columns("thumb") == given.moments.sort_by(
        "moment_id"
    ).drop_columns("thumb")


def test_redoing_an_asset_replaces_its_rows_and_only_those(tmp_path):
    tables = tables_at(tmp_path)
    tables.commit(batch(["a1", "b2"]))
    redone = batch(["a1", "c3"], value=0.5, recipe="r2", replaces={"a1": ALL})
    tables.commit(redone)
    rows = {(r["asset_id"], r["start_seconds"]): r["vector"][0] for r in tables.moments().to_pylist()}
    assert rows == {(a, s): v for a, v in (("a1", 0.5), ("b2", 1.0), ("c3", 0.5)) for s in (0.0, 1.0)}


def test_redoing_one_modality_keeps_the_others(tmp_path):
    tables = tables_at(tmp_path)
    tables.commit(batch(["a1"], modalities=(Modality.VISUAL, Modality.AUDIO)))
    visual = batch(["a1"], value=0.5, replaces={"a1": frozenset({Modality.VISUAL})})
    row = tables.assets()[0]
    tables.commit(Batch([row], visual.moments, visual.replaces))
    assert sorted((r["modality"], r["vector"][0]) for r in tables.moments().to_pylist()) == [
        ("audio", 1.0), ("audio", 1.0), ("visual", 0.5), ("visual", 0.5),
    ]  # fmt: skip


def test_a_moment_whose_asset_does_not_name_its_recipe_is_not_visible(tmp_path):
    tables = tables_at(tmp_path)
    given = batch(["a1", "b2"])
    rows = [given.assets[0], AssetRow("b2", Outcome.INDEXED, recipe={"visual": "another"})]
    tables.commit(Batch(rows, given.moments, {}))
    assert set(tables.moments()["asset_id"].to_pylist()) == {"a1"}


STEPS = ["write_synced:1", "write_synced:2", "write_synced:3", "staged", "_append:1", "_append:2", "rmtree"]
CRASHER = """
import os, signal, sys
from pathlib import Path
from pipeline.store import tables as module
from tests.pipeline.store.test_tables import batch, ALL, tables_at
step, mode = sys.argv[2], sys.argv[3]
name, _, nth = step.partition(":")
calls = 0
def dying(real):
    def run(*args, **kwargs):
        global calls
        calls += 1
        if nth and calls < int(nth):
            return real(*args, **kwargs)
        if mode == "after":
            real(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
    return run
if name == "_append":
    module.Tables._append = dying(module.Tables._append)
elif name == "staged":
    module.Tables._finish = dying(module.Tables._finish)
elif name == "rmtree":
    module.shutil.rmtree = dying(module.shutil.rmtree)
else:
    setattr(module, name, dying(getattr(module, name)))
tables_at(Path(sys.argv[1])).commit(batch(["a1", "c3"], value=0.5, recipe="r2", replaces={"a1": ALL}))
"""


@pytest.mark.parametrize("mode", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_commit_killed_at_any_step_is_absent_or_finished_once(tmp_path, step, mode):
    tables = tables_at(tmp_path)
    tables.commit(batch(["a1", "b2"]))
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", CRASHER, tmp_path, step, mode], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert done.returncode == -signal.SIGKILL
    tables.recover()
    values = {(r["asset_id"], r["start_seconds"]): r["vector"][0] for r in tables.moments().to_pylist()}
    old = {(a, s): 1.0 for a in ("a1", "b2") for s in (0.0, 1.0)}
    new = {**old, **{(a, s): 0.5 for a in ("a1", "c3") for s in (0.0, 1.0)}}
    assert values in (old, new)
    assert len(tables.moments()) == len(values)
    tables.commit(batch(["a1", "c3"], value=0.5, recipe="r2", replaces={"a1": ALL}))
    tables.commit(batch(["a1", "c3"], value=0.5, recipe="r2", replaces={"a1": ALL, "c3": ALL}))
    rows = tables.moments().to_pylist()
    assert {(r["asset_id"], r["start_seconds"]): r["vector"][0] for r in rows} == new
    assert len(rows) == len(new)
    assert not list((tmp_path / "tables").glob(".staging-*"))


def test_a_commit_whose_outcome_is_unknown_is_not_repeated(tmp_path, monkeypatch):
    from pipeline.store import tables as module

    tables = tables_at(tmp_path)
    real = module.write_deltalake

    def applied_but_lost(*args, **kwargs):
        real(*args, **kwargs)
        raise OSError("connection reset")

    monkeypatch.setattr(module, "write_deltalake", applied_but_lost)
    with pytest.raises(OSError, match="reset"):
        tables.commit(batch(["a1"]))
    monkeypatch.setattr(module, "write_deltalake", real)
    tables.recover()
    assert len(tables.moments()) == 2
    assert len(tables.assets()) == 1


def test_a_finished_batch_that_was_cleared_away_in_part_is_finished(tmp_path, monkeypatch):
    from pipeline.store import tables as module

    def interrupted(folder):
        (folder / "plan.json").unlink()
        raise KeyboardInterrupt

    tables = tables_at(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(module.shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tables.commit(batch(["a1"]))
    tables.commit(batch(["b2"]))
    assert len(tables.moments()) == 4
    assert not list(tables.root.glob(".staging-*"))


def test_a_damaged_staged_batch_is_named(tmp_path):
    tables = tables_at(tmp_path)
    (tmp_path / "tables" / "pending").mkdir()
    (tmp_path / "tables" / "pending" / "plan.json").write_text("{")
    with pytest.raises(IntegrityError, match="pending"):
        tables.recover()


def test_other_readers_can_read_the_tables_as_they_are(tmp_path):
    tables = tables_at(tmp_path)
    tables.commit(batch(["a1"]))
    import deltalake

    frame = deltalake.DeltaTable(tmp_path / "tables" / "moments").to_pyarrow_table()
    assert frame.schema.field("vector").type == pa.list_(pa.float32())


def test_rows_of_some_assets_are_found_also_when_their_files_are_known_from_a_checkpoint(tmp_path):
    """Arrow compares the statistics of such files as another type than the column, and gives up."""
    tables = tables_at(tmp_path)
    tables.commit(batch(["a1", "b2"]))
    before = tables.moments(["a1"]).sort_by("moment_id")
    for name in ("assets", "moments"):
        DeltaTable(tmp_path / "tables" / name).create_checkpoint()
    assert tables.moments(["a1"]).sort_by("moment_id") == before
    assert before.schema == MOMENTS
    assert tables.moments([]).num_rows == 0
    tables.commit(batch(["a1", "c3"], value=0.5, recipe="r2", replaces={"a1": ALL}))
    assert tables.moments(["a1"], ["vector"])["vector"].to_pylist() == [[0.5, 0.0]] * 2
