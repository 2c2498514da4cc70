import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import ArchiveError, StoreError
from pipeline.store import buckets, spool
from pipeline.store.discover import Folder, open_source
from pipeline.store.ledger import asset_id_of


def listed(uri, tmp_path):
    return {found.place.uri: found for found in open_source(uri, tmp_path).list()}


def only(uri, tmp_path):
    (found,) = open_source(uri, tmp_path).list()
    return found.place


NAMES = [
    "b/2.mp4", "a/1.mp4", "c.png", "b/10.mp4", "a-b.mp4", "a.mp4", "show.mp4", "show.srt", "show.en.vtt", "show.json",
    "show.mp4.json", "other.srt", "b/other.mp4", ".hidden.mp4", ".trash/film.mp4", "film.mp4.part", "up.tmp/film.mp4",
    "film.mp4~", "deep/er/still/x.flac", "sp ace.mp4", "ру́сский 日本語 🎬.png", "<img src=x>.png", "50%.png",
    "%41+b&c=d.mp4", "q?u#e.mp4", "-rf.png", "l" * 200 + ".mp4",
]  # fmt: skip


def test_a_bucket_is_listed_as_a_folder_is(bucket, tmp_path):
    folder = tmp_path / "folder"
    for name in NAMES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        bucket.put(f"media/{name}", name.encode())
    bucket.put("media/")  # what consoles make to show a folder
    bucket.put("media/empty/", b"")
    bucket.put("mediator.mp4")
    expected = {f.place.uri: f for f in Folder(folder).list()}
    found = listed(bucket.uri("/media"), tmp_path)
    assert set(found) == set(expected)
    for uri, file in expected.items():
        assert found[uri].skip == file.skip
        assert found[uri].place.size == file.place.size
        assert [s.uri for s in found[uri].sidecars] == [s.uri for s in file.sidecars]
    assert len(found["show.mp4"].sidecars) == 4
    assert list(found) == [f.place.uri for f in open_source(bucket.uri("/media/"), tmp_path).list()]


def test_an_object_is_read_back_by_its_location_whatever_its_name(bucket, tmp_path):
    for name in NAMES:
        bucket.put(f"a b/{name}", name.encode())
    found = listed(bucket.uri("/a%20b"), tmp_path)
    assert found == listed(bucket.uri("/a b"), tmp_path)
    assert len(found) > 15
    for name, file in found.items():
        assert b"".join(buckets.read(file.place)) == name.encode()


def test_keys_that_cannot_be_asked_for_are_named(bucket, tmp_path):
    for key in ("p/a/../up.mp4", "p/a//double.mp4", "p//lead.mp4", "p/./dot.mp4", "p/..", "p/up.mp4"):
        bucket.put(key)
    skips = {uri: found.skip for uri, found in listed(bucket.uri("/p"), tmp_path).items()}
    assert skips.pop("up.mp4") == ""
    assert len(skips) == 5
    assert set(skips.values()) == {"unreadable_name"}


def test_a_key_of_1000_bytes_gets_a_copy(bucket, tmp_path):
    bucket.put("l" * 990 + ".mp4", b"long")
    place = only(bucket.uri(), tmp_path)
    asset_id, path = spool.copied(place, buckets.read(place))
    assert path.read_bytes() == b"long"
    assert path.suffix == ".mp4"
    assert asset_id == asset_id_of([b"long"])


def test_more_objects_than_one_page_are_all_listed(bucket, tmp_path):
    bucket.put_many([f"many/{n:04d}.mp4" for n in range(1005)])
    assert len(listed(bucket.uri("/many"), tmp_path)) == 1005


def test_a_change_of_object_or_sidecar_changes_the_place(bucket, tmp_path):
    bucket.put("show.mp4", b"x")
    bucket.put("show.srt", b"one")
    first = only(bucket.uri(), tmp_path)
    bucket.put("show.srt", b"three")
    second = only(bucket.uri(), tmp_path)
    assert second != first
    bucket.put("show.mp4", b"xx")
    assert only(bucket.uri(), tmp_path) != second


