import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pipeline.archive import open_archive, writing
from pipeline.errors import ArchiveError
from pipeline.executors import local
from pipeline.ingest import ingest
from pipeline.store.tables import Tables
from tests.media import film, picture, sound


class Silent:
    def planned(self, n_files, n_bytes): ...
    def started(self, asset_id, n_bytes): ...
    def made(self, made): ...
    def finished(self, asset_id, uri, state, reason): ...


def run(archive, **options):
    return ingest(archive, options.pop("executor", local.run), options.pop("watcher", Silent()), **options)


def rows(archive, *names):
    """The visible moments as comparable tuples, each once."""
    names = names or ("asset_id", "modality", "track", "start_seconds", "stop_seconds", "text", "recipe")
    table = Tables(archive.tables).moments()
    assert len(set(table["moment_id"].to_pylist())) == len(table)
    return sorted(tuple(row[name] for name in names) for row in table.to_pylist())


def outcomes(archive):
    return {p.uri: str(row.outcome) for row in Tables(archive.tables).assets() for p in row.locations}


@pytest.fixture
def source(tmp_path):
    source = tmp_path / "source"
    film(source / "films/show.mp4", ["red", "blue"])
    film(source / "films/silent.mp4", ["green"], pitch=None)
    picture(source / "pictures/IMG_0001.png", "green")
    sound(source / "sounds/REC_0002.flac", "low")
    (source / "broken.mp4").write_bytes(b"\0\0\0\x18ftypisom" + b"x" * 200)
    (source / "notes.txt").write_text("shopping list")
    return source


def test_media_become_moments(source, make_archive):
    archive = make_archive()
    report = run(archive)
    assert report.states == Counter(indexed=4, quarantined=1, skipped=1)
    kinds = Counter((r[0], r[1]) for r in rows(archive, "modality", "track"))
    assert kinds[("visual", "v:0")] == 4  # red, blue, the silent film, the picture
    assert kinds[("audio", "a:0")] == 2  # show's sound, and REC_0002
    assert kinds[("speech", "speech")] == 1
    assert kinds[("scene", "scene")] == 5
    assert rows(archive, "text").count(("show",)) == 1  # the file's name


def test_contract_2_a_second_run_finds_nothing_to_do(source, make_archive):
    archive = make_archive()
    run(archive)
    before, versions = rows(archive), Tables(archive.tables).versions()
    report = run(archive)
    assert report.states == Counter(unchanged=6)
    assert rows(archive) == before
    assert Tables(archive.tables).versions() == versions


def test_contract_3_every_discovered_asset_ends_in_one_state(source, make_archive):
    archive = make_archive()
    report = run(archive, limit=2, first=["films/*"])
    assert report.discovered == 6
    assert report.states["deferred"] == 4
    assert report.discovered == sum(report.states.values())
    (source / "films/show.mp4").unlink()
    again = run(archive)
    assert again.states["deferred"] == 0
    assert again.discovered == sum(again.states.values()) == 6


def test_contract_4_one_bad_file_costs_no_other(source, make_archive):
    for n in range(5):
        (source / f"bad-{n}.mp4").write_bytes(os.urandom(2000))
    archive = make_archive()
    report = run(archive)
    assert report.states["indexed"] == 4
    assert report.states["quarantined"] == 6


def test_content_decides_and_not_the_path(source, make_archive):
    archive = make_archive()
    run(archive)
    ids = {row.asset_id for row in Tables(archive.tables).assets()}
    (source / "pictures/IMG_0001.png").rename(source / "pictures/renamed picture.png")
    shutil.copy(source / "films/show.mp4", source / "films/zcopy.mp4")
    os.utime(source / "sounds/REC_0002.flac")
    report = run(archive)
    assert {row.asset_id for row in Tables(archive.tables).assets()} == ids
    assert outcomes(archive)["films/zcopy.mp4"] == "indexed"
    assert report.states["deleted"] == 0
    assert ("name", "renamed picture") in rows(archive, "track", "text")


