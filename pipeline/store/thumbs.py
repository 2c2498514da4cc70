"""Packs of small pictures: one file per batch, and for each moment where in it its picture lies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path


def write_pack(folder: Path, pictures: Sequence[bytes]) -> list[dict[str, object] | None]:
    """Write pictures into one pack, named by its content; return pack, offset and length of each (None if empty).

    Writing the same pictures again gives the same file.
    """
    body = b"".join(dict.fromkeys(pictures))  # a moment and its scene share their picture
    if not body:
        return [None] * len(pictures)
    offsets: dict[bytes, int] = {}
    at = 0
    for picture in dict.fromkeys(pictures):
        offsets[picture] = at
        at += len(picture)
    pack = hashlib.blake2b(body, digest_size=16).hexdigest() + ".pack"
    path = folder / pack
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{pack}.{os.getpid()}"
        with part.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    return [{"pack": pack, "offset": offsets[p], "length": len(p)} if p else None for p in pictures]


def read_thumb(folder: Path, pack: str, offset: int, length: int) -> bytes:
    """Return one picture, WebP."""
    with (folder / pack).open("rb") as file:
        file.seek(offset)
        return file.read(length)
