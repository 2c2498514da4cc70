"""Models are found in folders that tests write: names and bytes decide, no weights are loaded."""

import hashlib
import json
import pickle
from pathlib import Path

import pytest

from encoders import digests as digesting
from encoders.models import CODE_READ, LOCK, MissingModelError, UnsafeModelError, find, models_directory, parse
from encoders.packages import ChangedFileError

COMMIT = "0123456789" * 4
CTRANSLATE2 = (6).to_bytes(4, "little") + (12).to_bytes(2, "little") + b"WhisperSpec\0" + bytes(60)
FILES = {"model.safetensors": b"weights", "config.json": b'{"hidden_size": 32}', "tokenizer.json": b"{}"}


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUSHES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RUSHES_MODELS", str(tmp_path / "models"))
    return tmp_path


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    return folder


def pulled(tmp_path: Path, files: dict[str, bytes] = FILES, name: str = "org/tiny") -> Path:
    folder = write(tmp_path / "models" / name, files)
    hashes = {name: hashlib.sha256(body).hexdigest() for name, body in files.items()}
    lock = {"repository": name, "revision": COMMIT, "files": hashes, "licence": "MIT", "source": "here"}
    (folder / LOCK).write_text(json.dumps(lock), "utf8")
    return folder


def test_a_directory_of_ones_own_is_a_model(tmp_path: Path) -> None:
    folder = write(tmp_path / "Ours", {**FILES, "README.md": b"words", ".git/config": b"x"})
    model = find(str(folder))
    assert (model.path, model.name, model.revision, model.runs_code) == (folder, "Ours", "", False)
    assert len(model.fingerprint) == 8
    (folder / "README.md").write_bytes(b"other words")
    assert find(str(folder)).fingerprint == model.fingerprint, "what people read decides no vector"


@pytest.mark.parametrize("name", FILES)
def test_every_file_that_decides_vectors_is_in_the_fingerprint(tmp_path: Path, name: str) -> None:
    before = find(str(write(tmp_path / "a", FILES))).fingerprint
    assert find(str(write(tmp_path / "b", FILES))).fingerprint == before, "the place is not"
    changed = {**FILES, name: FILES[name].replace(b"}", b" }").replace(b"weights", b"Weights")}
    assert find(str(write(tmp_path / "c", changed))).fingerprint != before


def test_files_are_read_once_as_long_as_nothing_touches_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = digesting._sha256
    monkeypatch.setattr(digesting, "_sha256", lambda path: read.append(path.name) or real(path))
    folder = write(tmp_path / "ours", FILES)
    first = find(str(folder))
    assert sorted(read) == sorted(FILES)
    assert find(str(folder)) == first
    assert len(read) == len(FILES)
    (folder / "model.safetensors").write_bytes(b"Weights")
    assert find(str(folder)).fingerprint != first.fingerprint
    assert read[len(FILES) :] == ["model.safetensors"]


def test_a_cache_that_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "ours", FILES)
    first = find(str(folder))
    for file in (tmp_path / "cache/digests").iterdir():
        file.write_bytes(b'["no table"]')
    assert find(str(folder)) == first


def test_a_pulled_model_is_found_by_its_name(tmp_path: Path) -> None:
    folder = pulled(tmp_path)
    model = find("org/tiny")
    assert (model.path, model.name, model.revision) == (folder, "org/tiny", COMMIT)
    assert find(f"org/tiny@{COMMIT[:12]}") == model
    assert find(str(folder)) == model


def test_a_missing_model_is_one_sentence_with_the_command_that_gets_it() -> None:
    with pytest.raises(MissingModelError, match=r"run `rushes models pull org/none@0123456`") as caught:
        find("org/none@0123456")
    assert "\n" not in str(caught.value)
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), MissingModelError)
    with pytest.raises(MissingModelError, match="There is no directory /nowhere/at-all"):
        find("/nowhere/at-all")


def test_a_pull_that_was_stopped_is_not_taken_for_whole(tmp_path: Path) -> None:
    write(tmp_path / "models/org/tiny", FILES)
    with pytest.raises(MissingModelError, match="rushes models pull org/tiny"):
        find("org/tiny")


