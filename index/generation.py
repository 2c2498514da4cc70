"""A generation: one immutable, complete index of one table version, and the pointer to the one that is in force.

index/gen-000012/
    manifest.json                what is in it, from which table versions, SHA-256 of each file
    assets.arrow                 one row per asset that has moments
    LIST.faiss                   for each list (a modality in a space): the index …
    LIST.vectors.npy             … its exact vectors, float16 [N, dim], in row order …
    LIST.moments.arrow           … and what each row is
index/current.json               {"generation": "gen-000012"}; replaced by a rename
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import ArchiveError, IntegrityError

FORMAT = 1
POINTER = "current.json"
KEPT = 3
"""Generations that stay after a publication, the new one included: readers of an older one can finish."""


@dataclass(frozen=True)
class Null:
    """How well the best answer to an unrelated question does in a list: centre and spread of its score."""

    centre: float
    spread: float


@dataclass(frozen=True)
class Recall:
    """How a list does on a sample of queries of one kind, held against an exact search; see `index.recall`."""

    share: float
    """Recall@10: in [0, 1]."""
    n_queries: int
    milliseconds: float
    """Of one query, on the machine that built the generation."""


@dataclass(frozen=True)
class Breadth:
    """A breadth of a graph's search that was tried at the build, and how the worst kind of query did with it."""

    breadth: int
    share: float
    milliseconds: float


@dataclass(frozen=True)
class ListEntry:
    """One list of a generation: the moments of one modality in one space."""

    name: str
    modality: str
    space: str
    dim: int
    n_moments: int
    plan: str
    nulls: Mapping[str, Null]
    """Kind of query ("words", "media") → what the scores of unrelated ones look like."""
    recalls: Mapping[str, Recall] = field(default_factory=dict)
    """Kind of query → what the index finds; empty: there is nothing to find, or the build did not yet measure it."""
    tried: tuple[Breadth, ...] = ()
    """The breadths that were tried for a graph; the last is in force, or none, where the plan is an exact search."""


@dataclass(frozen=True)
class Manifest:
    """What a generation is."""

    generation: str
    profile: str
    tables: Mapping[str, int]
    """Version of each table that it was built from."""
    lists: tuple[ListEntry, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    """File name → SHA-256 in hex."""
    format: int = FORMAT


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Hash every file of a staged generation into its manifest, and write that last."""
    files = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    body = json.dumps({**asdict(manifest), "files": files}, indent=1, ensure_ascii=False)
    with (folder / "manifest.json").open("w", encoding="utf8") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def publish(index: Path, staged: Path, generation: str) -> None:
    """Put a staged generation in force, in one step; readers see the old one or the new one."""
    staged.replace(index / generation)
    part = index / f".{POINTER}.{os.getpid()}"
    with part.open("w", encoding="utf8") as file:
        json.dump({"generation": generation}, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(index / POINTER)
    for old in sorted(_generations(index))[:-KEPT]:
        shutil.rmtree(index / old, ignore_errors=True)


def next_name(index: Path) -> str:
    """Return the name for the next generation: one more than the highest there ever was on disk."""
    numbers = [int(name.removeprefix("gen-")) for name in _generations(index)]
    return f"gen-{max(numbers, default=0) + 1:06}"


def current(index: Path) -> Path:
    """Return the folder of the generation in force.

    Raises:
        ArchiveError: none was published yet.
        IntegrityError: the pointer is damaged.
    """
    try:
        name = json.loads((index / POINTER).read_text("utf8"))["generation"]
    except FileNotFoundError as exc:
        raise ArchiveError(f"{index.parent} has no index yet; run `rushes ingest {index.parent}` first.") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise IntegrityError(f"{index / POINTER} is damaged; run `rushes index {index.parent} --rebuild`.") from exc
    if not re.fullmatch(r"gen-\d{6,}", str(name)):
        raise IntegrityError(f"{index / POINTER} names {name!r}; run `rushes index {index.parent} --rebuild`.")
    return index / str(name)


def read_manifest(folder: Path, *, check_files: bool = True) -> Manifest:
    """Read a generation's manifest and check every file against it (unless `check_files` is off).

    Raises:
        IntegrityError: a file is missing or is not what was written; the message names it.
    """
    cure = f"run `rushes index {folder.parent.parent} --rebuild`"
    try:
        said = json.loads((folder / "manifest.json").read_text("utf8"))
        lists = tuple(_entry(entry) for entry in said.pop("lists"))
        manifest = Manifest(lists=lists, **said)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise IntegrityError(f"{folder / 'manifest.json'} cannot be read; {cure}.") from exc
    if manifest.format != FORMAT:
        raise IntegrityError(f"{folder} has format {manifest.format}, this Rushes reads {FORMAT}; {cure}.")
    for name, digest in manifest.files.items() if check_files else ():
        path = folder / name
        if not path.is_file():
            raise IntegrityError(f"{path} is missing; {cure}.")
        if _sha256(path) != digest:
            raise IntegrityError(f"{path} is not what was written (its SHA-256 differs); {cure}.")
    return manifest


def _entry(said: Mapping[str, Any]) -> ListEntry:
    """Return a list's entry; one that was written before recall was measured has none."""
    nulls = {kind: Null(**null) for kind, null in said["nulls"].items()}
    recalls = {kind: Recall(**recall) for kind, recall in said.get("recalls", {}).items()}
    tried = tuple(Breadth(**each) for each in said.get("tried", ()))
    return ListEntry(**{**said, "nulls": nulls, "recalls": recalls, "tried": tried})


def _generations(index: Path) -> list[str]:
    return [path.name for path in index.glob("gen-*")] if index.is_dir() else []


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