def test_a_changed_file_is_redone_and_a_deleted_one_leaves(source, make_archive):
    archive = make_archive()
    run(archive)
    picture(source / "pictures/IMG_0001.png", "red")
    (source / "films/show.mp4").unlink()
    report = run(archive)
    assert report.states["indexed"] == 1
    assert report.states["deleted"] == 2  # the old picture's content, and the film
    labels = {label["name"] for row in Tables(archive.tables).moments().to_pylist() for label in row["labels"] or ()}
    assert "blue" not in labels
    (source / "films/zagain.mp4").write_bytes(film(source / "x.mp4", ["red", "blue"]).read_bytes())
    (source / "x.mp4").unlink()
    assert run(archive).states["indexed"] == 1


class Counting(Silent):
    def __init__(self):
        self.kinds = Counter()

    def made(self, made):
        self.kinds.update(str(m.modality) for m in made.moments)


def test_contract_6_a_changed_recipe_redoes_exactly_what_it_invalidates(source, make_archive):
    archive = make_archive()
    run(archive)
    before = rows(archive, "modality", "recipe")
    vectors = {
        r["moment_id"]: r["vector"] for r in Tables(archive.tables).moments().to_pylist() if r["modality"] != "scene"
    }
    archive = (
        make_archive("\n[fusion]\nvisual = 0.9\n")
        if "[fusion]" not in (archive.root / "rushes.toml").read_text()
        else archive
    )
    text = (archive.root / "rushes.toml").read_text()
    (archive.root / "rushes.toml").write_text(text.replace("visual = 0.", "visual = 0.1"))
    watcher = Counting()
    run(open_archive(archive.root), watcher=watcher)
    assert watcher.kinds == Counter()  # nothing was decoded or encoded: scenes were fused from what is stored
    after = rows(archive, "modality", "recipe")
    assert [r for r in after if r[0] != "scene"] == [r for r in before if r[0] != "scene"]
    assert {r[1] for r in after if r[0] == "scene"}.isdisjoint({r[1] for r in before if r[0] == "scene"})
    assert {
        r["moment_id"]: r["vector"] for r in Tables(archive.tables).moments().to_pylist() if r["modality"] != "scene"
    } == vectors


def test_a_new_transcript_redoes_words_and_not_pictures(source, make_archive):
    archive = make_archive()
    run(archive)
    (source / "films/show.srt").write_text("1\n00:00:01,000 --> 00:00:03,000\nthe lighthouse keeper\n")
    watcher = Counting()
    run(archive, watcher=watcher)
    assert watcher.kinds == Counter(speech=1, text=1)
    said = [r for r in Tables(archive.tables).moments().to_pylist() if r["modality"] == "speech"]
    assert [(r["text"], r["track"], r["start_seconds"]) for r in said] == [
        ("the lighthouse keeper", "sidecar:show.srt", 1.0)
    ]


def test_a_bad_sidecar_is_named_and_its_film_does_without(source, make_archive):
    (source / "films/show.srt").write_bytes(b"1\n00:00:xx --> 99:99:99\n\xff\xfe\x00broken\n")
    archive = make_archive()
    run(archive)
    assert outcomes(archive)["films/show.srt"] == "skipped"
    assert outcomes(archive)["films/show.mp4"] == "indexed"
    assert "beep goes the machine" in [r[0] for r in rows(archive, "text")]


def test_metadata_beside_a_file_is_searchable_text(source, make_archive):
    (source / "films/show.json").write_text('{"title": "Harbour", "tags": ["tram", "1912"], "owner": "city"}')
    archive = make_archive()
    run(archive)
    assert ("metadata", "Harbour. tram, 1912") in rows(archive, "track", "text")
    facts = next(r.facts for r in Tables(archive.tables).assets() if r.locations[0].uri == "films/show.mp4")
    assert facts.metadata["owner"] == "city"


def test_a_file_that_changes_while_it_is_read_is_left_to_the_next_run(source, make_archive):
    archive = make_archive()

    class Touching(Silent):
        def made(self, made):
            os.utime(source / "films/silent.mp4")

    assert run(archive, watcher=Touching()).states["deferred"] == 1
    assert run(archive).states["indexed"] == 1


