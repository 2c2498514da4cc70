"""Models from outside Python packages: where their files lie, that they are what they were, and that they run no code.

A source is a local directory, or a model of the hub, ORG/NAME or ORG/NAME@COMMIT, which lies in the models directory:

DIR/ORG/NAME/                  the files as the hub has them
DIR/ORG/NAME/rushes-model.json the lock: commit, SHA-256 of each file, licence; without it they are not whole

Weights are read from safetensors, or from what holds numbers alone in its own way (`FORMATS`), and never unpickled. A
model that brings Python code is refused, unless its source says in words that somebody has read it:
"ORG/NAME@COMMIT, whose code I have read".
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from encoders.digests import digests
from encoders.packages import ChangedFileError, MissingPackageError, cache_directory

LOCK = "rushes-model.json"
CODE_READ = ", whose code I have read"
"""What a source ends with where the model's own Python code may run."""
FORMATS: Mapping[str, str] = {"safetensors": "*.safetensors", "ctranslate2": "model.bin", "onnx": "*.onnx"}
"""Format of weights → the files that hold them. Most families read safetensors, Whisper CTranslate2, OCR ONNX."""
_SETTINGS = (".json", ".txt", ".model", ".spm", ".vocab", ".tiktoken", ".jinja", ".yaml", ".yml")
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_OTHER_RUNTIMES = frozenset({"onnx", "openvino", "coreml", "flax", "tf", "original", "gguf"})
"""Folders in which repositories keep the same weights for others."""
_HUB_NAME = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[^@\s]+))?")
_COMMIT = re.compile(r"[0-9a-f]{7,40}")


class MissingModelError(MissingPackageError):
    """A model is not on this machine, or not all of it; the message names the command that gets it."""


class UnsafeModelError(ImportError):
    """A model has its weights pickled, or wants to run code of its own."""


@dataclass(frozen=True)
class Model:
    """A model that is on this machine, checked."""

    path: Path
    """The directory with its files."""
    name: str
    """ORG/NAME, or the directory's name."""
    revision: str
    """The commit that it was pulled at; empty for a directory of one's own."""
    fingerprint: str
    """8 hex digits over all files that decide vectors: part of a space's name."""
    runs_code: bool = False
    """Its own Python code may run: the source says that somebody has read it."""


@dataclass(frozen=True)
class Source:
    """What a source says."""

    repository: str
    """ORG/NAME; empty for a local directory."""
    revision: str
    """The commit, or its beginning, that is asked for; empty: the one that is there."""
    path: Path
    """Where the files lie, or would."""
    code_read: bool

    @property
    def name(self) -> str:
        """ORG/NAME[@COMMIT], or the path."""
        return f"{self.repository}{'@' if self.revision else ''}{self.revision}" if self.repository else str(self.path)


@dataclass(frozen=True)
class Lock:
    """What a pulled model is."""

    repository: str
    revision: str
    """A commit, 40 hex digits."""
    files: Mapping[str, str]
    """Path inside the model's directory → SHA-256 in hex."""
    licence: str = ""
    source: str = ""


def models_directory() -> Path:
    """Return where pulled models lie: $RUSHES_MODELS, else `models` in the cache directory."""
    given = os.environ.get("RUSHES_MODELS", "")
    return Path(given).expanduser() if given else cache_directory() / "models"