def test_another_commit_than_the_one_that_is_asked_for_is_not_taken(tmp_path: Path) -> None:
    pulled(tmp_path)
    with pytest.raises(MissingModelError, match=f"org/tiny at {COMMIT}, wanted is abcdef1"):
        find("org/tiny@abcdef1")
    with pytest.raises(UnsafeModelError, match="'main' is no commit"):
        find("org/tiny@main")


def test_files_are_compared_with_the_lock(tmp_path: Path) -> None:
    folder = pulled(tmp_path)
    (folder / "model.safetensors").write_bytes(b"weighty")
    with pytest.raises(ChangedFileError, match=rf"model\.safetensors has SHA-256 .*pull org/tiny@{COMMIT}"):
        find("org/tiny")
    pulled(tmp_path)
    (folder / "adapter_config.json").write_bytes(b"{}")
    with pytest.raises(ChangedFileError, match=r"adapter_config\.json was not pulled with org/tiny"):
        find("org/tiny")
    (folder / "adapter_config.json").unlink()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(MissingModelError, match=r"has no tokenizer\.json"):
        find("org/tiny")


PICKLES = ["pytorch_model.bin", "model.pt", "model.pkl", "epoch=3.ckpt", "2_Dense/pytorch_model.bin"]


@pytest.mark.parametrize("name", PICKLES)
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    files = {"config.json": b"{}", name: b"\x80\x04."}
    if "/" in name:
        files["model.safetensors"] = b"of another folder"
    with pytest.raises(UnsafeModelError, match=r"is pickled, .*no \*\.safetensors lies beside it"):
        find(str(write(tmp_path / "ours", files)))


def test_pickles_beside_safetensors_are_ignored(tmp_path: Path) -> None:
    before = find(str(write(tmp_path / "a", FILES))).fingerprint
    files = {**FILES, "pytorch_model.bin": b"\x80\x04.", "openvino/openvino_model.bin": b"x"}
    assert find(str(write(tmp_path / "b", files))).fingerprint == before


def test_a_directory_without_weights_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(MissingModelError, match="has no weights"):
        find(str(write(tmp_path / "ours", {"config.json": b"{}"})))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("config.json", {"auto_map": {"AutoModel": "modeling_ours.Ours"}}),
        ("processor_config.json", {"auto_map": {"AutoProcessor": "ours.P"}}),
        ("modules.json", [{"type": "sentence_transformers.models.Transformer"}, {"type": "custom_st.Ours"}]),
    ],
)
def test_code_is_refused_unless_the_source_says_that_it_was_read(tmp_path: Path, name: str, said: object) -> None:
    code = {**FILES, name: json.dumps(said).encode(), "modeling_ours.py": b"print('run')"}
    folder = write(tmp_path / "ours", code)
    with pytest.raises(UnsafeModelError, match="whose code I have read") as caught:
        find(str(folder))
    assert "\n" not in str(caught.value)
    trusted = find(f"{folder}{CODE_READ}")
    assert trusted.runs_code
    (folder / "modeling_ours.py").write_bytes(b"print('something else')")
    assert find(f"{folder}{CODE_READ}").fingerprint != trusted.fingerprint, "the code decides vectors too"


def test_a_ctranslate2_model_is_known_by_its_bytes_and_for_whisper_only(tmp_path: Path) -> None:
    files = {"model.bin": CTRANSLATE2, "config.json": b"{}", "vocabulary.json": b"[]"}
    folder = write(tmp_path / "whisper", files)
    assert len(find(str(folder), "ctranslate2").fingerprint) == 8
    with pytest.raises(UnsafeModelError, match="is pickled"):
        find(str(folder))
    (folder / "model.bin").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UnsafeModelError, match="is no CTranslate2 model"):
        find(str(folder), "ctranslate2")


def test_onnx_is_for_those_who_read_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "ocr", {"det.onnx": b"graph", "keys.txt": b"abc"})
    assert len(find(str(folder), "onnx").fingerprint) == 8
    with pytest.raises(MissingModelError, match="has no weights"):
        find(str(folder))


def test_where_models_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert models_directory() == tmp_path / "models"
    monkeypatch.delenv("RUSHES_MODELS")
    assert models_directory() == tmp_path / "cache/models"
    assert parse("org/tiny").path == tmp_path / "cache/models/org/tiny"
