import json

import pytest

from flows.cli import main
from tests.media import film, picture


@pytest.fixture
def archive(tmp_path, toys, capsys):
    film(tmp_path / "footage/films/show.mp4", ["red", "blue"])
    picture(tmp_path / "footage/green.png", "green")
    archive = str(tmp_path / "archive")
    assert main(["init", archive, "--source", str(tmp_path / "footage"), "--profile", "toy"]) == 0
    assert main(["ingest", archive]) == 0
    rows = [
        {"query": "blue", "file": "films/show.mp4", "start": 2, "stop": 4, "kind": "moments"},
        {"query": "green", "file": "green.png", "kind": "pictures"},
    ]
    (tmp_path / "truth.json").write_text(json.dumps(rows), "utf8")
    capsys.readouterr()
    return archive


def test_people_get_a_table_and_programs_one_object(archive, tmp_path, capsys):
    arguments = ["evaluate", archive, "--truths", str(tmp_path / "truth.json")]
    assert main(arguments) == 0
    assert "recall@10" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["kinds"]["all"]["recall@1"][0] == 1.0


def test_another_generation_is_compared_with(archive, tmp_path, capsys):
    picture(tmp_path / "footage/a-green.png", "green", size=(80, 48))
    assert main(["ingest", archive]) == 0
    arguments = ["evaluate", archive, "--truths", str(tmp_path / "truth.json"), "--against", "gen-000001"]
    capsys.readouterr()
    assert main(arguments) == 0
    assert "Against gen-000001" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["generation"], told["against"]["before"]) == ("gen-000002", "gen-000001")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ([], "set `truths`"),
        (["--truths", "{tmp}/nowhere.json"], "nowhere.json"),
        (["--truths", "{tmp}/truth.json", "--against", "gen-000007"], "gen-000007"),
    ],
)
def test_wrong_use_is_one_sentence(archive, tmp_path, capsys, more, told):
    assert main(["evaluate", archive, *(each.replace("{tmp}", str(tmp_path)) for each in more)]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