@pytest.mark.parametrize("place", ["bucket", "prefix", "server"])
def test_what_cannot_be_listed_is_not_an_empty_source(bucket, proxy, tmp_path, place):
    bucket.put("there/film.mp4")
    uri = bucket.uri("/not-there")
    if place == "bucket":
        uri = bucket.uri("/there").replace(bucket.name, "no-such-bucket")
    elif place == "server":
        proxy.break_with("drop")
        uri = bucket.uri("/there", proxy.endpoint)
    with pytest.raises(ArchiveError, match=r"nothing at|cannot be listed"):
        list(open_source(uri, tmp_path).list())
    proxy.break_with("403 Forbidden")  # without all the patience
    with pytest.raises(ArchiveError, match=r"nothing at|cannot be listed"):
        open_source(uri, tmp_path).check()


def test_a_prefix_is_empty_only_where_an_object_says_that_it_is_one(bucket, tmp_path):
    with pytest.raises(ArchiveError, match="nothing at"):
        listed(bucket.uri(), tmp_path)
    bucket.put("media/", b"")
    assert listed(bucket.uri("/media"), tmp_path) == {}
    assert listed(bucket.uri(), tmp_path) == {}


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("s3://someone:hunter2@films/news", "password"),
        ("s3://hunter2@films/news", "password"),
        ("gs://hunter2@films/news", "password"),
        ("abfss://films:hunter2@account.dfs.core.windows.net/news", "password"),
        ("abfs://films@account.dfs.core.windows.net/news?client_secret=hunter2", "client_secret"),
        ("s3://films/news?secret_key=hunter2", "secret_key"),
        ("s3://films/news?hunter2", "no URI"),
        ("gopher://hunter2@films", "gopher"),
        ("s3:///news", "names no bucket"),
        ("s3://films/take#2", "%23"),
        ("s3://[films/news", "no URI"),
    ],
)
def test_a_uri_that_says_too_much_or_too_little_is_refused(uri, said, tmp_path):
    with pytest.raises(ArchiveError, match=said) as refused:
        open_source(uri, tmp_path)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "uri", ["gs://anonymous@films/news", "gcs://films", "abfss://films@account.dfs.core.windows.net/news"]
)
def test_other_stores_are_known_by_their_schemes(uri, tmp_path):
    bucket = open_source(uri, tmp_path)
    assert bucket.base == uri
    assert buckets._store_of(f"{uri}/a%20b.mp4")._path(f"{uri}/a%20b.mp4").endswith("/a b.mp4")


