"""The hub's own client, asked by our code, over HTTP, of a small hub on this machine."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from encoders.hub import pull
from encoders.models import LOCK, MissingModelError, UnsafeModelError, find
from encoders.packages import ChangedFileError
from tests.hubs import COMMIT, NEWER, Hub, serving

FILES = {
    "model.safetensors": b"weights" * 100,
    "model.fp16.safetensors": b"half",
    "pytorch_model.bin": b"\x80\x04.",
    "config.json": b'{"hidden_size": 32}',
    "tokenizer.json": b"{}",
    "vocab.txt": b"a\nb\n",
    "1_Pooling/config.json": b"{}",
    "README.md": b"words",
    "onnx/model.onnx": b"graph",
    "modeling.py": b"raise RuntimeError",
}
NEEDED = {"model.safetensors", "config.json", "tokenizer.json", "vocab.txt", "1_Pooling/config.json"}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Hub, str]]:
    hub = Hub()
    with serving(hub) as address:
        yield hub, address


@pytest.fixture
def hub(served: tuple[Hub, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub, address = served
    for state in (hub.repositories, hub.asked, hub.broken, hub.lies):
        state.clear()
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("RUSHES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RUSHES_MODELS", str(tmp_path / "models"))
    hub.publish("org/tiny", FILES)
    return hub


def inside(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_only_what_is_read_is_fetched_and_locked(hub: Hub, tmp_path: Path) -> None:
    said: list[str] = []
    assert pull("org/tiny", say=said.append)
    folder = tmp_path / "models/org/tiny"
    assert inside(folder) == NEEDED | {LOCK}
    assert hub.fetched() == {name.rsplit("/", 1)[-1] for name in NEEDED}
    lock = json.loads((folder / LOCK).read_text("utf8"))
    assert (lock["repository"], lock["revision"], lock["licence"]) == ("org/tiny", COMMIT, "mit")
    assert set(lock["files"]) == NEEDED
    assert find("org/tiny").revision == COMMIT
    assert said == [f"Fetching org/tiny at {COMMIT[:12]} from the hub …"]
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"], "nothing is left beside it"


def test_what_is_here_is_not_fetched_again_even_without_a_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    pull("org/tiny")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    asked = len(hub.asked)
    assert not pull("org/tiny")
    assert not pull(f"org/tiny@{COMMIT[:7]}")
    assert len(hub.asked) == asked


def test_a_later_pull_keeps_to_the_first_ones_commit(hub: Hub, tmp_path: Path) -> None:
    pull("org/tiny")
    hub.publish("org/tiny", {**FILES, "model.safetensors": b"newer"}, NEWER)
    (tmp_path / "models/org/tiny/model.safetensors").write_bytes(b"damaged")
    assert pull("org/tiny")
    assert find("org/tiny").revision == COMMIT
    assert pull(f"org/tiny@{NEWER}")
    assert find("org/tiny").revision == NEWER


def test_without_a_hub_it_is_one_sentence(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(MissingModelError, match=r"The hub did not give org/tiny .* copy .*org/tiny from") as caught:
        pull("org/tiny")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["org/none", "org/tiny@abcdef1"])
def test_what_the_hub_does_not_have(hub: Hub, source: str) -> None:
    with pytest.raises(MissingModelError, match=f"The hub did not give {source}") as caught:
        pull(source)
    assert "\n" not in str(caught.value)


def test_a_pull_that_breaks_off_leaves_no_model_and_can_be_repeated(hub: Hub) -> None:
    hub.broken.add("model.safetensors")
    with pytest.raises(MissingModelError):
        pull("org/tiny")
    with pytest.raises(MissingModelError, match="rushes models pull"):
        find("org/tiny")
    hub.broken.clear()
    assert pull("org/tiny")
    assert find("org/tiny").revision == COMMIT


def test_other_bytes_than_the_hub_says_are_refused(hub: Hub) -> None:
    hub.lies.add("model.safetensors")
    with pytest.raises((ChangedFileError, MissingModelError)):
        pull("org/tiny")
    with pytest.raises(MissingModelError):
        find("org/tiny")


def test_a_pickle_is_refused_before_it_is_fetched(hub: Hub) -> None:
    hub.publish("org/old", {"pytorch_model.bin": b"\x80\x04.", "config.json": b"{}"})
    with pytest.raises(UnsafeModelError, match="org/old has no safetensors"):
        pull("org/old")
    assert hub.fetched() == set()


def test_code_comes_only_where_somebody_has_read_it(hub: Hub, tmp_path: Path) -> None:
    hub.publish("org/code", {**FILES, "config.json": b'{"auto_map": {"AutoModel": "modeling.Ours"}}'})
    with pytest.raises(UnsafeModelError, match="whose code I have read"):
        pull("org/code")
    assert pull("org/code, whose code I have read")
    assert "modeling.py" in inside(tmp_path / "models/org/code")
    assert find("org/code, whose code I have read").runs_code
