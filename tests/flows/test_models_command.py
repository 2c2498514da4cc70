"""`rushes models`, profiles of one's own and plug-ins, from the command line on."""

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

from encoders.models import LOCK
from encoders.weights import EMBEDDED
from flows.cli import main
from tests.encoders.test_plug_ins import install
from tests.hubs import COMMIT, Hub, serving
from tests.media import picture
from tests.toys import TOY

MINE = """
[profiles.mine]
base = "toy"
visual = "brightness:0.5"
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUSHES_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RUSHES_MODELS", raising=False)
    return tmp_path


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def archive_of(tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: str, profile: str = "mine") -> Path:
    """Make an archive of two pictures, with a rushes.toml that says more."""
    source, root = tmp_path / "source", tmp_path / "archive"
    picture(source / "dark.png", "blue")
    picture(source / "light.png", "white")
    assert main(["init", str(root), "--source", str(source), "--profile", TOY.name]) == 0
    toml = root / "rushes.toml"
    toml.write_text(toml.read_text("utf8").replace('profile = "toy"', f'profile = "{profile}"') + extra, "utf8")
    capsys.readouterr()
    return root


def test_all_models_are_listed_with_licence_source_and_revision(places: Path, capsys) -> None:
    assert main(["models", "list", "--json"]) == 0
    listed = {row["model"]: row for row in lines(capsys)}
    assert {package.name for package in EMBEDDED} < set(listed)
    siglip = listed["google/siglip2-base-patch16-224"]
    assert siglip == {
        "model": "google/siglip2-base-patch16-224",
        "role": "visual",
        "licence": "Apache-2.0",
        "source": "https://huggingface.co/google/siglip2-base-patch16-224",
        "revision": "75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2",
        "here": False,
        "bytes": None,
    }
    assert all(row["licence"] and str(row["source"]).startswith("https://") for row in listed.values())
    assert main(["models", "list"]) == 0
    assert "size" in capsys.readouterr().out.splitlines()[0]


def test_a_model_is_pulled_to_a_directory_and_listed_there(places: Path, monkeypatch, capsys) -> None:
    hub, to = Hub(), places / "carried"
    files = {"model.safetensors": b"weights", "config.json": b"{}"}
    hub.publish("org/tiny", files)
    with serving(hub) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        assert main(["models", "pull", "clip:org/tiny", "--to", str(to)]) == 0
        assert f"RUSHES_MODELS={to}" in capsys.readouterr().err
        assert main(["models", "pull", "org/tiny", "--to", str(to)]) == 0
        assert "Nothing fetched" in capsys.readouterr().err
    assert (to / "org/tiny" / LOCK).is_file()
    monkeypatch.setenv("RUSHES_MODELS", str(to))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["models", "pull", "org/tiny"]) == 0, "the directory serves without a hub"
    assert main(["models", "pull", "org/other"]) == 2
    said = capsys.readouterr().err
    assert "The hub did not give org/other" in said
    assert len([line for line in said.splitlines() if line.startswith("rushes: ")]) == 1


def test_a_word_that_is_neither_profile_nor_model(places: Path, capsys) -> None:
    assert main(["models", "pull", "opne"]) == 2
    assert "There is no profile 'opne'" in capsys.readouterr().err


def test_an_archive_s_own_models_are_listed(places: Path, toys: str, capsys) -> None:
    folder = places / "ours"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    own = f'\n[profiles.mine]\nbase = "toy"\nvisual = "clip:{folder}"\ntext = "st:org/tiny@{COMMIT}"\n'
    root = archive_of(places, capsys, own)
    assert main(["models", "list", str(root), "--json"]) == 0
    found = {row["model"]: row for row in lines(capsys)}
    assert found[str(folder)] | {"licence": "", "source": ""} == found[str(folder)]
    assert (found[str(folder)]["here"], found[str(folder)]["bytes"]) == (True, 7)
    assert (found[f"org/tiny@{COMMIT}"]["here"], found[f"org/tiny@{COMMIT}"]["revision"]) == (False, COMMIT)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('[profiles.mine]\nbase = "toy"\nsight = "x"\n', "[profiles.mine] 'sight' means nothing"),
        ('[profiles.mine]\nvisual = "labels"\n', "[profiles.mine] text is missing"),
        ("[profiles]\nmine = 3\n", "profiles.mine = 3 needs to be a dict"),
        ('[profiles.other]\nbase = "toy"\n', "There is no profile 'mine'"),
    ],
)
def test_a_profile_that_cannot_be_is_one_sentence(places: Path, toys: str, capsys, said: str, message: str) -> None:
    root = archive_of(places, capsys, "\n" + said)
    assert main(["status", str(root)]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 1


def test_the_plug_in_of_the_readme_is_used_searched_and_covered(
    places: Path, toys: str, capsys, monkeypatch, root: Path
) -> None:
    readme = (root / "README.md").read_text("utf8").partition("### A plug-in")[2]
    code, packaged = (re.search(rf"```{kind}\n(.*?)```", readme, re.DOTALL)[1] for kind in ("python", "toml"))
    ((name, value),) = tomllib.loads(packaged)["project"]["entry-points"]["rushes.encoders"].items()
    install(places / "site", code, f"{name} = {value}", module=value.partition(":")[0])
    monkeypatch.syspath_prepend(str(places / "site"))
    archive = archive_of(places, capsys, MINE, profile="toy")
    assert main(["ingest", str(archive)]) == 0
    toml = archive / "rushes.toml"
    toml.write_text(toml.read_text("utf8").replace('profile = "toy"', 'profile = "mine"'), "utf8")
    capsys.readouterr()

    assert main(["status", str(archive), "--json"]) == 0
    before = {each["space"]: each for each in lines(capsys)[0]["coverage"]}
    assert not before["colours-toy-5"]["in_force"], "an older model's space"
    assert (before["colours-toy-5"]["assets"], before["colours-toy-5"]["moments"]) == (2, 2)
    assert "brightness-v1-0.5-2" not in before
    assert main(["status", str(archive)]) == 0
    assert "an older model's" in capsys.readouterr().out.replace("\n", " ")

    assert main(["ingest", str(archive)]) == 0
    capsys.readouterr()
    assert main(["status", str(archive), "--json"]) == 0
    (status,) = lines(capsys)
    after = {each["space"]: each for each in status["coverage"]}
    assert status["profile"] == "mine"
    assert "colours-toy-5" not in after
    assert after["brightness-v1-0.5-2"] == {
        "modality": "visual", "space": "brightness-v1-0.5-2", "assets": 2, "moments": 2, "current_assets": 2,
        "in_force": True,
    }  # fmt: skip

    question = str(places / "source/light.png")
    assert main(["search", str(archive), "--image", question, "--modality", "visual", "--json"]) == 0
    best = lines(capsys)[0]
    assert (best["uri"], best["space"]) == ("light.png", "brightness-v1-0.5-2")
    sys.modules.pop("brightness")


def test_status_says_which_model_is_missing(places: Path, toys: str, capsys) -> None:
    root = archive_of(places, capsys, '\n[profiles.mine]\nbase = "toy"\nvisual = "nothing"\n', profile="toy")
    assert main(["ingest", str(root)]) == 0
    toml = root / "rushes.toml"
    toml.write_text(toml.read_text("utf8").replace('profile = "toy"', 'profile = "mine"'), "utf8")
    capsys.readouterr()
    assert main(["status", str(root), "--json"]) == 0
    (status,) = lines(capsys)
    assert "There is no encoder 'nothing'" in status["models_missing"]
    assert {each["space"] for each in status["coverage"]} >= {"colours-toy-5"}
    assert main(["status", str(root)]) == 0
    assert "The models are not all here" in capsys.readouterr().out
