"""TensorFlow checkpoints read without TensorFlow.

A checkpoint ("tensor bundle") is two files. `.index` is a sorted string table as LevelDB writes it: blocks of
prefix-compressed entries, a block that lists the blocks, a footer of 48 bytes. Each entry maps a variable's name to a
protocol buffer with its type, shape and place in `.data-00000-of-00001`, where the numbers lie raw, little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48
_BLOCK_TRAILER_BYTES = 5  # one for the compression, four for a checksum; who pins the files by SHA-256 needs no other
_DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("<f8"),
    3: np.dtype("<i4"),
    9: np.dtype("<i8"),
}


class CheckpointError(ValueError):
    """A file is no TensorFlow checkpoint, or one in a form that this module does not read."""


def read_tensors(index: Path, data: Path, wanted: Callable[[str], bool] = lambda _: True) -> dict[str, NDArray[Any]]:
    """Read the variables of a checkpoint whose name is `wanted`.

    Args:
        index: the file that ends in `.index`.
        data: the file that ends in `.data-00000-of-00001`; checkpoints in several shards are refused.
        wanted: tells by a variable's name whether to read it; all are, if not given.

    Returns:
        Name → array of the variable's type and shape, its memory its own.

    Raises:
        CheckpointError: the files are damaged, or not in this form.
    """
    table, numbers = index.read_bytes(), data.read_bytes()
    try:
        entries = list(_entries(table))
        return {
            name.decode(): _tensor(name.decode(), entry, numbers)
            for name, entry in entries
            if name and wanted(name.decode())  # the entry without a name is the bundle's header
        }
    except (IndexError, struct.error, UnicodeDecodeError) as exc:
        raise CheckpointError(
            f"{index} ends or breaks off inside an entry ({exc}); fetch the checkpoint again."
        ) from exc


def _tensor(name: str, entry: bytes, numbers: bytes) -> NDArray[Any]:
    fields = dict.fromkeys((1, 3, 4, 5), 0)
    shape: list[int] = []
    for number, value in _fields(entry):
        if number == 2 and isinstance(value, bytes):
            shape = [_dimension(size) for inner, size in _fields(value) if inner == 2 and isinstance(size, bytes)]
        elif number in fields and isinstance(value, int):
            fields[number] = value
    kind, shard, start, size = fields.values()
    dtype = _DTYPES.get(kind)
    if dtype is None or shard:
        raise CheckpointError(
            f"{name} has type {kind} in shard {shard}; only types {sorted(_DTYPES)} in shard 0 are read."
        )
    if size != prod(shape) * dtype.itemsize or start + size > len(numbers):
        raise CheckpointError(
            f"{name} {shape} claims bytes {start} to {start + size} of {len(numbers)}; fetch it again."
        )
    values: NDArray[Any] = np.frombuffer(numbers, dtype, prod(shape), start)
    return values.reshape(shape).copy()


def _dimension(message: bytes) -> int:
    return next((value for number, value in _fields(message) if number == 1 and isinstance(value, int)), 0)


def _entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the table's keys and values, in order."""
    footer = table[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or int.from_bytes(footer[-8:], "little") != _MAGIC:
        raise CheckpointError(
            f"The index ({len(table)} bytes) has no table's footer; it is no checkpoint, or cut short."
        )
    _, at = _handle(footer, 0)  # of the meta index, which bundles leave empty
    index, _ = _handle(footer, at)
    for _, handle in _block(table, *index):
        place, _ = _handle(handle, 0)
        yield from _block(table, *place)


def _block(table: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    end = start + size
    if end + _BLOCK_TRAILER_BYTES > len(table):
        raise CheckpointError(f"A block claims bytes {start} to {end} of {len(table)}; fetch the checkpoint again.")
    if table[end]:
        raise CheckpointError(f"A block is compressed (method {table[end]}), which checkpoints are not by default.")
    (restarts,) = struct.unpack_from("<I", table, end - 4)
    end -= 4 * (restarts + 1)  # after the entries: where prefixes start anew, for binary search
    at, key = start, b""
    while at < end:
        shared, at = _varint(table, at)
        unshared, at = _varint(table, at)
        length, at = _varint(table, at)
        key = key[:shared] + table[at : at + unshared]
        at += unshared
        yield key, table[at : at + length]
        at += length


def _handle(buffer: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Read a block's place, (start, size) in bytes; also return where reading goes on."""
    start, at = _varint(buffer, at)
    size, at = _varint(buffer, at)
    return (start, size), at


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a protocol buffer, number and value, nested messages as bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
        elif wire == 2:
            size, at = _varint(message, at)
            yield number, message[at : at + size]
            at += size
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            yield number, int.from_bytes(message[at : at + size], "little")
            at += size
        else:
            raise CheckpointError(
                f"An entry has a field of wire type {wire}, which is none; fetch the checkpoint again."
            )


def _varint(buffer: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
