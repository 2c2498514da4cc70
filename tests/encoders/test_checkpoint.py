"""TensorFlow checkpoints, written here byte by byte as the format says."""

import struct
from contextlib import suppress

import numpy as np
import pytest

from encoders.checkpoint import CheckpointError, read_tensors

DTYPES = {"<f4": 1, "<f8": 2, "<i4": 3, "<i8": 9}


def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def entry(array, start, *, shard=0):
    shape = b"".join(field(2, field(1, size)) for size in array.shape)
    checksum = varint(6 << 3 | 5) + b"abcd"
    places = field(3, shard) * bool(shard) + field(4, start) * bool(start) + field(5, array.nbytes)
    return field(1, DTYPES[array.dtype.str]) + field(2, shape) + places + checksum


def block(entries, *, compression=0):
    body, before = b"", b""
    for key, value in entries:
        shared = next(
            (i for i, (a, b) in enumerate(zip(before, key, strict=False)) if a != b), min(len(before), len(key))
        )
        body += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return body + struct.pack("<II", 0, 1) + bytes([compression]) + b"crc!"


def table(blocks, *, compression=0):
    out, handles = b"", []
    for entries in blocks:
        data = block(entries, compression=compression)
        handles.append((entries[-1][0] + b"~", varint(len(out)) + varint(len(data) - 5)))
        out += data
    meta = len(out)
    out += block([])
    index = len(out)
    listing = block(handles)
    footer = varint(meta) + varint(8) + varint(index) + varint(len(listing) - 5)
    return out + listing + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(5)
    return {
        "conv/bias": rng.normal(size=3).astype("<f4"),
        "conv/kernel": rng.normal(size=(2, 3, 1, 4)).astype("<f4"),
        "conv/kernel/Adam": rng.normal(size=(2, 3, 1, 4)).astype("<f4"),
        "dense/kernel": rng.normal(size=(300, 2)),
        "global_step": np.array(7, "<i8"),
        "nothing": np.zeros((0, 4), "<i4"),
    }


@pytest.fixture
def files(tmp_path, arrays):
    def write(blocks=2, **changes):
        entries, numbers = [(b"", field(1, 1))], b""
        for name, array in arrays.items():
            entries.append((name.encode(), entry(array, len(numbers), shard=changes.get("shard", 0))))
            numbers += array.tobytes()
        parts = [entries[i::blocks] for i in range(1)] if blocks == 1 else [entries[:3], entries[3:]]
        index, data = tmp_path / "m.index", tmp_path / "m.data"
        index.write_bytes(table(parts, compression=changes.get("compression", 0)))
        data.write_bytes(numbers)
        return index, data

    return write


@pytest.mark.parametrize("blocks", [1, 2])
def test_every_variable_comes_back_as_it_was(files, arrays, blocks):
    read = read_tensors(*files(blocks))

    assert list(read) == list(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        assert np.array_equal(read[name], array)
    assert read["conv/bias"].flags.writeable


def test_only_what_is_wanted_is_read(files):
    assert list(read_tensors(*files(), lambda name: "Adam" not in name and "/" in name)) == [
        "conv/bias",
        "conv/kernel",
        "dense/kernel",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"compression": 1}, "compressed"), ({"shard": 3}, "shard 3")],
    ids=["compressed", "shards"],
)
def test_another_form_is_refused(files, changes, message):
    with pytest.raises(CheckpointError, match=message):
        read_tensors(*files(**changes))


@pytest.mark.parametrize("size", [0, 3, 47, 48, 60])
def test_what_is_cut_short_is_refused(files, size):
    index, data = files()
    index.write_bytes(index.read_bytes()[:size])

    with pytest.raises(CheckpointError, match=r"footer|checkpoint"):
        read_tensors(index, data)


def test_numbers_that_are_missing_are_refused(files):
    index, data = files()
    data.write_bytes(data.read_bytes()[:100])

    with pytest.raises(CheckpointError, match="claims bytes"):
        read_tensors(index, data)


def test_damage_anywhere_is_refused_or_harmless(files):
    index, data = files()
    whole = index.read_bytes()
    for at in range(0, len(whole), 3):
        index.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with suppress(CheckpointError):
            read_tensors(index, data)
