"""A generation: one immutable, complete index of one table version, and the pointer to the one that is in force.

index/gen-000012/
    manifest.json                what is in it, from which table versions, SHA-256 of each file
    assets.arrow                 one row per asset that has moments
    LIST.faiss                   for each list (a modality in a space): the index …
    LIST.vectors.npy             … its exact vectors, float16 [N, dim], in row order …
    LIST.moments.arrow           … and what each row is
index/current.json               {"generation": "gen-000012"}; replaced by a rename. After a rollback it also says
                                 {…, "instead_of": "gen-000013"}

Who reads a generation holds a shared lock on its manifest (`reading`). One that is out of force goes when newer ones
enough have followed it or when it has been out of force for long (`expired`), but not while it is read.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import ArchiveError, IntegrityError
from pipeline.store.files import Removed, is_older, remove, sync_folder, write_synced, write_whole

FORMAT = 1
POINTER = "current.json"
KEPT = 3
"""Generations that stay, the one in force included, however many are published within `keep.days`."""


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
    vocabulary: str = ""
    """Of labels.txt when it was built, see `index.labelling.fingerprint`; empty: there was none."""


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Hash every file of a staged generation into its manifest, and write that last; all is on disk when it returns."""
    files = {path.name: _sha256(path, sync=True) for path in sorted(folder.iterdir())}
    body = json.dumps({**asdict(manifest), "files": files}, indent=1, ensure_ascii=False)
    write_synced(folder / "manifest.json", body.encode())
    sync_folder(folder)


def publish(index: Path, staged: Path, generation: str) -> None:
    """Put a staged generation in force, in one step; readers see the old one or the new one."""
    staged.replace(index / generation)
    write_whole(index / POINTER, json.dumps({"generation": generation}).encode())
    discard(expired(index))


def roll_back(index: Path) -> str:
    """Put the generation before the one in force back in its place, in one step; return its name.

    Raises:
        ArchiveError: there is none before it.
        IntegrityError: it is damaged; the one in force stays.
    """
    bad = current(index)
    earlier = [folder for folder in generations(index) if _number(folder) < _number(bad)]
    if not earlier:
        raise ArchiveError(f"{bad.name} is the oldest generation that is left of {index.parent}; {_cure(bad)} instead.")
    read_manifest(earlier[-1])
    said = {"generation": earlier[-1].name, "instead_of": (rolled_back(index) or bad).name}
    write_whole(index / POINTER, json.dumps(said).encode())
    return earlier[-1].name


def rolled_back(index: Path) -> Path | None:
    """Return the generation in whose place an earlier one was put back; None: the one in force is the last."""
    current(index)  # tells damage
    name = json.loads((index / POINTER).read_text("utf8")).get("instead_of")
    return index / str(name) if name else None


def reading(folder: Path) -> int:
    """Say that a generation is being read, until the returned file descriptor is closed, or its process ends.

    Raises:
        IntegrityError: it has no manifest, or there is no such generation any more.
    """
    try:
        handle = os.open(folder / "manifest.json", os.O_RDONLY)
    except OSError as exc:
        raise IntegrityError(f"{folder / 'manifest.json'} cannot be read; {_cure(folder)}.") from exc
    fcntl.flock(handle, fcntl.LOCK_SH)
    return handle


def expired(index: Path, days: float = math.inf) -> list[Path]:
    """Return the generations whose time is over: out of force for more than `days`, or followed by enough others.

    Never the one in force, nor one that is being read. To be called by who holds the archive for writing.
    """
    folders = generations(index)
    in_force = current(index)
    old = [
        folder
        for n, folder in enumerate(folders)
        if n < len(folders) - KEPT or (n + 1 < len(folders) and is_older(folders[n + 1], days))
    ]
    return [folder for folder in old if folder != in_force and not _is_read(folder)]


def discard(folders: Iterable[Path], *, dry_run: bool = False) -> Removed:
    """Remove generations. Each gets out of sight first, so that none is ever seen in part."""
    removed = Removed()
    for folder in folders:
        aside = folder if dry_run else folder.with_name(f".{folder.name}.gone")
        if not dry_run:
            folder.rename(aside)
        removed += remove([aside], dry_run=dry_run)
    return removed


def all_but_current(index: Path) -> list[Path]:
    """Return every generation that is out of force, whoever reads it."""
    in_force = current(index)
    return [folder for folder in generations(index) if folder != in_force]


def unfinished(index: Path) -> list[Path]:
    """Return what a killed build, publication or removal has left; only who holds the archive for writing can tell."""
    return sorted(index.glob(".*"))


def next_name(index: Path) -> str:
    """Return the name for the next generation: one more than the highest there ever was on disk."""
    return f"gen-{max(map(_number, generations(index)), default=0) + 1:06}"


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


def named(index: Path, generation: str) -> Path:
    """Return the folder of a generation that is still there.

    Raises:
        ArchiveError: there is none of that name.
    """
    there = [folder.name for folder in generations(index)]
    if generation not in there:
        raise ArchiveError(f"{index.parent} has no generation {generation!r}; there are {', '.join(there) or 'none'}.")
    return index / generation


def read_manifest(folder: Path, *, check_files: bool = True) -> Manifest:
    """Read a generation's manifest and check every file against it (unless `check_files` is off).

    Raises:
        IntegrityError: a file is missing or is not what was written; the message names it.
    """
    cure = _cure(folder)
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


def generations(index: Path) -> list[Path]:
    """Return the folders of all generations, the oldest first."""
    return sorted(index.glob("gen-*"), key=_number)


def _number(folder: Path) -> int:
    return int(folder.name.removeprefix("gen-"))


def _cure(folder: Path) -> str:
    return f"run `rushes index {folder.parent.parent} --rebuild`"


def _is_read(folder: Path) -> bool:
    try:
        handle = os.open(folder / "manifest.json", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _entry(said: Mapping[str, Any]) -> ListEntry:
    """Return a list's entry; one that was written before recall was measured has none."""
    nulls = {kind: Null(**null) for kind, null in said["nulls"].items()}
    recalls = {kind: Recall(**recall) for kind, recall in said.get("recalls", {}).items()}
    tried = tuple(Breadth(**each) for each in said.get("tried", ()))
    return ListEntry(**{**said, "nulls": nulls, "recalls": recalls, "tried": tried})


def _sha256(path: Path, *, sync: bool = False) -> str:
    with path.open("rb") as file:
        if sync:
            os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
