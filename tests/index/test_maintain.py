"""Upkeep takes nothing away that is in force, that somebody reads, or that a commit needs."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

import index
from index.build import build, is_current
from index.forget import hide
from index.generation import KEPT, current, generations
from index.maintain import maintain
from index.verify import damages
from pipeline.archive import writing
from pipeline.errors import ArchiveError
from pipeline.media import Media
from pipeline.recipe import Models
from pipeline.store import tables as store
from pipeline.store.tables import Tables
from pipeline.store.thumbs import write_pack
from tests.index.archives import fill, seen

LONG_AGO = time.time() - 30 * 86400


def commit(archive, n: int, replaces=None, shade: int | None = None) -> None:
    colour = (n if shade is None else shade, 255, 255)
    fill(archive, {f"a{n}": (f"{n}.png", Media.IMAGE, [seen(Models.of("toy"), f"a{n}", 0, 0, colour)])}, replaces)


@pytest.fixture
def archive(make_archive):
    """Six small commits, each with a generation of its own."""
    archive = make_archive()
    for n in range(6):
        commit(archive, n)
        build(archive)
    return archive


def age(*folders: Path) -> None:
    """Make folders and what is in them as old as if they had been written a month ago."""
    for path in (path for folder in folders for path in (folder, *folder.rglob("*"))):
        os.utime(path, (LONG_AGO, LONG_AGO))


def state(archive) -> dict[str, tuple[int, float]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime) for p in archive.root.rglob("*") if p.is_file()}


def names(archive) -> set[str]:
    return {hit.uri for hit in index.open(archive.root).search("white", k=50)}


def data_files(archive) -> list[Path]:
    return list((archive.tables / "moments").glob("*/part-*.parquet"))


def log_files(archive) -> list[Path]:
    return list((archive.tables / "moments/_delta_log").glob("*.json"))


def test_small_files_are_joined_and_the_index_stays_current(archive):
    rows = Tables(archive.tables).moments().sort_by("moment_id")
    before, files = names(archive), state(archive)
    told = maintain(archive, dry_run=True)
    assert {path: facts for path, facts in state(archive).items() if not path.endswith(".lock")} == {
        path: facts for path, facts in files.items() if not path.endswith(".lock")
    }
    done = maintain(archive)
    assert told.joined == done.joined == 12
    assert Tables(archive.tables).moments().sort_by("moment_id") == rows
    assert is_current(archive)
    assert list(damages(archive)) == []
    assert names(archive) == before
    assert len(data_files(archive)) == 7  # none is older than keep.days
    assert done.removed["table files"].n_files == 0


def test_what_is_out_of_force_for_longer_than_keep_days_goes_and_only_that(archive):
    maintain(archive)
    age(archive.tables, archive.index)
    assert maintain(archive).removed["table files"].n_files == 0  # they went out of force just now
    assert len(generations(archive.index)) == 1
    assert len(log_files(archive)) <= 2
    assert (archive.tables / "moments/_delta_log/_last_checkpoint").exists()
    text = (archive.root / "rushes.toml").read_text().replace("days = 7.0", "days = 0")
    (archive.root / "rushes.toml").write_text(text)
    done = maintain(index.open(archive.root)._archive)
    assert done.removed["table files"].n_files == 12
    assert done.removed["table files"].n_bytes > 0
    assert len(data_files(archive)) == 1
    assert list(damages(archive)) == []
    commit(archive, 50)
    build(archive)
    assert names(archive) == {f"{n}.png" for n in (*range(6), 50)}
    again = maintain(index.open(archive.root)._archive)
    assert maintain(index.open(archive.root)._archive).as_dict()["joined"] == 0
    assert again.joined == 4


def test_a_generation_without_its_manifest_keeps_nothing_from_being_published(archive):
    (generations(archive.index)[-2] / "manifest.json").unlink()
    commit(archive, 50)
    assert build(archive) == current(archive.index).name
    assert len(generations(archive.index)) == KEPT


READER = """
import sys, index
archive = index.open(sys.argv[1])
print(archive.generation.manifest.generation, flush=True)
sys.stdin.readline()
generation = archive._generation
print(len([each.vectors.sum() for each in generation.lists]), len(generation.lists[0].index), flush=True)
"""


@pytest.fixture
def reader(archive, root):
    """A process that has the generation in force open, and has loaded nothing of it yet."""
    process = subprocess.Popen(
        [sys.executable, "-c", READER, archive.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root / 'tests/flows/toyed'}:{root}"},
    )  # fmt: skip
    yield process
    process.kill()
    process.communicate()


@pytest.mark.timeout(300)
def test_a_generation_that_a_process_reads_stays_until_it_is_closed(archive, reader):
    held = archive.index / reader.stdout.readline().strip()
    assert held == current(archive.index)
    for n in range(20, 20 + KEPT + 2):
        commit(archive, n)
        build(archive)
    age(archive.index)
    maintain(archive)
    assert generations(archive.index) == [held, current(archive.index)]
    out, _ = reader.communicate("go on\n", timeout=120)
    assert out.split() == ["1", "6"]
    assert maintain(archive).removed["generations"].n_files > 0
    assert generations(archive.index) == [current(archive.index)]


def test_publications_and_upkeep_go_by_the_same_rule(archive):
    assert len(generations(archive.index)) == KEPT
    age(generations(archive.index)[0])  # which says nothing: it went out of force when the next one came
    assert maintain(archive).removed["generations"].n_files == 0
    age(generations(archive.index)[1])
    maintain(archive)
    assert len(generations(archive.index)) == KEPT - 1
    searcher = index.open(archive.root)
    for n in range(20, 20 + KEPT + 2):
        commit(archive, n)
        build(archive)
    assert len(generations(archive.index)) == KEPT + 1  # one is read
    assert searcher.search("white", k=50).generation == current(archive.index).name
    del searcher
    build(archive)
    assert len(generations(archive.index)) == KEPT


def test_a_batch_that_a_killed_run_has_staged_is_committed_and_its_pictures_stay(archive, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store.Tables, "_append", killed)
        with pytest.raises(KeyboardInterrupt):
            commit(archive, 30)
    (staging := archive.tables / ".staging-1").mkdir()
    age(archive.thumbs, archive.tables)
    assert (archive.tables / "pending").exists()
    told = maintain(archive, dry_run=True)
    assert told.removed["pictures"].n_files == 0
    maintain(archive)
    assert not (archive.tables / "pending").exists()
    assert not staging.exists()
    build(archive)
    assert "30.png" in names(archive)
    assert list(damages(archive)) == []


def test_packs_that_neither_the_tables_nor_a_generation_name_go_after_keep_days(archive):
    (orphan,) = write_pack(archive.thumbs, [b"of nobody"])
    (torn := archive.thumbs / ".x.pack.9").write_bytes(b"half")
    commit(archive, 0, {"a0": frozenset({"visual"})}, shade=200)  # its first picture is now an older generation's
    maintain(archive)
    assert (archive.thumbs / orphan["pack"]).exists()
    assert not torn.exists()
    age(archive.thumbs)
    assert maintain(archive).removed["pictures"].n_files == 1
    assert not (archive.thumbs / orphan["pack"]).exists()
    build(archive)
    age(archive.index)
    assert maintain(archive).removed["pictures"].n_files == 1
    assert list(damages(archive)) == []


def test_what_a_killed_forget_has_left_is_removed(archive):
    hide(archive, ["3.png"])
    assert maintain(archive, dry_run=True).forgotten is None
    assert maintain(archive).forgotten.asset_ids == ("a3",)
    assert list(damages(archive)) == []
    assert maintain(archive).forgotten is None


def test_upkeep_does_not_begin_while_a_run_has_the_archive(archive):
    with writing(archive):
        before = state(archive)
        with pytest.raises(ArchiveError, match=str(os.getpid())):
            maintain(archive)
        assert state(archive) == before


CRASHER = """
import os, signal, sys
from pathlib import Path
from deltalake import DeltaTable
from deltalake.table import TableOptimizer
from index import maintain as module
from pipeline.archive import open_archive
from pipeline.store import cleaning
where, _, name = sys.argv[2].partition(".")
real = getattr(globals()[where], name)
def dying(*args, **kwargs):
    real(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(globals()[where], name, dying)
module.maintain(open_archive(Path(sys.argv[1])))
"""


@pytest.mark.heavy
@pytest.mark.parametrize(
    "step",
    [
        "TableOptimizer.compact",
        "DeltaTable.vacuum",
        "DeltaTable.create_checkpoint",
        "cleaning.remove",
        "module.discard",
    ],
)
def test_killed_at_any_step_running_it_again_goes_on(archive, step, root):
    rows = Tables(archive.tables).moments().sort_by("moment_id")
    age(archive.tables, archive.index)
    done = subprocess.run(
        [sys.executable, "-c", CRASHER, archive.root, step], cwd=root, check=False, timeout=300, capture_output=True,
        env={**os.environ, "PYTHONPATH": f"{root / 'tests/flows/toyed'}:{root}"}, text=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(damages(archive)) == []
    maintain(archive)
    assert list(damages(archive)) == []
    assert Tables(archive.tables).moments().sort_by("moment_id") == rows
    assert len(generations(archive.index)) == 1


def test_it_waits_for_a_run_where_it_is_asked_to(make_archive):
    archive, told = make_archive(), []
    commit(archive, 0)
    run = ExitStack()
    run.enter_context(writing(archive))

    def waiting(process: str) -> None:
        told.append(process)
        run.close()

    assert not maintain(archive, waiting=waiting).dry_run
    assert told == [str(os.getpid())]
