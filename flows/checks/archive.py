"""What can be wrong with an archive, as far as it shows within seconds; `rushes verify` looks at every row."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from flows.checks.machine import GIGABYTE, LEAST_FREE_BYTES
from pipeline.archive import Archive
from pipeline.timetable import local_time_zone

MOST_SECONDS_APART = 5.0


def storage(archive: Archive) -> Iterator[str]:
    """The archive's file system does what commits rely on, has room, and agrees with this machine about the time."""
    probe = archive.root / f".doctor-{uuid4().hex}"
    moved = probe.with_suffix(".moved")
    try:
        with probe.open("wb") as file:
            file.write(b"rushes")
            file.flush()
            os.fsync(file.fileno())
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_locked(probe):
                yield f"The file system of {archive.root} does not lock files, so two runs could write; move it."
            apart = os.fstat(file.fileno()).st_mtime - time.time()
        probe.replace(moved)
        if moved.read_bytes() != b"rushes":
            yield f"The file system of {archive.root} gives back other bytes than were written; check the disk."
        if abs(apart) > MOST_SECONDS_APART:
            yield f"The file system of {archive.root} is {apart:+.0f} s from this machine's clock; synchronise both."
    except OSError as error:
        yield f"{archive.root} cannot be written ({error.strerror}); give this user the right to, or free its disk."
    finally:
        for left in (probe, moved):
            _remove(left)
    if (free := shutil.disk_usage(archive.root).free) < LEAST_FREE_BYTES:
        yield f"The disk of {archive.root} has {free / GIGABYTE:.1f} GB free; free some, or run `rushes maintain`."


def sources(archive: Archive) -> Iterator[str]:
    """The folders that the archive is made of are there."""
    for source in archive.settings.sources:
        folder = archive.root / source
        if "://" not in source and not os.access(folder, os.R_OK | os.X_OK):
            yield f"The source {folder} cannot be read; mount it, or correct `sources` in rushes.toml."


def weights(archive: Archive) -> Iterator[str]:
    """The weights of the archive's profile are here, and are those that are pinned."""
    import encoders
    from encoders.packages import ChangedFileError, MissingPackageError, locate
    from encoders.registry import REFUSALS
    from encoders.weights import EMBEDDED

    profile = archive.settings.profile
    for package in EMBEDDED if profile.name == "embedded" else ():
        try:
            locate(package)
        except (MissingPackageError, ChangedFileError) as error:
            yield str(error)
    for name in dict.fromkeys(profile.encoders().values()) if profile.name != "embedded" else ():
        try:
            encoders.load(name)
        except REFUSALS as error:
            yield str(error.args[0])


def tables(archive: Archive) -> Iterator[str]:
    """The tables open, and the index in force was made from them."""
    from index.build import is_current
    from pipeline.store.tables import Tables

    if not archive.tables.exists():
        return  # nothing was ingested yet
    try:
        n_assets = len(Tables(archive.tables).assets())
    except Exception as error:  # whatever a damaged table makes the reader say
        yield f"The tables of {archive.root} cannot be read ({error}); restore {archive.tables} from a copy."
        return
    if n_assets and not is_current(archive):
        yield f"The index of {archive.root} is older than its tables, or missing; run `rushes ingest {archive.root}`."


def time_zone(archive: Archive) -> Iterator[str]:
    """The nightly run is nightly where this machine is."""
    asked, here = archive.settings.schedule.time_zone, local_time_zone()
    if asked != here:
        yield f"The nightly run of {archive.root} goes by {asked}, this machine by {here}; see time_zone there."


def _is_locked(path: Path) -> bool:
    with path.open("rb") as other:
        try:
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
