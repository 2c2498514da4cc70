"""Ingest from an S3 server: the same rows as from a folder, and nothing lost by an outage."""

import subprocess
import sys
from collections import Counter

import pytest

from index.forget import forget
from pipeline.archive import create_archive, open_archive
from pipeline.errors import ArchiveError
from pipeline.executors import local
from pipeline.executors import ray as on_ray
from pipeline.store import spool
from pipeline.store.tables import Tables
from tests.media import film, picture, sound
from tests.pipeline.test_ingest import Counting, Silent, outcomes, rows, run
from tests.stores import SECRET


@pytest.fixture
def source(tmp_path):
    source = tmp_path / "source"
    film(source / "films/show.mp4", ["red", "blue"])
    (source / "films/show.en.srt").write_text("1\n00:00:01,000 --> 00:00:03,000\nthe lighthouse keeper\n")
    (source / "films/show.json").write_text('{"title": "Harbour"}')
    picture(source / "pictures/IMG_0001 ü.png", "green")
    picture(source / "pictures/DSC_2.png", "green")
    sound(source / "sounds/REC_0002.flac", "low")
    (source / "broken.mp4").write_bytes(b"\0\0\0\x18ftypisom" + b"x" * 200)
    (source / "notes.txt").write_text("shopping list")
    return source


@pytest.fixture
def archive_of(tmp_path, toys):
    def make(uri, name="bucket-archive"):
        root = tmp_path / name
        return create_archive(root, [str(uri)], toys) if not root.exists() else open_archive(root)

    return make


def copies(tmp_path):
    return [path for path in (tmp_path / "cache/spool").rglob("*") if path.is_file() and path.name != ".lock"]


class Told(Silent):
    """Keeps what was told of each file."""

    def __init__(self):
        self.said = {}

    def finished(self, asset_id, uri, state, reason):
        self.said[uri] = (str(state), reason)


def test_a_bucket_gives_the_rows_that_a_folder_gives(source, bucket, archive_of, tmp_path):
    of_folder = archive_of(source, "folder-archive")
    run(of_folder)
    bucket.put_folder(source, "media/")
    archive = archive_of(bucket.uri("/media"))
    report = run(archive)
    assert report.states == Counter(indexed=3, quarantined=1, skipped=1)
    assert rows(archive) == rows(of_folder)
    assert outcomes(archive) == outcomes(of_folder)
    assert {r.asset_id for r in Tables(archive.tables).assets() if r.facts} == {
        r.asset_id for r in Tables(of_folder.tables).assets() if r.facts
    }
    assert copies(tmp_path) == []


def test_a_second_run_finds_nothing_to_do_and_reads_nothing(source, bucket, proxy, archive_of):
    bucket.put_folder(source)
    archive = archive_of(bucket.uri(endpoint=proxy.endpoint))
    run(archive)
    before, versions = rows(archive), Tables(archive.tables).versions()
    report = run(archive)
    assert report.states == Counter(unchanged=5)
    assert report.stage_seconds["look"] == 0
    assert rows(archive) == before
    assert Tables(archive.tables).versions() == versions


def test_changed_new_and_removed_objects(source, bucket, archive_of):
    bucket.put_folder(source)
    archive = archive_of(bucket.uri())
    run(archive)
    bucket.put("pictures/new.png", picture(source / "new.png", "blue").read_bytes())
    bucket.put("sounds/REC_0002.flac", sound(source / "other.flac", "high").read_bytes())
    bucket.remove("films/show.mp4")
    report = run(archive)
    assert report.states["indexed"] == 2
    assert report.states["deleted"] == 2  # the film, and what the sound was
    assert outcomes(archive)["films/show.json"] == "skipped"