def test_a_source_that_is_unplugged_deletes_nothing(source, make_archive):
    archive = make_archive()
    run(archive)
    before = rows(archive)
    source.rename(source.with_name("unplugged"))
    with pytest.raises(ArchiveError, match="not there"):
        run(archive)
    assert rows(archive) == before


def test_a_folder_that_cannot_be_read_for_once_deletes_nothing(source, make_archive, monkeypatch):
    archive, scandir = make_archive(), os.scandir
    run(archive)
    before = rows(archive)

    def refusing(folder):
        if folder == source / "films":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    with monkeypatch.context() as patched:
        patched.setattr("pipeline.store.discover.os.scandir", refusing)
        report = run(archive)
    assert report.states == Counter(unchanged=6, skipped=1)
    assert report.reasons == {"unreadable_folder": 1}
    assert rows(archive) == before
    assert run(archive).states == Counter(unchanged=6, deleted=1), "what is deleted is the note of it"
    assert rows(archive) == before


def test_a_file_that_cannot_be_looked_at_for_once_is_not_deleted(source, make_archive, monkeypatch):
    archive, stat = make_archive(), Path.stat
    run(archive)
    before = rows(archive)
    known = next(path for path in sorted(source.rglob("*.mp4")))

    def failing(path, **options):
        if path == known:
            raise OSError(errno.EIO, "Input/output error")
        return stat(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", failing)
        assert run(archive).states == Counter(unchanged=6)
    assert rows(archive) == before


def test_one_writes_at_a_time(source, make_archive):
    archive = make_archive()
    with writing(archive), pytest.raises(ArchiveError, match=str(os.getpid())):
        run(archive)
    run(archive)


def test_an_interruption_keeps_what_is_done_and_the_next_run_goes_on(source, make_archive):
    archive = make_archive()

    class Impatient(Silent):
        def finished(self, asset_id, uri, state, reason):
            raise KeyboardInterrupt

    report = run(archive, watcher=Impatient())
    assert report.interrupted
    assert report.states["deferred"] >= 1
    again = run(archive)
    assert not again.interrupted
    assert again.states["deferred"] == 0
    assert set(outcomes(archive).values()) == {"indexed", "quarantined", "skipped"}


def test_an_interruption_in_the_midst_of_a_commit_doubles_no_row(source, make_archive, monkeypatch):
    archive, real = make_archive(), Tables._append

    def interrupted(self, name, *args):
        real(self, name, *args)
        monkeypatch.setattr(Tables, "_append", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(Tables, "_append", interrupted)
    monkeypatch.setattr("pipeline.processing.ASSETS_PER_COMMIT", 2)
    assert run(archive).interrupted
    assert run(archive).states["deferred"] == 0
    assert len(rows(archive)) > 4, "each is there once"
    assert set(outcomes(archive).values()) == {"indexed", "quarantined", "skipped"}


KILLED = """
import sys
import pytest
from pathlib import Path
from tests import conftest
import encoders.registry, encoders.profiles
encoders.registry.FACTORIES = {**encoders.registry.FACTORIES, **conftest.TOYS}
encoders.profiles.PROFILES = {"toy": encoders.profiles.Profile(
    name="toy", visual="toy-colours", text="toy-words", audio="toy-pitches", speech="toy-listener")}
import pipeline.ingest, pipeline.processing
pipeline.processing.ASSETS_PER_COMMIT = 1
from pipeline.archive import open_archive
from pipeline.executors import local
from tests.pipeline.test_ingest import Silent
pipeline.ingest.ingest(open_archive(Path(sys.argv[1])), local.run, Silent())
"""


def test_contract_2_a_run_killed_at_any_time_completes_on_the_next(source, make_archive, root, tmp_path):
    for n in range(6):
        picture(source / f"more/{n}.png", "blue", (40 + n, 30))
    whole = make_archive()
    run(whole)
    expected = rows(whole)
    for delay in (0.6, 0.9, 1.2, 1.5, 2.0):
        shutil.rmtree(whole.root / "tables")
        env = {**os.environ, "PYTHONPATH": str(root)}
        process = subprocess.Popen([sys.executable, "-c", KILLED, whole.root], cwd=root, env=env)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        run(whole)
        assert rows(whole) == expected
