import json
import shutil

import pytest

from flows.cli import main
from tests.media import film, picture, sound


@pytest.fixture
def source(tmp_path, toys):
    source = tmp_path / "footage"
    film(source / "films/show.mp4", ["red", "blue"])
    picture(source / "stills/IMG_0001.png", "green")
    picture(source / "stills/<img src=x onerror=alert(1)>\n.png", "white")
    sound(source / "sounds/take@2.flac", "low")
    (source / "broken.mp4").write_bytes(b"")
    return source


@pytest.fixture
def archive(tmp_path, source, capsys):
    archive = str(tmp_path / "my archive")
    assert main(["init", archive, "--source", str(source), "--profile", "toy"]) == 0
    assert main(["ingest", archive]) == 0
    capsys.readouterr()
    return archive


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_hit_has_the_fields_that_programs_rely_on(archive, capsys):
    assert main(["search", archive, "blue", "-k", "2", "--json"]) == 0
    first, *_ = lines(capsys)
    assert list(first) == [
        "rank", "score", "why", "uri", "asset_id", "moment_id", "modality", "start_seconds", "stop_seconds", "text",
        "language", "labels", "thumb", "space", "track",
    ]  # fmt: skip
    assert (first["uri"], first["start_seconds"], first["stop_seconds"]) == ("films/show.mp4", 2.0, 4.0)


def test_a_search_may_be_kept_to_a_file_and_a_time(archive, capsys):
    assert main(["search", archive, "blue", "--asset", "films/show.mp4", "--between", "0", "2", "--json"]) == 0
    assert {(hit["uri"], hit["start_seconds"]) for hit in lines(capsys)} == {("films/show.mp4", 0.0)}
    assert main(["search", archive, "blue", "--between", "3", "1"]) == 2
    assert "later stop" in capsys.readouterr().err


def test_people_get_a_table(archive, capsys):
    assert main(["search", archive, "blue", "--media", "video"]) == 0
    shown = capsys.readouterr().out
    assert "films/show.mp4" in shown
    assert "0:02-0:04" in shown
    assert "looks like blue" in shown


def test_names_cannot_harm_a_terminal(archive, capsys):
    assert main(["search", archive, "white", "--media", "image"]) == 0
    shown = capsys.readouterr().out.replace("\n", "").replace(" ", "")
    assert "alert(1)>\\n.png" in shown


def test_a_picture_and_a_sound_are_questions(archive, source, capsys):
    assert main(["search", archive, "--image", str(source / "stills/IMG_0001.png"), "-k", "1", "--json"]) == 0
    assert lines(capsys)[0]["uri"] == "stills/IMG_0001.png"
    assert main(["search", archive, "--audio", str(source / "sounds/take@2.flac"), "-k", "1", "--json"]) == 0
    assert lines(capsys)[0]["uri"] == "sounds/take@2.flac"


@pytest.mark.parametrize("like", ["films/show.mp4@3", "films/show.mp4", "sounds/take@2.flac", "sounds/take@2.flac@1.5"])
def test_more_like_this(archive, capsys, like):
    assert main(["recommend", archive, "--like", like, "--json"]) == 0
    uri = like.rpartition("@")[0] if like.count("@") > ("take@" in like) else like
    assert uri not in {hit["uri"] for hit in lines(capsys)}


def test_status_quarantine_verify_and_index(archive, capsys):
    assert main(["status", archive, "--json"]) == 0
    (status,) = lines(capsys)
    assert status["assets"] == {"indexed": 4, "quarantined": 1}
    assert status["generation_is_current"]
    assert status["recall"] == dict.fromkeys(status["moments"], 1.0)
    assert main(["quarantine", archive, "--json"]) == 0
    assert lines(capsys) == [{"uri": "broken.mp4", "outcome": "quarantined", "reason": "empty"}]
    assert main(["verify", archive]) == 0
    assert "All is well" in capsys.readouterr().out
    assert main(["index", archive, "--rebuild", "--json"]) == 0
    (index,) = lines(capsys)
    assert index["generation"] == "gen-000002"
    assert all(recall["share"] == 1.0 for each in index["lists"] for recall in each["recall"].values())
    for command in ("status", "quarantine", "index"):
        assert main([command, archive]) == 0
        assert capsys.readouterr().out.strip()


def test_the_index_of_before_can_be_put_back(archive, source, capsys):
    picture(source / "new.png", "red")
    assert main(["ingest", archive]) == 0
    capsys.readouterr()
    assert main(["index", archive, "--rollback", "--json"]) == 0
    assert lines(capsys)[0]["generation"] == "gen-000001"
    assert main(["ingest", archive]) == 0  # nothing new: it stays
    assert main(["verify", archive]) == 0
    capsys.readouterr()
    assert main(["status", archive, "--json"]) == 0
    (status,) = lines(capsys)
    assert (status["generation"], status["rolled_back_from"]) == ("gen-000001", "gen-000002")
    assert main(["status", archive]) == 0
    assert "put back in place of gen-000002" in capsys.readouterr().out
    assert main(["index", archive, "--rollback"]) == 2
    assert "oldest" in capsys.readouterr().err


