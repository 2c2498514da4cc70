import os

import pytest

from pipeline.errors import ArchiveError
from pipeline.store.discover import Folder, local_path, open_source


def listed(root, **options):
    return {found.place.uri: found for found in Folder(root, **options).list()}


def test_every_file_once_in_a_fixed_order(tmp_path):
    for name in ("b/2.mp4", "a/1.mp4", "c.png", "b/10.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [f.place.uri for f in Folder(tmp_path).list()] == ["a/1.mp4", "b/10.mp4", "b/2.mp4", "c.png"]


def test_hidden_and_temporary_files_are_left_out(tmp_path):
    for name in (".hidden.mp4", "film.mp4.part", "film.crdownload", "film.mp4~"):
        (tmp_path / name).write_bytes(b"x")
    assert listed(tmp_path) == {}


def test_sidecars_go_with_their_file(tmp_path):
    for name in ("show.mp4", "show.srt", "show.en.vtt", "show.json", "show.mp4.json", "other.srt"):
        (tmp_path / name).write_bytes(b"x")
    found = listed(tmp_path)
    assert set(found) == {"show.mp4", "other.srt"}
    assert [sidecar.uri for sidecar in found["show.mp4"].sidecars] == [
        "show.en.vtt",
        "show.json",
        "show.mp4.json",
        "show.srt",
    ]
    assert found["other.srt"].skip == "sidecar_of_nothing"


def test_a_changed_sidecar_changes_the_place(tmp_path):
    (tmp_path / "show.mp4").write_bytes(b"x")
    (tmp_path / "show.srt").write_bytes(b"one")
    before = listed(tmp_path)["show.mp4"].place
    (tmp_path / "show.srt").write_bytes(b"another")
    assert listed(tmp_path)["show.mp4"].place != before


def test_links_fifos_and_loops_are_named_and_survived(tmp_path):
    source, outside = tmp_path / "source", tmp_path / "outside"
    source.mkdir()
    outside.mkdir()
    (outside / "secret.ts").write_bytes(b"x")
    (source / "film.mp4").write_bytes(b"x")
    (source / "loop").symlink_to(".", target_is_directory=True)
    (source / "again.mp4").symlink_to("film.mp4")
    (source / "out.ts").symlink_to(outside / "secret.ts")
    (source / "outdir").symlink_to(outside)
    (source / "dangling.mp4").symlink_to("/nonexistent/film.mp4")
    os.mkfifo(source / "pipe.mp4")
    found = listed(source)
    assert {uri: f.skip for uri, f in found.items()} == {
        "film.mp4": "", "out.ts": "link_out_of_source", "outdir": "link_out_of_source",
        "dangling.mp4": "dangling_link", "pipe.mp4": "no_regular_file",
    }  # fmt: skip
    followed = listed(source, follow_links=True)
    assert followed["out.ts"].skip == ""
    assert followed["outdir/secret.ts"].skip == ""


@pytest.mark.parametrize(
    "name", ["a\nnewline.png", "-rf.png", "ру́сский 日本語 🎬.png", "<img src=x>.png", "50%.png", b"\xff\xfe.png"]
)
def test_any_name_survives_the_way_to_its_location_and_back(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(b"x")
    (found,) = Folder(tmp_path).list()
    assert local_path(found.place.location) == path
    found.place.uri.encode("utf8")


def test_a_source_that_is_not_there_is_not_an_empty_one(tmp_path):
    with pytest.raises(ArchiveError, match="not there"):
        list(open_source(str(tmp_path / "unplugged"), tmp_path).list())


def test_an_unknown_scheme_is_refused(tmp_path):
    with pytest.raises(ArchiveError, match="gopher"):
        open_source("gopher://x", tmp_path)