def parse(source: str, directory: Path | None = None) -> Source:
    """Return what a source says; opens no file.

    Args:
        source: a directory or a hub name, with `CODE_READ` behind it or not.
        directory: with the pulled models; None: `models_directory()`.

    Raises:
        UnsafeModelError: it names a branch or tag, which may move.
        MissingModelError: it is neither a directory nor a hub name.
    """
    said = source.removesuffix(CODE_READ)
    code_read = said != source
    path = Path(said).expanduser()
    named = _HUB_NAME.fullmatch(said)
    if said.startswith(("/", ".", "~")) or not named:
        if not path.is_dir():
            raise MissingModelError(
                f"There is no directory {said}; name one with a model's files, or a model of the hub as ORG/NAME."
            )
        return Source("", "", path.resolve(), code_read)
    repository, revision = named["repository"], named["revision"] or ""
    if revision and not _COMMIT.fullmatch(revision):
        raise UnsafeModelError(
            f"{said}: {revision!r} is no commit (7 to 40 hex digits), so it may move; name one, or leave it out."
        )
    pulled = (directory or models_directory()) / repository
    if not revision and path.is_dir() and not pulled.is_dir():
        return Source("", "", path.resolve(), code_read)
    return Source(repository, revision, pulled, code_read)


def find(source: str, weights: str = "safetensors") -> Model:
    """Return the model of a source, every file checked: against its lock, for code and for pickles.

    Files are read once; as long as nothing touches them their hashes are remembered.

    Args:
        source: a local directory, or ORG/NAME[@COMMIT]; see the module.
        weights: a key of `FORMATS`: the one that the caller reads.

    Raises:
        MissingModelError: it is not on this machine, or not whole; the message names the command that gets it.
        ChangedFileError: a file is not what it was when it was pulled.
        UnsafeModelError: it has its weights pickled, or wants to run code.
    """
    asked = parse(source)
    lock = read_lock(asked.path)
    if asked.repository and lock is None:
        raise MissingModelError(
            f"The model {asked.repository} is not in {asked.path.parent.parent}; run `rushes models pull {asked.name}`,"
            " or set RUSHES_MODELS to a directory that has it."
        )
    if lock and asked.revision and not lock.revision.startswith(asked.revision):
        raise MissingModelError(
            f"{asked.path} has {lock.repository} at {lock.revision}, wanted is {asked.revision}; "
            f"run `rushes models pull {asked.name}`."
        )
    names = deciding(files_of(asked.path), weights, asked.code_read)
    check(asked, names, weights)
    found = digests(asked.path, names)
    if lock:
        _compare(asked.path, lock, found)
    return Model(
        path=asked.path,
        name=lock.repository if lock else asked.path.name,
        revision=lock.revision if lock else "",
        fingerprint=_fingerprint(found),
        runs_code=asked.code_read,
    )


def read_lock(folder: Path) -> Lock | None:
    """Return the lock of a model's directory; None: it has none, so it was not pulled, or not wholly.

    Raises:
        ChangedFileError: the lock cannot be read.
    """
    try:
        said = json.loads((folder / LOCK).read_bytes())
        files = {str(name): str(sha256) for name, sha256 in said["files"].items()}
        return Lock(
            str(said["repository"]), str(said["revision"]), files, said.get("licence", ""), said.get("source", "")
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as exc:
        raise ChangedFileError(f"{folder / LOCK} cannot be read ({exc}); delete it and pull the model again.") from exc


def files_of(folder: Path) -> list[str]:
    """Return the paths of all files of a model's directory, inside it, sorted; nothing hidden."""
    inside = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in inside if not any(part.startswith(".") for part in path.parts))


def deciding(names: Iterable[str], weights: str, code_read: bool = False) -> list[str]:
    """Return those files that decide vectors: weights, settings, tokenizers, and code where it may run."""
    kinds = (*_SETTINGS, *((".py",) if code_read else ()))
    kept = []
    for name in names:
        path = PurePosixPath(name)
        if name == LOCK or (weights != "onnx" and path.parts[0] in _OTHER_RUNTIMES):
            continue
        if path.suffix.lower() in kinds or path.match(FORMATS[weights]):
            kept.append(name)
    return kept


