"""Saved questions: kept in a file that people edit, asked of new footage, told once."""

import json

import pytest

import index
from flows import saved_queries
from flows.cli import main
from flows.saved_queries import FILE, FLOOR, ask, read
from index.build import build
from pipeline.errors import ConfigError
from pipeline.media import Media, Modality, Outcome
from pipeline.recipe import Models
from pipeline.store.schemas import AssetRow, moment_table
from pipeline.store.tables import Batch, Tables
from tests.index.archives import fill, said, seen

BLUE, GREEN, RED = (0, 0, 255), (0, 255, 0), (255, 0, 0)


class Killed(BaseException):
    """What a test does to a process."""


class Told:
    """Stands where Prefect takes events: keeps one of those with the same id, as Prefect does."""

    def __init__(self) -> None:
        self.events: dict[str, dict] = {}
        self.n_sent = 0
        self.takes, self.dies_after = True, 10**9

    def emit(self, name, archive, payload, *, once="") -> bool:
        if not self.takes:
            return False
        assert name == "rushes.query.matched"
        self.n_sent += 1
        self.events.setdefault(once, dict(payload))
        if self.n_sent >= self.dies_after:
            self.dies_after = 10**9
            raise Killed
        return True


@pytest.fixture
def told(monkeypatch) -> Told:
    told = Told()
    monkeypatch.setattr(saved_queries, "emit", told.emit)
    return told


@pytest.fixture
def archive(make_archive):
    archive = make_archive()
    add_picture(archive, "a", BLUE)
    return archive


def add_picture(archive, name: str, *colours) -> str:
    """Put a film with a scene of each colour into the tables, and publish it."""
    models = Models.of("toy")
    moments = [seen(models, name, 10.0 * n, 10.0 * n + 10, colour) for n, colour in enumerate(colours)]
    fill(archive, {name: (f"{name}.mp4", Media.VIDEO, moments)})
    return build(archive)


def command(archive, *arguments: str) -> int:
    return main(["watch-query", arguments[0], str(archive.root), *arguments[1:]])


def test_questions_are_saved_listed_and_dropped(archive, capsys):
    assert command(archive, "list") == 0
    assert "No question" in capsys.readouterr().out
    assert command(archive, "add", " a flood ") == 0
    assert command(archive, "add", "a flood") == 0
    assert "already" in capsys.readouterr().err
    assert command(archive, "add", "a flood", "--modality", "visual", "--media", "video") == 0
    assert command(archive, "list", "--json") == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert listed == [{"words": "a flood"}, {"words": "a flood", "modality": "visual", "media": "video"}]
    assert json.loads((archive.root / FILE).read_text()) == listed
    assert command(archive, "list") == 0
    assert "a flood  (visual, video)" in capsys.readouterr().out
    assert command(archive, "remove", "a fl") == 2
    assert "watch-query list" in capsys.readouterr().err
    assert command(archive, "remove", "a flood") == 0
    assert read(archive) == []
    assert command(archive, "add", "  ") == 2


@pytest.mark.parametrize(
    "text",
    ["{", "{}", "[1]", '[{"words": 1}]', '[{"words": ""}]', '[{"word": "x"}]', '[{"words": "x", "modality": "smell"}]',
     '[{"words": "x", "media": []}]', "[" * 100_000, '[{"words": "%s"}]' % ("x" * 1001)],
)  # fmt: skip
def test_a_file_that_was_edited_into_nonsense_is_named(archive, told, text):
    (archive.root / FILE).write_text(text)
    with pytest.raises(ConfigError, match=FILE):
        ask(archive, "gen-000001")
    assert (archive.root / FILE).read_text() == text


def test_only_new_footage_is_asked_and_each_moment_told_once(archive, told):
    assert command(archive, "add", "something blue") == 0
    assert ask(archive, "gen-000001") == []  # it was there before the question
    published = add_picture(archive, "b", BLUE, RED, BLUE)
    (first, second) = ask(archive, published)
    assert {(match.hit.uri, match.hit.start_seconds) for match in (first, second)} == {("b.mp4", 0.0), ("b.mp4", 20.0)}
    payload = next(iter(told.events.values()))
    assert payload["question"] == "something blue"
    assert payload["generation"] == published
    assert payload["score"] >= FLOOR
    assert "text" not in payload
    json.dumps(payload)
    assert ask(archive, published) == []
    assert ask(archive, add_picture(archive, "c", GREEN)) == []
    assert told.n_sent == 2


