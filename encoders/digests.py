"""SHA-256 of the files of a folder, remembered in the cache as long as nothing touches them: gigabytes are read once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from encoders.packages import cache_directory


def digests(folder: Path, names: Iterable[str], *, remembered: bool = True) -> dict[str, str]:
    """Return file name → SHA-256 in hex, for files of a folder.

    A file is read again when its size, its times or its inode have changed, which is so whoever wrote to it.

    Args:
        folder: where they lie.
        names: paths inside it, with forward slashes.
        remembered: False: read every file, whatever the cache says.
    """
    folder = folder.resolve()
    cache = cache_directory() / "digests" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}.json"
    known = _read(cache)
    found = {}
    for name in names:
        mark = _mark(folder / name)
        seen = known.get(name)
        is_known = remembered and isinstance(seen, list) and len(seen) == 2 and seen[0] == mark
        found[name] = [mark, str(seen[1]) if is_known and seen else _sha256(folder / name)]
    if found != known:
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time at the next start
            _write(cache, json.dumps(found).encode())
    return {name: sha256 for name, (_, sha256) in found.items()}


def _mark(path: Path) -> str:
    said = path.stat()
    return f"{said.st_size} {said.st_mtime_ns} {said.st_ctime_ns} {said.st_ino}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(cache: Path) -> dict[str, list[str]]:
    try:
        known = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(cache: Path, body: bytes) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=cache.parent, prefix=f".{cache.name}-", delete=False) as file:
        file.write(body)
    os.replace(file.name, cache)  # noqa: PTH105  # readers see the whole or nothing
