"""A generation is built aside, checked, and put in force; what goes wrong in between is never seen."""

import json

import pytest

import index
from index.build import build, check, is_current, is_settled, put_in_force, stage
from index.generation import current, roll_back, rolled_back
from index.verify import damages
from pipeline.errors import ArchiveError, IntegrityError
from pipeline.media import Media
from pipeline.recipe import Models
from tests.index.archives import fill, said, seen

RED, GREEN = (255, 0, 0), (0, 255, 0)


@pytest.fixture
def archive(make_archive):
    archive = make_archive()
    models = Models.of("toy")
    fill(
        archive,
        {
            "a1": ("show.mp4", Media.VIDEO, [
                seen(models, "a1", 0, 10, RED), said(models, "a1", 2, 4, "the lighthouse keeper counts ships"),
            ]),
            "b2": ("green.png", Media.IMAGE, [seen(models, "b2", 0, 0, GREEN)]),
        },
    )  # fmt: skip
    return archive


def rewrite(staged, change):
    """Change what a staged manifest says."""
    path = staged / "manifest.json"
    manifest = json.loads(path.read_text("utf8"))
    change(manifest)
    path.write_text(json.dumps(manifest), "utf8")


def test_what_is_staged_is_not_seen_until_it_is_put_in_force(archive):
    staged = stage(archive)
    with pytest.raises(ArchiveError, match="no index yet"):
        current(archive.index)
    check(staged)
    assert put_in_force(archive, staged) == current(archive.index).name == "gen-000001"
    assert not staged.exists()


def test_what_an_interrupted_build_left_goes_with_the_next(archive):
    left = stage(archive)
    rest = archive.index / ".gen-000099.part"
    left.rename(rest)
    build(archive)
    assert sorted(path.name for path in archive.index.iterdir()) == ["current.json", "gen-000001"]


def test_a_file_that_changed_since_it_was_staged_is_not_published(archive):
    staged = stage(archive)
    for path in sorted(staged.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(IntegrityError):
            check(staged)
        path.write_bytes(whole)
    check(staged)


def test_a_list_that_the_tables_hold_and_the_generation_lacks_is_not_published(archive):
    staged = stage(archive)
    rewrite(staged, lambda manifest: manifest["lists"].pop(0))
    with pytest.raises(ArchiveError, match=r"0 of 1 speech moments; run `rushes index .* --rebuild`"):
        check(staged)


def test_tables_that_changed_after_staging_want_another_build(archive):
    staged = stage(archive)
    fill(archive, {"c3": ("red.png", Media.IMAGE, [seen(Models.of("toy"), "c3", 0, 0, RED)])})
    with pytest.raises(ArchiveError, match="changed meanwhile"):
        check(staged)
    build(archive)


@pytest.fixture
def two(archive):
    """An archive with a second generation, which has a red picture too."""
    build(archive)
    fill(archive, {"c3": ("red.png", Media.IMAGE, [seen(Models.of("toy"), "c3", 0, 0, RED)])})
    build(archive)
    return archive


def test_the_generation_before_can_be_put_back_and_stays_until_there_is_something_new(two):
    searcher = index.open(two.root)
    assert "red.png" in {hit.uri for hit in searcher.search("red")}
    assert roll_back(two.index) == current(two.index).name == "gen-000001"
    assert "red.png" not in {hit.uri for hit in searcher.search("red")}
    assert not is_current(two)
    assert is_settled(two)
    assert list(damages(two)) == []
    fill(two, {"d4": ("blue.png", Media.IMAGE, [seen(Models.of("toy"), "d4", 0, 0, (0, 0, 255))])})
    assert not is_settled(two)
    assert build(two) == "gen-000003"
    assert rolled_back(two.index) is None
    assert "red.png" in {hit.uri for hit in searcher.search("red")}


def test_going_back_twice_remembers_what_was_built_last(two):
    build(two)
    roll_back(two.index)
    assert roll_back(two.index) == "gen-000001"
    assert rolled_back(two.index).name == "gen-000003"
    assert is_settled(two)
    with pytest.raises(ArchiveError, match="gen-000001 is the oldest"):
        roll_back(two.index)


def test_a_damaged_generation_is_not_put_back(two):
    path = next((two.index / "gen-000001").glob("*.faiss"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match="gen-000001"):
        roll_back(two.index)
    assert current(two.index).name == "gen-000002"
