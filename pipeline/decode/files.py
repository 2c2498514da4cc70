"""Opening a person's files: only regular ones, never through a link, never by blocking."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from pipeline.decode.limits import NotMediaError
from pipeline.errors import MediaError


def open_regular(path: Path) -> int:
    """Open a regular file for reading and return its descriptor, which the caller closes.

    Raises:
        NotMediaError: `link`, or `not_a_file`: a directory, FIFO, socket or device.
        MediaError: `vanished`, or `no_permission`.
    """
    try:
        # O_NONBLOCK: opening a FIFO that nobody writes to would wait for ever.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise NotMediaError("link", "it is a symbolic link; give the file that it points at") from exc
        if exc.errno in (errno.ENXIO, errno.ENODEV):
            raise NotMediaError("not_a_file", "it is a socket or a device") from exc
        if exc.errno in (errno.EACCES, errno.EPERM):
            raise MediaError("no_permission", "it may not be read by this user") from exc
        if exc.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
            raise MediaError("vanished", "it is no longer there") from exc
        raise MediaError("io_error", os.strerror(exc.errno or 0)) from exc
    except ValueError as exc:  # a NUL in the name
        raise MediaError("vanished", "no file can have this name") from exc
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotMediaError("not_a_file", "it is a directory, FIFO, socket or device")
    return fd


def read_small(path: Path, bytes_most: int, reason: str) -> bytes:
    """Return a whole file, if it is a regular one of at most `bytes_most` bytes.

    Raises:
        MediaError: `reason` where it is larger or cannot be read, otherwise as `open_regular`.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        try:
            data = file.read(bytes_most + 1)
        except OSError as exc:
            raise MediaError(reason, exc.strerror or "it cannot be read") from exc
    if len(data) > bytes_most:
        raise MediaError(reason, f"it is larger than {bytes_most} bytes")
    return data