def check(asked: Source, names: Iterable[str], weights: str) -> None:
    """Refuse what is unsafe to load, and what has no weights.

    Raises:
        UnsafeModelError: pickles, or code that nobody says to have read.
        MissingModelError: there are no weights.
    """
    names = list(names)
    everything = files_of(asked.path)
    _refuse_pickles(asked, everything, weights)
    if not any(PurePosixPath(name).match(FORMATS[weights]) for name in names):
        raise MissingModelError(
            f"{asked.path} has no weights ({FORMATS[weights]}); name a directory with a whole model, or pull it."
        )
    if weights == "ctranslate2" and not _is_ctranslate2(asked.path / "model.bin"):
        raise UnsafeModelError(f"{asked.path / 'model.bin'} is no CTranslate2 model; it may be a pickle, so leave it.")
    if not asked.code_read:
        for name in names:
            _refuse_code(asked, name)


def _refuse_pickles(asked: Source, names: Iterable[str], weights: str) -> None:
    """Refuse pickled weights where there are no others beside them; beside others nothing reads them."""
    folders: dict[PurePosixPath, set[str]] = {}
    for name in names:
        path = PurePosixPath(name)
        if path.parts[0] not in _OTHER_RUNTIMES:
            folders.setdefault(path.parent, set()).add(path.name)
    for folder, inside in folders.items():
        if any(PurePosixPath(name).match(FORMATS[weights]) for name in inside):
            continue
        if pickled := sorted(name for name in inside if name.endswith(_PICKLES)):
            raise UnsafeModelError(
                f"{asked.path / folder / pickled[0]} is pickled, which can run anything when it is read, and no "
                f"{FORMATS[weights]} lies beside it; take a revision with safetensors, or convert it."
            )


def _refuse_code(asked: Source, name: str) -> None:
    path = PurePosixPath(name)
    if not (path.match("*config*.json") or path.name == "modules.json"):
        return
    try:
        said = json.loads((asked.path / name).read_bytes())
    except ValueError as exc:
        raise ChangedFileError(f"{asked.path / name} is not valid JSON ({exc}); fetch the model again.") from exc
    foreign = ""
    if isinstance(said, dict) and (said.get("auto_map") or said.get("custom_pipelines")):
        foreign = "auto_map" if said.get("auto_map") else "custom_pipelines"
    elif path.name == "modules.json" and isinstance(said, list):
        kinds = [str(module.get("type", "")) for module in said if isinstance(module, dict)]
        foreign = next((kind for kind in kinds if not kind.startswith("sentence_transformers.")), "")
    if foreign:
        raise UnsafeModelError(
            f"{asked.path / name} wants to run code of the model ({foreign}); take a model without, or read that code "
            f"and name the model in your profile as {asked.name + CODE_READ!r}."
        )


def _is_ctranslate2(path: Path) -> bool:
    """Tell by its first bytes whether a file is a CTranslate2 model: a version, then the name of what it specifies."""
    with path.open("rb") as file:
        head = file.read(64)
    version, length = int.from_bytes(head[:4], "little"), int.from_bytes(head[4:6], "little")
    name = head[6 : 6 + length].rstrip(b"\0")
    return 1 <= version < 100 and 0 < length <= 58 and name.endswith(b"Spec") and name.isalnum()


def _compare(folder: Path, lock: Lock, found: Mapping[str, str]) -> None:
    cure = f"run `rushes models pull {lock.repository}@{lock.revision}`"
    for name in sorted({*found, *lock.files}):
        if name not in lock.files:
            raise ChangedFileError(f"{folder / name} was not pulled with {lock.repository}; remove it, or {cure}.")
        if name in found and found[name] != lock.files[name]:
            raise ChangedFileError(
                f"{folder / name} has SHA-256 {found[name]}, pulled was {lock.files[name]}: the file was changed; "
                f"{cure}."
            )
        if not (folder / name).is_file():
            raise MissingModelError(f"{folder} has no {name}, which was pulled with {lock.repository}; {cure}.")


def _fingerprint(found: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name, sha256 in sorted(found.items()):
        digest.update(f"\n{name} {sha256}".encode())
    return digest.hexdigest()[:8]