def test_a_new_transcript_redoes_words_and_fetches_no_film(source, bucket, archive_of, monkeypatch):
    bucket.put_folder(source)
    archive = archive_of(bucket.uri())
    run(archive)
    bucket.put("films/show.en.srt", b"1\n00:00:01,000 --> 00:00:03,000\nthe harbour master\n")
    fetched = []
    monkeypatch.setattr(
        spool, "_fetch", lambda place, path, real=spool._fetch: fetched.append(place.uri) or real(place, path)
    )
    watcher = Counting()
    run(archive, watcher=watcher)
    assert watcher.kinds == Counter(speech=1, text=2)
    assert sorted(fetched) == ["films/show.en.srt", "films/show.json"]
    assert "the harbour master" in [r[0] for r in rows(archive, "text")]


def test_a_new_recipe_fetches_again_what_it_decodes(source, bucket, archive_of, tmp_path):
    bucket.put_folder(source)
    archive = archive_of(bucket.uri())
    run(archive)
    before = rows(archive, "modality", "track", "start_seconds", "text")
    toml = archive.root / "rushes.toml"
    toml.write_text(toml.read_text().replace("longest_shot_seconds = ", "longest_shot_seconds = 1"))
    report = run(open_archive(archive.root))
    assert report.states["indexed"] >= 1
    assert rows(archive, "modality", "track", "start_seconds", "text") == before
    assert copies(tmp_path) == []


def test_an_outage_deletes_nothing(source, bucket, proxy, archive_of):
    bucket.put_folder(source)
    archive = archive_of(bucket.uri(endpoint=proxy.endpoint))
    run(archive)
    before, versions = rows(archive), Tables(archive.tables).versions()
    for fault in ("403 Forbidden", "404 Not Found", "200 OK"):
        proxy.break_with(fault)
        with pytest.raises(ArchiveError, match=r"nothing was changed|nothing at"):
            run(archive)
        assert rows(archive) == before
        assert Tables(archive.tables).versions() == versions


def test_an_outage_in_the_middle_defers_the_rest_and_says_why(source, bucket, proxy, archive_of, monkeypatch, tmp_path):
    monkeypatch.setattr("pipeline.executors.local.N_DECODERS", 1)
    monkeypatch.setattr("pipeline.store.buckets.PATIENCE_SECONDS", 1e-9)
    bucket.put_folder(source)
    archive = archive_of(bucket.uri(endpoint=proxy.endpoint))

    class Unlucky(Told):
        def finished(self, asset_id, uri, state, reason):
            super().finished(asset_id, uri, state, reason)
            proxy.break_with("403 Forbidden")

    watcher = Unlucky()
    report = run(archive, watcher=watcher)
    done = report.states["indexed"] + report.states["quarantined"] + report.states["skipped"]
    assert done >= 1
    assert report.states["deferred"] == report.reasons["store_error"] >= 1
    assert report.states["deleted"] == 0
    assert any(state == "deferred" and "not asked again" in why for state, why in watcher.said.values())
    assert copies(tmp_path) == []
    proxy.break_with("pass")
    again = run(archive)
    assert again.states["deferred"] == again.states["deleted"] == 0
    assert set(outcomes(archive).values()) == {"indexed", "quarantined", "skipped"}


def test_an_object_that_changes_or_goes_while_a_run_is_on_is_left_to_the_next(source, bucket, archive_of, monkeypatch):
    bucket.put_folder(source)
    archive = archive_of(bucket.uri())

    class Meanwhile(Told):
        def planned(self, n_files, n_bytes):
            bucket.put("sounds/REC_0002.flac", sound(source / "longer.flac", "high", 4.0).read_bytes())
            bucket.remove("films/show.mp4")

    watcher = Meanwhile()
    report = run(archive, watcher=watcher)
    assert report.states["deferred"] == 2
    assert watcher.said["sounds/REC_0002.flac"][0] == watcher.said["films/show.mp4"][0] == "deferred"
    assert report.reasons["changed"] == report.reasons["vanished"] == 1
    assert run(archive).states["deferred"] == 0
    assert outcomes(archive)["sounds/REC_0002.flac"] == "indexed"
    assert "films/show.mp4" not in outcomes(archive)


