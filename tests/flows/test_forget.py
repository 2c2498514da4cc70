"""`rushes forget` and `rushes maintain`, as people and programs use them."""

import json
import subprocess
import sys

import pytest

from flows.cli import main
from pipeline.archive import open_archive, writing
from tests.media import film, picture


@pytest.fixture
def archive(tmp_path, toys, capsys):
    source = tmp_path / "footage"
    film(source / "films/a b ü.mp4", ["red", "blue"])
    picture(source / "stills/white.png", "white")
    (source / "broken.mp4").write_bytes(b"")
    archive = str(tmp_path / "archive")
    assert main(["init", archive, "--source", str(source), "--profile", "toy"]) == 0
    assert main(["ingest", archive]) == 0
    capsys.readouterr()
    return archive


def said(capsys, *arguments: str):
    assert main(list(arguments)) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_forget_prints_a_receipt_and_the_next_run_says_forgotten(archive, tmp_path, capsys):
    assert main(["forget", archive, str(tmp_path / "footage/films/a b ü.mp4"), "broken.mp4"]) == 0
    receipt = capsys.readouterr().out
    assert "Forgotten: " in receipt
    assert "small pictures" in receipt
    facts = said(capsys, "status", archive, "--json")
    assert facts["assets"] == {"indexed": 1, "forgotten": 2}
    assert facts["generation_is_current"]
    report = said(capsys, "ingest", archive, "--json")
    assert (report["discovered"], report["unchanged"], report["forgotten"], report["generation"]) == (3, 1, 2, None)
    assert main(["quarantine", archive]) == 0
    assert "Everything was indexed." in capsys.readouterr().out
    assert main(["search", archive, "blue"]) == 0
    assert "films" not in capsys.readouterr().out
    assert main(["verify", archive]) == 0


def test_programs_get_the_receipt_as_json_and_it_names_nothing(archive, capsys):
    receipt = said(capsys, "forget", archive, "films/a b ü.mp4", "--json")
    assert list(receipt) == [
        "asset_ids", "n_moments", "n_pictures", "n_files", "n_bytes", "generation", "asked_at", "removed_at",
    ]  # fmt: skip
    assert receipt["n_moments"] > 2
    assert "a b" not in json.dumps(receipt)
    again = said(capsys, "forget", archive, *receipt["asset_ids"], "--json")
    assert again["n_moments"] == 0


def test_an_unknown_name_is_one_sentence(archive, capsys):
    assert main(["forget", archive, "films/a b ü.mp4", "nowhere.mp4"]) == 2
    assert "no file nowhere.mp4" in capsys.readouterr().err
    assert said(capsys, "status", archive, "--json")["assets"] == {"indexed": 2, "quarantined": 1}


@pytest.mark.timeout(300)
def test_while_a_run_has_the_archive_the_command_says_that_the_bytes_wait(archive, toys, root):
    paths = f"{root / 'tests/flows/toyed'}:{root}"
    with writing(open_archive(root / archive)):
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "forget", archive, "stills/white.png"], cwd=root, text=True,
            env={"PYTHONPATH": paths, "PATH": ""}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        told = process.stderr.readline()
        assert process.poll() is None
        assert main(["verify", archive]) == 1
    out, _ = process.communicate(timeout=240)
    assert "Unfindable from now on." in told
    assert process.returncode == 0
    assert "every byte removed" in out
    assert main(["verify", archive]) == 0


def test_maintain_says_what_it_did(archive, capsys):
    would = said(capsys, "maintain", archive, "--dry-run", "--json")
    assert would["dry_run"]
    assert set(would["removed"]) == {"table files", "table logs", "generations", "unfinished", "pictures"}
    assert main(["maintain", archive]) == 0
    assert "Nothing to do." in capsys.readouterr().out
