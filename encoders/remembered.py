"""Tables of numbers that take seconds to make and stay the same: made once, then read from the cache."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.packages import cache_directory

_DIGEST_BYTES = 32


def remembered(
    name: str, key: str, shape: tuple[int, int], make: Callable[[], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the table that `make` makes, from the cache if it was made before.

    A file that is cut short or damaged is made again; where the cache cannot be written, so is the table each time.

    Args:
        name: of the file, for people.
        key: all that the table depends on; another key is another file.
        shape: rows and columns.
        make: returns float32 of that shape.
    """
    path = cache_directory() / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.bin"
    table = _read(path, shape)
    if table is None:
        table = np.ascontiguousarray(make(), "<f4").reshape(shape)
        with contextlib.suppress(OSError):
            _write(path, table.tobytes())
    return table


def _read(path: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    try:
        body = path.read_bytes()
    except OSError:
        return None
    numbers = body[_DIGEST_BYTES:]
    if len(numbers) != 4 * shape[0] * shape[1] or hashlib.sha256(numbers).digest() != body[:_DIGEST_BYTES]:
        return None
    return np.frombuffer(numbers, "<f4").reshape(shape)


def _write(path: Path, numbers: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        file.write(hashlib.sha256(numbers).digest() + numbers)
    os.replace(file.name, path)  # noqa: PTH105  # readers see the whole or nothing
