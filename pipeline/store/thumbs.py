"""Packs of small pictures: one file per batch, and for each moment where in it its picture lies.

A pack is named by what was written into it. It changes only where a picture is forgotten, and then as a whole.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from pipeline.store.files import Removed, remove, sync_folder, write_whole


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
    if not path.exists() or path.read_bytes() != body:  # it is there with holes, where something was forgotten
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, body)
    return [{"pack": pack, "offset": offsets[p], "length": len(p)} if p else None for p in pictures]


def read_thumb(folder: Path, pack: str, offset: int, length: int) -> bytes:
    """Return one picture, WebP."""
    with (folder / pack).open("rb") as file:
        file.seek(offset)
        return file.read(length)


def blank(folder: Path, named: Iterable[tuple[str, int, int]]) -> Removed:
    """Take every picture that nothing names out of the packs.

    What is named stays where it is, so that no row needs to change: the rest of a pack becomes a hole of zeros. A pack
    with no named picture goes.

    Args:
        folder: where the packs lie.
        named: pack, offset and length of each picture that stays.
    """
    spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for pack, offset, length in named:
        spans[pack].append((offset, offset + length))
    removed = Removed()
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name not in spans:  # among them what a killed run began to write
            removed += remove([path])
        elif n_bytes := _blank_pack(path, sorted(spans[path.name])):
            removed += Removed(0, n_bytes)
    return removed


def _blank_pack(path: Path, spans: Sequence[tuple[int, int]]) -> int:
    """Replace a pack by one that holds only some spans; return how many bytes were there beside them."""
    body = path.read_bytes()
    kept = bytearray(len(body))
    for start, stop in spans:
        kept[start:stop] = body[start:stop]
    if kept == body:
        return 0
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with part.open("wb") as file:
        for start, stop in spans:
            file.seek(start)  # what is skipped takes no room on the disk
            file.write(body[start:stop])
        file.truncate(len(body))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)
    return int(np.count_nonzero(np.frombuffer(body, np.uint8) != np.frombuffer(kept, np.uint8)))
