"""Contract 7: forgetting an asset makes it unfindable at once and removes its bytes, provably."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import index
from index.build import build
from index.forget import RECEIPTS, complete, forget, hide
from index.generation import current, generations
from index.verify import damages
from pipeline import processing
from pipeline.archive import open_archive, writing
from pipeline.errors import ArchiveError, QueryError
from pipeline.executors import local
from pipeline.ingest import ingest
from pipeline.media import Media, Modality, Outcome
from pipeline.recipe import Models
from pipeline.store.ledger import asset_id_of
from pipeline.store.schemas import MOMENTS, AssetRow
from pipeline.store.tables import Batch, Tables
from pipeline.store.thumbs import read_thumb
from tests.index.archives import fill, said, seen
from tests.index.every_byte import found_in, vector_patterns
from tests.media import film, picture
from tests.pipeline.test_ingest import Silent

RED, GREEN, BLUE, ODD = (255, 0, 0), (0, 255, 0), (0, 0, 255), (201, 17, 93)
WORD = "zyzzyva"
FILM = f"{WORD} above quiet mountains"  # of several words, so that its vector is no part of two others in a row


@pytest.fixture
def archive(make_archive):
    """A film that nobody may see, a film with the same first picture, and a picture; older generations, too."""
    archive = make_archive()
    models = Models.of("toy")
    fill(archive, {"b2": ("red.png", Media.IMAGE, [seen(models, "b2", 0, 0, RED)])})
    build(archive)
    fill(archive, {
        "a1": (f"films/{WORD}.mp4", Media.VIDEO, [
            seen(models, "a1", 0, 10, GREEN), seen(models, "a1", 10, 20, ODD),
            said(models, "a1", 2, 4, f"{WORD} sings in the harbour"),
            said(models, "a1", 0, 20, f"aaa {WORD}", Modality.TEXT),
        ]),
        "c3": ("films/open.mp4", Media.VIDEO, [
            seen(models, "c3", 0, 10, GREEN), seen(models, "c3", 10, 20, BLUE),
            said(models, "c3", 2, 4, "ships sing in the harbour"),
        ]),
    })  # fmt: skip
    build(archive)
    return archive


def canaries_of(archive, asset_id: str) -> dict[str, bytes]:
    """What only this asset brought: its pictures, and its vectors as float32 and as float16."""
    rows = Tables(archive.tables).moments().to_pylist()
    patterns: dict[bool, dict[bytes, str]] = {True: {}, False: {}}
    for n, row in enumerate(rows):
        told = patterns[row["asset_id"] == asset_id]
        single, half = vector_patterns(np.array(row["vector"]))
        told |= {single: f"{row['modality']} {n} float32", half: f"{row['modality']} {n} float16"}
        if row["thumb"] and row["thumb"]["pack"]:
            told[read_thumb(archive.thumbs, **row["thumb"])] = f"picture {n}"
    return {name: body for body, name in patterns[True].items() if body not in patterns[False]}


def uris(hits) -> set[str]:
    return {hit.uri for hit in hits}


def everything(archive) -> set[str]:
    searcher = index.open(archive.root)
    asked = [searcher.search(words, k=50) for words in ("green", "blue", "red", f"{WORD} sings", "harbour")]
    return set().union(*(uris(hits) for hits in asked))


def test_a_forgotten_asset_is_unfindable_at_once_also_for_who_has_the_archive_open(archive):
    searcher = index.open(archive.root)
    before = searcher.search(f"{WORD} sings", k=9)
    (shown,) = [hit for hit in searcher.search("green", k=9) if hit.start_seconds == 10 and WORD in hit.uri]
    assert searcher.thumbnail(shown.thumb) == b"webp-" + bytes(ODD)
    with writing(archive):  # a run holds the archive
        hide(archive, [f"films/{WORD}.mp4"])
        assert f"films/{WORD}.mp4" in uris(before)
        assert f"films/{WORD}.mp4" not in uris(searcher.search(f"{WORD} sings", k=9))
        assert uris(searcher.search("green", k=9)) == {"films/open.mp4", "red.png"}
        assert uris(searcher.recommend("films/open.mp4", k=9)) == {"red.png"}
        with pytest.raises(QueryError, match="no file"):
            searcher.recommend(f"films/{WORD}.mp4")
        assert searcher.thumbnail(shown.thumb) == b""
        shared = next(hit for hit in searcher.search("green", k=9) if hit.start_seconds == 0 and "open" in hit.uri)
        assert searcher.thumbnail(shared.thumb) == b"webp-" + bytes(GREEN)
        tables = Tables(archive.tables)
        assert set(tables.moments()["asset_id"].to_pylist()) == {"b2", "c3"}
        assert {row.asset_id: row.outcome for row in tables.assets()}["a1"] == Outcome.FORGOTTEN
        assert WORD not in str(tables.assets())
    assert "not finished" in " ".join(damages(archive))


def test_contract_7_no_byte_of_a_forgotten_asset_is_left(archive):
    words = {"words": WORD.encode(), **canaries_of(archive, "a1")}
    assert {"picture", "float32", "float16"} <= {part for name in words for part in name.split()}
    before = found_in(archive.root, words)
    assert before.keys() == words.keys()
    for rest in (".gen-000099.part", ".gen-000001.gone"):
        (archive.index / rest).mkdir()
        (archive.index / rest / "assets.arrow").write_text(WORD)
    (archive.thumbs / ".torn.pack.77").write_bytes(words["words"])
    (archive.tables / "assets" / "_delta_log" / "_commit_killed.json.tmp").write_text(WORD)
    (archive.tables / "moments" / "killed.parquet").write_text(WORD)
    pack = next(archive.thumbs.glob("*.pack")).name
    kept = {
        hit.uri: hit.thumb for hit in index.open(archive.root).search("blue", k=9) if "open" in hit.uri and hit.thumb
    }
    receipt = forget(archive, [f"/media/films/{WORD}.mp4"])
    assert found_in(archive.root, words) == {}
    assert (receipt.asset_ids, receipt.n_moments, receipt.n_pictures) == (("a1",), 4, 2)
    assert receipt.n_files > 0
    assert receipt.n_bytes > 0
    assert generations(archive.index) == [current(archive.index)]
    assert current(archive.index).name == receipt.generation
    assert list(damages(archive)) == []
    searcher = index.open(archive.root)
    assert everything(archive) == {"films/open.mp4", "red.png"}
    assert {searcher.thumbnail(hit.thumb) for hit in searcher.search("blue", k=9)} >= {b"webp-" + bytes(BLUE)}
    assert all(searcher.thumbnail(thumb) for thumb in kept.values())
    assert (archive.thumbs / pack).exists()
    assert not (archive.thumbs / ".torn.pack.77").exists()
    told = json.loads((archive.root / RECEIPTS).read_text())
    assert told == {**receipt.as_dict(), "asset_ids": ["a1"]}


def test_the_tables_go_on_after_something_was_forgotten(archive):
    forget(archive, ["a1"])
    models = Models.of("toy")
    before = Tables(archive.tables).versions()
    fill(archive, {
        "a1": ("again.png", Media.IMAGE, [seen(models, "a1", 0, 0, ODD)]),
        "d4": ("new.png", Media.IMAGE, [seen(models, "d4", 0, 0, BLUE)]),
    })  # fmt: skip
    assert all(Tables(archive.tables).versions()[name] > n for name, n in before.items())
    fill(archive, {"a1": ("again.png", Media.IMAGE, [seen(models, "a1", 0, 0, ODD)])})
    build(archive)
    assert everything(archive) == {"films/open.mp4", "red.png", "new.png"}
    assert list(damages(archive)) == []


def test_what_is_not_known_or_not_one_is_told_and_nothing_is_done(archive):
    models = Models.of("toy")
    fill(archive, {"d4": ("red.png", Media.IMAGE, [seen(models, "d4", 0, 0, BLUE)])})
    build(archive)
    before = sorted(archive.root.rglob("*"))
    for name, told in (("nowhere.mp4", "nowhere.mp4"), ("red.png", "2 files")):
        with pytest.raises(QueryError, match=told):
            forget(archive, ["a1", name])
    assert sorted(archive.root.rglob("*")) == before
    assert f"films/{WORD}.mp4" in everything(archive)


def test_forgetting_twice_is_no_error(archive):
    forget(archive, ["a1"])
    again = forget(archive, ["a1"])
    assert (again.asset_ids, again.n_moments) == (("a1",), 0)


def test_while_a_run_holds_the_archive_the_bytes_wait_and_it_does_not_commit_them_any_more(archive):
    told: list[str] = []
    receipts = []
    with writing(archive):
        with pytest.raises(ArchiveError, match=str(os.getpid())):
            forget(archive, ["b2"])
        waiting = threading.Event()

        def tell(process):
            told.append(process)
            waiting.set()

        thread = threading.Thread(target=lambda: receipts.append(forget(archive, ["a1"], tell)))
        thread.start()
        assert waiting.wait(60)
        assert everything(archive) == {"films/open.mp4"}
        fill(
            archive,
            {"a1": ("z.png", Media.IMAGE, [seen(Models.of("toy"), "a1", 0, 0, ODD)])},
            {"a1": frozenset(Modality)},
        )
        assert "a1" not in Tables(archive.tables).moments()["asset_id"].to_pylist()
    thread.join(120)
    assert told == [str(os.getpid())]
    assert receipts[0].asset_ids == ("a1", "b2")  # what another one had left to do, too
    assert list(damages(archive)) == []


STEPS = [
    "Forgotten.begin:1", "Forgotten.add:1", "Forgotten.begin:2", "cleaning.erase:1", "DeltaTable.delete:1",
    "DeltaTable.delete:2", "module.blank:1", "thumbs._blank_pack:1", "DeltaTable.vacuum:2", "DeltaTable.vacuum:4",
    "DeltaTable.create_checkpoint:1", "DeltaTable.create_checkpoint:2", "cleaning.remove:1", "cleaning.remove:2",
    "build.stage:1", "build.put_in_force:1", "module.discard:1", "module._keep:1", "Forgotten.finish:1",
]  # fmt: skip
CRASHER = """
import os, signal, sys
from pathlib import Path
from deltalake import DeltaTable
from index import build, forget as module
from pipeline.archive import open_archive
from pipeline.store import cleaning, files, thumbs
from pipeline.store.forgotten import Forgotten
step, mode = sys.argv[2], sys.argv[3]
where, _, rest = step.partition(".")
name, _, nth = rest.partition(":")
calls = 0
def dying(real):
    def run(*args, **kwargs):
        global calls
        calls += 1
        if calls < int(nth):
            return real(*args, **kwargs)
        if mode == "after":
            real(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
    return run
setattr(globals()[where], name, dying(getattr(globals()[where], name)))
module.forget(open_archive(Path(sys.argv[1])), sys.argv[4:])
"""


def crash(archive, step: str, mode: str, *what: str) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", CRASHER, archive.root, step, mode, *what], cwd=root, check=False, timeout=300,
        env={**os.environ, "PYTHONPATH": f"{root / 'tests/flows/toyed'}:{root}"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.heavy
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("step", "mode"),
    [(step, "before") for step in STEPS]
    + [
        (step, "after")
        for step in (
            "files.write_synced:1",
            "Forgotten.begin:1",
            "Forgotten.add:1",
            "build.put_in_force:1",
            "Forgotten.finish:1",
        )
    ],
)
def test_contract_7_killed_at_any_step_running_it_again_completes(archive, step, mode):
    words = {"words": WORD.encode(), **canaries_of(archive, "a1")}
    name = f"films/{WORD}.mp4"
    crash(archive, step, mode, name)
    begun = step not in ("files.write_synced:1", "Forgotten.begin:1") and (step, mode) != ("Forgotten.add:1", "before")
    assert (name in everything(archive)) != begun
    assert everything(archive) >= {"films/open.mp4", "red.png"}
    if (step, mode) == ("Forgotten.finish:1", "after"):  # it was done
        with pytest.raises(QueryError, match="no file"):
            forget(archive, [name])
    else:
        assert forget(archive, [name]).n_moments == 4
    assert found_in(archive.root, words) == {}
    assert list(damages(archive)) == []
    assert everything(archive) == {"films/open.mp4", "red.png"}
    assert list((archive.tables / "forgetting").iterdir()) == []


@pytest.fixture
def source(tmp_path):
    source = tmp_path / "source"
    film(source / "open.mp4", ["red", "blue"])
    film(source / f"{FILM}.mp4", ["green"], pitch="shrill")
    (source / f"{FILM}.srt").write_text(f"1\n00:00:00,000 --> 00:00:01,000\nthe {WORD} sings\n")
    (source / f"{FILM}.json").write_text(json.dumps({"title": f"Title {WORD}", "camera": f"Own {WORD}"}))
    (source / f"{FILM}.en.srt").write_text("no subtitles")
    picture(source / "white.png", "white")
    return source


def run(archive):
    report = ingest(archive, local.run, Silent())
    with writing(archive):
        build(archive)
    return report


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_contract_7_it_stays_forgotten_when_the_source_is_scanned_again(source, make_archive, monkeypatch):
    archive = make_archive()
    first = run(archive)
    assert first.states == Counter(indexed=3, skipped=1)
    said = (archive.root / "rushes.toml").read_text()  # once more, by another recipe: older rows, older pictures
    (archive.root / "rushes.toml").write_text(said.replace("window_seconds = 10.0", "window_seconds = 1.5"))
    archive = open_archive(archive.root)
    words = {"words": WORD.encode(), **canaries_of(archive, asset_id_of([(source / f"{FILM}.mp4").read_bytes()]))}
    run(archive)
    words |= canaries_of(archive, asset_id_of([(source / f"{FILM}.mp4").read_bytes()]))
    assert found_in(archive.root, words).keys() == words.keys()
    receipt = forget(archive, [str(source / f"{FILM}.mp4")])
    assert len(receipt.asset_ids) == 2  # the sidecar that was refused is in the ledger, too
    assert found_in(archive.root, words) == {}
    again = ingest(archive, local.run, Silent())
    assert again.states == Counter(unchanged=2, forgotten=1)
    assert not again.changed
    (source / f"{FILM}.mp4").rename(source / "another name.mp4")
    (source / f"{FILM}.en.srt").rename(source / "another name.en.srt")  # the others stay behind
    third = ingest(archive, local.run, Silent())
    assert third.states == Counter(unchanged=2, forgotten=1, skipped=2)
    assert "another name" not in str(Tables(archive.tables).assets())
    assert third.discovered == sum(third.states.values())
    monkeypatch.setattr(processing, "look_at", None)  # it is known where it lies, and not read again
    assert ingest(archive, local.run, Silent()).states == Counter(unchanged=4, forgotten=1)


def test_a_run_that_has_begun_learns_of_it(source, make_archive):
    """The tombstone comes while the executor works."""
    archive = make_archive()

    def executor(*arguments):
        for result in local.run(*arguments):
            Tables(archive.tables).forgotten.add(asset_id_of([(source / f"{FILM}.mp4").read_bytes()]), ())
            yield result

    report = ingest(archive, executor, Silent())
    assert report.states["forgotten"] == 1
    assert report.states["indexed"] == 2
    assert WORD not in str([row for row in Tables(archive.tables).stored_assets() if row.outcome == Outcome.INDEXED])
    known = Tables(archive.tables).moments()["asset_id"].to_pylist()
    assert asset_id_of([(source / f"{FILM}.mp4").read_bytes()]) not in known


def test_contract_5_searches_while_something_is_forgotten_see_the_old_or_the_new(archive):
    searcher = index.open(archive.root)
    models = Models.of("toy")
    fill(archive, {f"e{n}": (f"{n}.png", Media.IMAGE, [seen(models, f"e{n}", 0, 0, (n, n, n))]) for n in range(4)})
    build(archive)
    errors: list[BaseException] = []
    done, gone = threading.Event(), set()

    def ask():
        try:
            while not done.is_set():
                before = set(gone)
                hits = searcher.search("blue", k=20)
                assert not {hit.asset_id for hit in hits} & before
                assert "films/open.mp4" in uris(hits)
                assert all(searcher.thumbnail(hit.thumb) for hit in hits if hit.asset_id == "c3" and hit.thumb)
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for n in range(4):
        hide(archive, [f"e{n}"])
        gone.add(f"e{n}")
        with writing(archive):
            complete(archive)
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_picture_that_is_shared_stays(archive):
    forget(archive, ["a1"])
    shown = [hit for hit in index.open(archive.root).search("green", k=9) if hit.uri == "films/open.mp4"]
    assert index.open(archive.root).thumbnail(shown[0].thumb) == b"webp-" + bytes(GREEN)
    shut = [hit for hit in index.open(archive.root).search("green", k=9) if hit.uri != "films/open.mp4"]
    assert f"films/{WORD}.mp4" not in uris(shut)


def test_a_picture_that_comes_back_is_there_again(archive):
    """Its pack had a hole where it was, since no row named it when something else was forgotten."""
    models = Models.of("toy")
    both = {
        name: (f"{name}.png", Media.IMAGE, [seen(models, name, 0, 0, colour)])
        for name, colour in (("d4", ODD), ("e5", BLUE))
    }
    fill(archive, both)
    Tables(archive.tables).commit(
        Batch([AssetRow("d4", Outcome.DELETED)], MOMENTS.empty_table(), {"d4": frozenset(Modality)})
    )
    forget(archive, ["b2"])
    fill(archive, both, {"d4": frozenset(Modality), "e5": frozenset(Modality)})
    build(archive)
    searcher = index.open(archive.root)
    shown = {hit.uri: searcher.thumbnail(hit.thumb) for hit in searcher.search("blue", k=50) if hit.thumb}
    assert (shown["d4.png"], shown["e5.png"]) == (b"webp-" + bytes(ODD), b"webp-" + bytes(BLUE))
