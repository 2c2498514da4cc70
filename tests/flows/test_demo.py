"""The whole path with the real models, as a newcomer walks it."""

import io
import sys

import pytest

import index
from flows import demo
from flows.cli import main
from flows.demo_media import make_demo_media
from pipeline.media import Modality
from pipeline.store.tables import Tables

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "here"
    shown, sys.stdout = sys.stdout, io.StringIO()
    try:
        assert main(["demo", str(folder)]) == 0
        (folder.parent / "shown.txt").write_text(sys.stdout.getvalue())
    finally:
        sys.stdout = shown
    return folder


def test_every_question_finds_its_answer_first(folder):
    searcher = index.open(folder / "archive")
    media = make_demo_media(folder.parent / "again")
    assert len(media.queries) >= 6
    for query in media.queries:
        first = demo.answer(searcher, query)[0]
        assert first.uri == query.expected, query.title
        if query.between_seconds:
            start, stop = query.between_seconds
            assert min(stop, first.stop_seconds) > max(start, first.start_seconds), query.title


def test_each_answer_is_a_table_with_file_time_score_and_why(folder):
    shown = (folder.parent / "shown.txt").read_text()
    assert shown.count("why") >= 6
    assert "films/reel-02.webm" in shown


def test_a_scene_holds_what_is_seen_and_what_is_said(folder):
    searcher = index.open(folder / "archive")
    hit = searcher.search("ask what you can do for your country", modality="scene", k=1)[0]
    assert hit.uri == "films/reel-02.webm"
    assert "country" in hit.text
    modalities = set(Tables(folder / "archive/tables").moments(columns=["modality"])["modality"].to_pylist())
    assert modalities == set(Modality)


def test_the_demo_again_in_the_same_folder_does_nothing_anew(folder, capsys):
    assert main(["demo", str(folder)]) == 0
    assert "Nothing to do" in capsys.readouterr().err


def test_the_models_survive_the_way_to_another_process():
    import pickle

    from pipeline.recipe import Models

    models = Models.of("embedded")
    again = pickle.loads(pickle.dumps(models))
    assert again.visual.spec == models.visual.spec
    assert again.speech.name == models.speech.name
