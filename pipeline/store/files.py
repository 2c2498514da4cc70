"""Files that are whole or not there, and an account of those that are removed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Removed:
    """What was taken off the disk."""

    n_files: int = 0
    n_bytes: int = 0

    def __add__(self, other: Removed) -> Removed:
        return Removed(self.n_files + other.n_files, self.n_bytes + other.n_bytes)


DAY_SECONDS = 86400.0


def is_older(path: Path, days: float) -> bool:
    """Tell whether a file was written more than `days` ago; with 0, always."""
    return days == 0 or time.time() - path.stat().st_mtime > days * DAY_SECONDS


def remove(paths: Iterable[Path], *, dry_run: bool = False) -> Removed:
    """Remove files and folders; return what went. With `dry_run` only say what would go."""
    removed = Removed()
    for path in paths:
        inside = sizes_below(path) if path.is_dir() else {path: path.stat().st_size}
        removed += Removed(len(inside), sum(inside.values()))
        if dry_run:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return removed


def sizes_below(folder: Path) -> dict[Path, int]:
    """Return all files below a folder, with their sizes."""
    return {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def write_synced(path: Path, content: bytes | memoryview) -> None:
    """Write a file; it is on disk when this returns."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Put a file in place with a rename: a reader sees the old one or the new one, whole."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    write_synced(part, content)
    part.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames and new names in a folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
