"""Models fetched from the hub: only the files that are read, at one commit, whole or not at all.

They are fetched aside, checked against the hub's own hashes and for code and pickles, locked, and put in place by a
rename. A pull that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import Any

from encoders.catalogue import published
from encoders.digests import digests
from encoders.models import (
    LOCK,
    Lock,
    MissingModelError,
    Source,
    UnsafeModelError,
    check,
    deciding,
    parse,
    read_lock,
)
from encoders.packages import ChangedFileError


def pull(source: str, directory: Path | None = None, say: Callable[[str], None] | None = None) -> bool:
    """Fetch a model, unless the models directory has it; return whether anything was fetched.

    The commit is the one that the source names, else that of the catalogue, else that of the lock that is there, else
    the newest. What is there is read and compared with its lock; changed files are replaced.

    Args:
        source: ORG/NAME[@COMMIT], with or without the words that its code was read.
        directory: where the models lie; None: `encoders.models.models_directory()`.
        say: takes a sentence for people before something is fetched.

    Raises:
        MissingModelError: the hub cannot be reached, or does not have it.
        UnsafeModelError: its weights are pickled, or it wants to run code.
        ChangedFileError: what came is not what the hub says.
    """
    asked = parse(source, directory)
    if not asked.repository:
        return False  # a directory of one's own
    known = published(asked.repository)
    lock = read_lock(asked.path)
    revision = asked.revision or (known.revision if known else "") or (lock.revision if lock else "")
    if lock and lock.revision.startswith(revision) and _is_whole(asked.path, lock):
        return False
    info = _described(asked, revision)
    weights = known.weights if known else _format(asked, info)
    names = _needed(deciding([each.rfilename for each in info.siblings], weights, asked.code_read))
    if say:
        say(f"Fetching {asked.repository} at {info.sha[:12]} from the hub …")
    staged = asked.path.with_name(f".{asked.path.name}-{info.sha[:12]}.part")
    _fetch(asked, info.sha, names, staged)
    _lock(asked, info, staged, names, known.licence if known else _licence(info))
    check(replace(asked, path=staged), names, weights)
    _put(staged, asked.path)
    return True


def _is_whole(folder: Path, lock: Lock) -> bool:
    try:
        return digests(folder, lock.files, remembered=False) == dict(lock.files)
    except OSError:
        return False


def _described(asked: Source, revision: str) -> Any:
    """Return what the hub says of a model: its commit, its files."""

    def ask() -> Any:
        from huggingface_hub import HfApi

        return HfApi(endpoint=_endpoint()).model_info(asked.repository, revision=revision or None, files_metadata=True)

    return _of_hub(asked, ask)


def _fetch(asked: Source, commit: str, names: Iterable[str], staged: Path) -> None:
    def fetch() -> None:
        from huggingface_hub import snapshot_download

        snapshot_download(
            asked.repository, revision=commit, allow_patterns=list(names), local_dir=staged, endpoint=_endpoint()
        )

    staged.parent.mkdir(parents=True, exist_ok=True)
    _of_hub(asked, fetch)


def _of_hub(asked: Source, ask: Callable[[], Any]) -> Any:
    """Do something with the hub; what its client raises where there is none has no common root."""
    try:
        return ask()
    except Exception as exc:
        said = next((line.strip() for line in str(exc).splitlines() if line.strip()), type(exc).__name__).rstrip(".")
        raise MissingModelError(
            f"The hub did not give {asked.name} ({said}); with a connection, run `rushes models pull {asked.name}`, or "
            f"copy {asked.path} from a machine that has it."
        ) from exc


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _format(asked: Source, info: Any) -> str:
    """Return the format of weights that a repository has; a pickle is refused before it is fetched."""
    names = [each.rfilename for each in info.siblings]
    if any(name.endswith(".safetensors") for name in names):
        return "safetensors"
    if "model.bin" in names and any(name.startswith("vocabulary.") for name in names):
        return "ctranslate2"
    if any(name.endswith(".onnx") for name in names):
        return "onnx"
    raise UnsafeModelError(
        f"{asked.name} has no safetensors at {info.sha[:12]}, only {', '.join(names) or 'nothing'}; take a revision "
        "that has, or convert it yourself and name its directory."
    )


def _needed(names: Iterable[str]) -> list[str]:
    """Leave out the same weights in another precision: model.fp16.safetensors beside model.safetensors."""
    names = list(names)
    return [
        name
        for name in names
        if not (
            name.endswith(".safetensors")
            and len(suffixes := PurePosixPath(name).suffixes) > 1
            and name.removesuffix("".join(suffixes)) + ".safetensors" in names
        )
    ]


def _licence(info: Any) -> str:
    card = getattr(info, "card_data", None)
    return str(card.get("license") or "") if card is not None else ""


def _lock(asked: Source, info: Any, staged: Path, names: Iterable[str], licence: str) -> None:
    """Compare what came with what the hub says of it, and write the lock."""
    shutil.rmtree(staged / ".cache", ignore_errors=True)  # what the hub's client goes on from
    said = {each.rfilename: each for each in info.siblings}
    found: dict[str, str] = {}
    for name in names:
        path = staged / name
        if not path.is_file():  # the client returns a folder that it began before, when the hub is gone meanwhile
            raise MissingModelError(f"{name} of {asked.repository} did not come; run `rushes models pull` again.")
        found |= digests(staged, [name], remembered=False)
        if path.stat().st_size != said[name].size or _sha256_of(said[name]) not in ("", found[name]):
            path.unlink()
            raise ChangedFileError(
                f"{name} of {asked.repository} came with SHA-256 {found[name]}, which is not what the hub says of it; "
                "run `rushes models pull` again."
            )
    lock = Lock(asked.repository, info.sha, found, licence, f"https://huggingface.co/{asked.repository}")
    (staged / LOCK).write_text(json.dumps(asdict(lock), indent=1) + "\n", "utf8")


def _sha256_of(sibling: Any) -> str:
    """Return what the hub says of a file; it has a SHA-256 of large files only."""
    lfs = sibling.lfs
    return "" if not lfs else str(lfs["sha256"] if isinstance(lfs, dict) else lfs.sha256)


def _put(staged: Path, home: Path) -> None:
    """Put a fetched model in place; what was there goes. Who has it open reads on."""
    replaced = staged.with_suffix(".replaced")
    if home.exists():
        home.replace(replaced)
    staged.replace(home)
    shutil.rmtree(replaced, ignore_errors=True)