def test_without_questions_nothing_is_kept_and_footage_before_the_first_is_not_new(archive, told):
    assert ask(archive, "gen-000001") == []
    assert not (archive.root / "told").exists()
    command(archive, "add", "something green")
    add_picture(archive, "b", BLUE)
    command(archive, "remove", "something green")
    published = add_picture(archive, "c", BLUE)
    assert ask(archive, published) == []
    command(archive, "add", "something blue")
    assert ask(archive, published) == []
    assert len(ask(archive, add_picture(archive, "d", BLUE))) == 1


def test_a_question_that_was_written_by_hand_is_asked_from_the_next_publication_on(archive, told):
    (archive.root / FILE).write_text('[{"words": "something blue"}]')
    assert ask(archive, "gen-000001") == []
    assert len(ask(archive, add_picture(archive, "b", BLUE))) == 1


def test_killed_anywhere_every_moment_is_told_and_prefect_keeps_each_once(archive, told):
    command(archive, "add", "something blue")
    command(archive, "add", "blue", "--modality", "visual")
    published = add_picture(archive, "b", BLUE, RED, BLUE, GREEN, BLUE)
    for kills in range(5):  # each time after the second moment was told, and before that was noted
        told.n_sent, told.dies_after = 0, 2
        with pytest.raises(Killed):
            ask(archive, published)
        assert len(told.events) == kills + 2
        with (archive.root / "told/moments.txt").open("a") as file:
            file.write("\n0123")  # cut off
    told.n_sent = 0
    ask(archive, published)
    assert len(told.events) == 6
    told.n_sent = 0
    ask(archive, published)
    assert told.n_sent == 0


def test_what_prefect_does_not_take_is_told_at_the_next_publication(archive, told):
    command(archive, "add", "something blue")
    told.takes = False
    assert ask(archive, add_picture(archive, "b", BLUE)) == []
    told.takes = True
    assert [match.hit.uri for match in ask(archive, add_picture(archive, "c", RED))] == ["b.mp4"]


def test_an_asset_that_goes_and_comes_back_is_not_new(archive, told):
    command(archive, "add", "something blue")
    ask(archive, add_picture(archive, "b", BLUE))
    gone = Batch([AssetRow("b", Outcome.DELETED)], moment_table([], {}, []), {"b": frozenset(Modality)})
    Tables(archive.tables).commit(gone)
    assert ask(archive, build(archive)) == []
    assert ask(archive, add_picture(archive, "b", BLUE)) == []


def test_what_a_question_is_narrowed_to_is_heeded(archive, told):
    command(archive, "add", "ships", "--modality", "speech")
    command(archive, "add", "blue", "--media", "image")
    models = Models.of("toy")
    moments = [
        seen(models, "b", 0, 5, BLUE),
        said(models, "b", 5, 8, "ships"),
        said(models, "b", 0, 8, "ships", Modality.TEXT),
    ]
    fill(archive, {"b": ("b.mp4", Media.VIDEO, moments)})
    (match,) = ask(archive, build(archive))
    assert (match.hit.modality, match.hit.start_seconds) == ("speech", 5.0)
    assert "ships" not in json.dumps({k: v for k, v in match.as_dict().items() if k != "question"})


def test_a_search_among_some_assets_finds_no_others(archive):
    add_picture(archive, "b", BLUE)
    searcher = index.open(archive.root)
    assert {hit.uri for hit in searcher.search("blue", among=frozenset({"b"}))} == {"b.mp4"}
    assert len(searcher.search("blue", among=frozenset())) == 0
    assert len(searcher.search("blue", among=frozenset({"unknown"}))) == 0
    assert {hit.uri for hit in searcher.search("blue")} == {"a.mp4", "b.mp4"}