def test_without_room_for_copies_every_object_is_fetched_when_it_is_decoded(source, bucket, archive_of, monkeypatch):
    bucket.put_folder(source)
    archive = archive_of(bucket.uri())
    sizes = [p.stat().st_size for p in source.rglob("*") if p.is_file()]
    monkeypatch.setattr(spool, "_free_bytes", lambda: max(sizes))
    assert run(archive).states == Counter(indexed=3, quarantined=1, skipped=1)


def test_a_disk_without_room_defers_and_says_where(source, bucket, archive_of, monkeypatch, tmp_path):
    bucket.put_folder(source)
    archive = archive_of(bucket.uri())
    monkeypatch.setattr(spool, "_free_bytes", lambda: 1000)
    watcher = Told()
    report = run(archive, watcher=watcher)
    assert report.reasons["no_space"] >= 1
    state, why = watcher.said["films/show.mp4"]
    assert state == "deferred"
    assert str(tmp_path / "cache/spool") in why


def test_jobs_do_their_work_where_no_copy_is(source, bucket, archive_of):
    """As a worker on another machine of a cluster does."""
    bucket.put_folder(source)
    archive = archive_of(bucket.uri())

    def elsewhere(jobs, settings, models, watch):
        def moved():
            for job in jobs:
                spool.discard(job.path)
                yield job

        return local.run(moved(), settings, models, watch)

    assert run(archive, executor=elsewhere).states == Counter(indexed=3, quarantined=1, skipped=1)


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_ray_gives_the_rows_that_one_process_gives(source, bucket, archive_of, tmp_path):
    bucket.put_folder(source)
    of_one, of_ray = archive_of(bucket.uri()), archive_of(bucket.uri(), "ray-archive")
    run(of_one)
    assert run(of_ray, executor=on_ray.run).states == Counter(indexed=3, quarantined=1, skipped=1)
    assert rows(of_ray) == rows(of_one)
    assert copies(tmp_path) == []


def test_an_object_that_was_forgotten_stays_so_with_what_lies_beside_it(source, bucket, archive_of, tmp_path):
    bucket.put_folder(source)
    bucket.put("films/show.srt", b"no transcript")
    archive = archive_of(bucket.uri())
    run(archive)
    assert outcomes(archive)["films/show.srt"] == "skipped"
    forget(archive, [f"s3://{bucket.name}/films/show.mp4"])
    report = run(archive)
    assert report.states["forgotten"] == 1
    assert report.states["indexed"] == report.states["deferred"] == 0
    bucket.put("films/again.mp4", (source / "films/show.mp4").read_bytes())
    assert run(archive).states["forgotten"] == 1
    assert not any("show" in uri or "again" in uri for uri in outcomes(archive))
    assert copies(tmp_path) == []


def test_a_secret_is_in_no_byte_of_the_archive(source, bucket, archive_of):
    bucket.put_folder(source)
    archive = archive_of(bucket.uri())
    run(archive)
    files = [path for path in archive.root.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def rushes(root, *arguments):
    run = [sys.executable, "-m", "flows.cli", *arguments]
    return subprocess.run(run, cwd=root, capture_output=True, text=True, timeout=120)


def test_init_takes_a_bucket_that_is_there(bucket, tmp_path, root):
    bucket.put("media/film.mp4")
    made = rushes(root, "init", str(tmp_path / "a"), "--source", bucket.uri("/media/"))
    assert made.returncode == 0
    assert open_archive(tmp_path / "a").settings.sources == (bucket.uri("/media"),)
    refused = rushes(root, "init", str(tmp_path / "b"), "--source", bucket.uri("/nothing"))
    assert refused.returncode == 2
    assert "nothing at" in refused.stderr
    secret = rushes(root, "init", str(tmp_path / "b"), "--source", f"s3://me:{SECRET}@{bucket.name}/media")
    assert secret.returncode == 2
    assert SECRET not in secret.stderr + secret.stdout
    assert not (tmp_path / "b").exists()