def test_ingest_tells_programs_each_asset_and_a_report(archive, source, capsys):
    picture(source / "new.png", "red")
    assert main(["ingest", archive, "--json"]) == 0
    *events, report = lines(capsys)
    assert [e["uri"] for e in events if e["event"] == "asset"] == ["new.png"]
    assert report["event"] == "report"
    assert report["indexed"] == 1
    assert report["discovered"] == sum(
        report[s] for s in ("indexed", "partial", "quarantined", "skipped", "deleted", "unchanged", "deferred")
    )


def test_strict_exits_1_on_quarantined_files_only_when_asked(tmp_path, source, capsys):
    archive = str(tmp_path / "archive")
    main(["init", archive, "--source", str(source), "--profile", "toy"])
    assert main(["ingest", archive, "--strict"]) == 1


def test_contract_9_the_tables_are_the_truth_and_the_index_is_made_again_from_them_alone(archive, tmp_path, capsys):
    main(["search", archive, "blue", "--json"])
    before = lines(capsys)
    shutil.rmtree(tmp_path / "my archive" / "index")
    shutil.rmtree(tmp_path / "footage")
    assert main(["index", archive, "--rebuild"]) == 0
    capsys.readouterr()
    main(["search", archive, "blue", "--json"])
    assert lines(capsys) == before


def test_verify_names_damage_and_its_cure(archive, tmp_path, capsys):
    vectors = next((tmp_path / "my archive/index/gen-000001").glob("*.npy"))
    vectors.write_bytes(vectors.read_bytes()[:-1])
    next((tmp_path / "my archive/thumbs").glob("*.pack")).unlink()
    assert main(["verify", archive]) == 1
    shown = capsys.readouterr().out
    assert vectors.name in shown
    assert "--rebuild" in shown
    assert ".pack" in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["search", "{tmp}/nowhere", "x"], "rushes init"),
        (["ingest", "{tmp}/footage"], "no archive"),
        (["search", "{archive}"], "no content"),
        (["search", "{archive}", "   "], "no content"),
        (["search", "{archive}", "--image", "{tmp}/nowhere.png"], "nowhere.png"),
        (["search", "{archive}", "--image", "{tmp}/footage/broken.mp4"], "empty"),
        (["recommend", "{archive}", "--like", "nowhere.mp4@3"], "nowhere.mp4"),
        (["recommend", "{archive}", "--like", "films/show.mp4@-3"], "0 or more"),
        (["init", "{tmp}/new", "--source", "{tmp}/nowhere"], "no folder"),
        (["init", "{tmp}/new", "--source", "{tmp}/footage", "--profile", "huge"], "'huge'"),
        (["init", "{archive}", "--source", "{tmp}/footage"], "already"),
        (["init", "{tmp}/footage/inside", "--source", "{tmp}/footage"], "apart"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_2(archive, tmp_path, capsys, arguments, told):
    arguments = [a.replace("{tmp}", str(tmp_path)).replace("{archive}", archive) for a in arguments]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sources = [", "not valid TOML"),
        ("", "sources"),
        ('sources = ["/x"]\nprofil = "embedded"', "'profil'"),
        ('sources = ["/x"]\nprofile = "enormous"', "'enormous'"),
        ('sources = ["/x"]\n[sampling]\ninterval_seconds = -1', "above 0"),
        ('sources = ["/x"]\n[sampling]\nwindow_seconds = inf', "above 0"),
        ('sources = ["/x"]\n[sampling]\nsize_px = 0.5', "whole number"),
        ('sources = ["/x"]\n[sampling]\nmode = "fast"', "known are auto"),
        ('sources = ["/x"]\n[sampling]\nmode = 3', "known are auto"),
        ('sources = ["/x"]\n[sampling]\nrate_hz = 8000', "remove the line"),
        ('sources = ["/x"]\n[sampling]\nrates_hz = [8000]', "remove the line"),
        ('sources = ["/x"]\n[fusion]\nvisual = 0\naudio = 0\nspeech = 0', "above 0"),
        ('sources = ["/x"]\n[fusion]\nsmell = 1', "'smell'"),
    ],
)
def test_a_rushes_toml_that_cannot_be_is_named_with_its_cure(archive, tmp_path, capsys, text, told):
    (tmp_path / "my archive/rushes.toml").write_text(text)
    assert main(["ingest", archive]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["search", "a", "b", "-k", "0"], ["search", "a", "b", "--media", "scroll"], []])
def test_options_that_cannot_be_exit_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