def test_the_endpoint_may_come_from_the_environment(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{bucket.endpoint}")
    bucket.put("film.mp4")
    assert only(f"s3://{bucket.name}", tmp_path).location == f"s3://{bucket.name}/film.mp4"


def test_an_object_that_changes_while_it_is_read_is_told_within_the_same_second(bucket, tmp_path):
    bucket.put("film.mp4", b"a" * (buckets.BLOCK_BYTES + 5))
    place = only(bucket.uri(), tmp_path)
    blocks = buckets.read(place)
    assert len(next(blocks)) == buckets.BLOCK_BYTES
    bucket.put("film.mp4", b"b" * (buckets.BLOCK_BYTES + 5))
    with pytest.raises(StoreError, match="changed"):
        list(blocks)


def test_an_object_is_read_as_it_was_listed_or_not_at_all(bucket, tmp_path):
    bucket.put("film.mp4", b"one")
    place = only(bucket.uri(), tmp_path)
    for other in (replace(place, size=4), replace(place, mtime_ns=place.mtime_ns + 10**9)):
        with pytest.raises(StoreError, match="changed"):
            list(buckets.read(other))
    bucket.remove("film.mp4")
    with pytest.raises(StoreError, match="vanished"):
        list(buckets.read(place))
    error = StoreError("changed", "why")
    assert pickle.loads(pickle.dumps(error)).reason == "changed"


@pytest.mark.parametrize("fault", ["drop", "cut", "503 Slow Down", "500 Internal Server Error", "slow"])
def test_what_passes_is_tried_again(bucket, proxy, tmp_path, fault):
    body = os.urandom(200_000)
    bucket.put("film.mp4", body)
    place = only(bucket.uri(endpoint=proxy.endpoint), tmp_path)
    proxy.break_with(fault, n_faults=2)
    n_connections = proxy.n_connections
    assert b"".join(buckets.read(place)) == body
    assert proxy.n_connections > n_connections


@pytest.mark.parametrize("fault", ["drop", "403 Forbidden"])
def test_what_does_not_pass_is_told(bucket, proxy, tmp_path, fault):
    bucket.put("film.mp4", b"x")
    place = only(bucket.uri(endpoint=proxy.endpoint), tmp_path)
    proxy.break_with(fault)
    with pytest.raises(StoreError) as told:
        list(buckets.read(place))
    assert told.value.reason == "store_error"
    assert told.value.detail


def test_a_store_that_keeps_one_waiting_is_not_asked_again_before_it_is_listed(bucket, proxy, tmp_path, monkeypatch):
    bucket.put("film.mp4", b"x")
    uri = bucket.uri(endpoint=proxy.endpoint)
    place = only(uri, tmp_path)
    monkeypatch.setattr(buckets, "PATIENCE_SECONDS", 1e-9)
    proxy.break_with("403 Forbidden")
    with pytest.raises(StoreError):
        list(buckets.read(place))
    proxy.break_with("pass")
    n_connections = proxy.n_connections
    with pytest.raises(StoreError, match="not asked again"):
        list(buckets.read(place))
    assert proxy.n_connections == n_connections
    assert b"".join(buckets.read(only(uri, tmp_path))) == b"x"


def test_a_copy_lives_as_long_as_somebody_decodes_it(bucket, tmp_path):
    bucket.put("film.mp4", b"film")
    place = only(bucket.uri(), tmp_path)
    asset_id, path = spool.copied(place, buckets.read(place))
    with spool.nearby(path, place, asset_id) as copy:
        assert copy == path
        assert copy.read_bytes() == b"film"
    assert not path.exists()
    with spool.nearby(path, place, asset_id) as copy:  # as on another machine, or when a worker died
        assert copy.read_bytes() == b"film"
    assert not copy.exists()
    with pytest.raises(StoreError, match="changed"), spool.nearby(path, place, "another"):
        pass
    assert list((tmp_path / "cache/spool").rglob("film*")) == []


def test_without_room_an_object_is_known_and_not_copied(bucket, tmp_path, monkeypatch):
    bucket.put("film.mp4", b"film")
    place = only(bucket.uri(), tmp_path)
    monkeypatch.setattr(spool, "_free_bytes", lambda: 7)
    asset_id, path = spool.copied(place, buckets.read(place))
    assert asset_id == asset_id_of([b"film"])
    assert not path.exists()
    monkeypatch.setattr(spool, "_free_bytes", lambda: 3)
    with pytest.raises(StoreError, match="no_space"), spool.nearby(path, place, asset_id):
        pass


def test_a_disk_that_is_full_is_no_fault_of_the_file(bucket, tmp_path, monkeypatch):
    bucket.put("film.mp4", b"film")
    place = only(bucket.uri(), tmp_path)
    real = spool.path_for

    def full(place):
        path = real(place)
        path.symlink_to("/dev/full")
        return path

    monkeypatch.setattr(spool, "path_for", full)
    with pytest.raises(StoreError, match="no_space"):
        spool.copied(place, buckets.read(place))


def test_copies_of_a_killed_process_go_with_the_next(bucket, tmp_path):
    bucket.put("film.mp4", b"film")
    code = (
        "import os, sys; from pathlib import Path; from pipeline.store import buckets, spool;"
        "from pipeline.store.discover import open_source;"
        "(found,) = open_source(sys.argv[1], Path()).list();"
        "print(spool.copied(found.place, buckets.read(found.place))[1], flush=True); os.kill(os.getpid(), 9)"
    )
    run = [sys.executable, "-c", code, bucket.uri()]
    left = [Path(subprocess.run(run, capture_output=True, text=True).stdout.strip()) for _ in range(2)]
    assert not left[0].exists()
    assert left[1].read_bytes() == b"film"
    place = only(bucket.uri(), tmp_path)
    mine = spool.copied(place, buckets.read(place))[1]
    assert mine.exists()
    assert not left[1].exists()
