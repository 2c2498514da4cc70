"""Upkeep takes nothing away that is in force, that somebody reads, or that a commit needs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import index
from index.build import build
from index.generation import KEPT, current, expired, generations
from index.maintain import maintain
from index.verify import damages
from pipeline.archive import open_archive, writing
from pipeline.errors import ArchiveError
from pipeline.media import Media
from pipeline.recipe import Models
from pipeline.store.tables import Tables
from tests.index.archives import fill, seen
from tests.index.test_forget import crash, hide_only

LONG_AGO = time.time() - 30 * 86400


def commit(archive, n: int, colour: int | None = None) -> None:
    shade = n if colour is None else colour
    fill(archive, {f"a{n}": (f"{n}.png", Media.IMAGE, [seen(Models.of("toy"), f"a{n}", 0, 0, (shade, 255, 255))])})


def age(folder: Path) -> None:
    """Make files as old as if they had been written a month ago."""
    for path in folder.rglob("*"):
        os.utime(path, (LONG_AGO, LONG_AGO))


def state(archive) -> dict[str, int]:
    return {p.relative_to(archive.root).as_posix(): p.stat().st_size for p in archive.root.rglob("*") if p.is_file()}


def visible(archive) -> list[tuple[str, str]]:
    rows = Tables(archive.tables).moments().to_pylist()
    return sorted((row["asset_id"], str(row["thumb"])) for row in rows)
