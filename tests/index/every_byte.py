"""Look into every byte of an archive: as it lies on the disk, and as it comes out of compressed files."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def found_in(root: Path, canaries: Mapping[str, bytes]) -> dict[str, set[str]]:
    """Return for each canary the files below an archive that hold it, in their name or in their bytes."""
    found: dict[str, set[str]] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        bodies = [name.encode(), *(bodies_of(path) if path.is_file() else ())]
        for canary, pattern in canaries.items():
            if any(pattern in body for body in bodies):
                found.setdefault(canary, set()).add(name)
    return found


def bodies_of(path: Path) -> Iterator[bytes]:
    yield path.read_bytes()
    if path.suffix == ".parquet":
        file = pq.ParquetFile(path)
        yield str(file.metadata.metadata).encode()
        for group in range(file.num_row_groups):
            for column in range(file.metadata.row_group(group).num_columns):
                yield str(file.metadata.row_group(group).column(column).statistics).encode()
        table = file.read()
        for column in table.columns:
            yield str(column.to_pylist()).encode()
            for chunk in column.chunks:
                yield from buffers_of(chunk)


def buffers_of(array: pa.Array) -> Iterator[bytes]:
    for buffer in array.buffers():
        if buffer is not None:
            yield buffer.to_pybytes()


def vector_patterns(vector: np.ndarray) -> tuple[bytes, bytes]:
    """Return how a vector looks as float32 and as float16."""
    return vector.astype(np.float32).tobytes(), vector.astype(np.float16).tobytes()
