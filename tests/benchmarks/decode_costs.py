"""What decoding costs beside decoding: scaling and copying, memory, a process for each file."""

from __future__ import annotations

import fcntl
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from pipeline.decode import Limits, decode, pixels, sniff, wire
from pipeline.decode.film import decode_film
from pipeline.decode.image import decode_picture
from pipeline.decode.sniff import BYTES_NEEDED
from pipeline.media import FrameChunk, Modality, Mode, Sampling
from tests.benchmarks.contenders import Job, Peer
from tests.benchmarks.decode_media import LONG, SHORT
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.processes import PROC, grandchildren, load, memory_of, peak_of

MB = 1e6
VISUAL = frozenset({Modality.VISUAL})
N_FILES = 50
MODES = (Mode.KEYFRAMES, Mode.AUTO, Mode.EXACT)
_LOOKED_EVERY_SECONDS = 0.1


def conversion(film: Path) -> Iterator[Figure]:
    """Yield, for each mode, how long scaling, conversion and the way through the pipe take, of what decoding takes."""
    for mode in MODES:
        whole, scaling, sending, n_frames = _taken_apart(film, Sampling(mode=mode))
        decoding = whole - scaling
        yield at_most(
            f"conversion and copy of decoding, {mode}", (scaling + sending) / decoding, "ratio", 0.1,
            contender=f"decoding {decoding:.2f} s",
            quality=f"{n_frames} frames in this process by one thread: scaling and conversion {scaling:.3f} s "
            f"({1e3 * scaling / max(1, n_frames):.2f} ms a frame), through a pipe {sending:.3f} s; {load()}",
        )  # fmt: skip


def memory(short: Path, long: Path) -> Iterator[Figure]:
    """Yield the most memory that one worker takes for ten hours of film, beside that for a minute."""
    if not PROC.is_dir():
        return
    peaks = {film.name: _peak(path) for film, path in ((SHORT, short), (LONG, long))}
    (resident, shared, seconds), (minute, _, _) = peaks[LONG.name], peaks[SHORT.name]
    yield at_most(
        "memory of a worker, ten hours of film", resident / MB, "MB", 300.0,
        contender=f"one minute: {minute / MB:.0f} MB",
        quality=f"most resident of one worker, libraries shared with others included; by share (PSS) "
        f"{shared / MB:.0f} MB; keyframes, {seconds:.1f} s; {load()}",
    )  # fmt: skip


def child(scratch: Path) -> Iterator[Figure]:
    """Yield what a process of its own costs a file."""
    path = scratch / "tiny.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)).save(path)
    sampling, content = Sampling(), path.read_bytes()
    inside, outside = [], []
    for n in range(N_FILES + 1):
        alone = _timed(lambda: list(decode_picture(io.BytesIO(content), ("JPEG",), sampling, Limits(), pixels=True)))
        in_child = _timed(lambda: list(decode(path, sampling, want=VISUAL)))
        if n:  # the first of each loads things
            inside.append(alone)
            outside.append(in_child)
    costs = sorted(1e3 * (a - b) for a, b in zip(outside, inside, strict=True))
    yield at_most(
        "what the child costs a file", median(costs), "ms", 20.0,
        contender=f"in process: {1e3 * median(inside):.1f} ms",
        quality=f"median of {N_FILES}, 19 of 20 below {costs[int(0.95 * N_FILES)]:.1f} ms; {load()}",
    )  # fmt: skip


def _taken_apart(film: Path, sampling: Sampling) -> tuple[float, float, float, int]:
    """Decode a film in this process; return the seconds it took in all, those of scaling, of sending, and frames."""
    sending, n_frames, whole = 0.0, 0, 0.0
    fd = os.open(film, os.O_RDONLY)
    try:
        kind = sniff(os.pread(fd, BYTES_NEEDED, 0), film.name)
        assert kind is not None
        with _timing_scaler() as scaling:
            items = iter(decode_film(fd, kind.demuxers, sampling, VISUAL, Limits()))
            while True:
                began = time.perf_counter()
                item = next(items, None)
                whole += time.perf_counter() - began
                if item is None:
                    return whole, scaling[0], sending, n_frames
                if isinstance(item, FrameChunk):
                    sending += _sent(item)
                    n_frames += len(item.pixels)
    finally:
        with suppress(OSError):
            os.close(fd)


def _sent(chunk: FrameChunk) -> float:
    """Send frames through a pipe, as a child does; return how long it took until they were read."""
    read_end, write_end = os.pipe()
    with suppress(AttributeError, OSError):
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 2**20)

    def fill(buffer: memoryview) -> None:
        view = buffer.cast("B")
        while len(view):
            view = view[os.readv(read_end, [view]) :]

    def send() -> None:
        with os.fdopen(write_end, "wb", buffering=0) as raw, io.BufferedWriter(raw, 2**16) as out:
            wire.write(out, chunk)

    sender = threading.Thread(target=send)
    began = time.perf_counter()
    sender.start()
    wire.read(fill)
    sender.join()
    os.close(read_end)
    return time.perf_counter() - began


@contextmanager
def _timing_scaler() -> Iterator[list[float]]:
    """Yield a list whose one number grows by the seconds that frames are scaled for."""
    scale, spent = pixels.Scaler.scale, [0.0]

    def timed(*given: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return scale(*given, **named)
        finally:
            spent[0] += time.perf_counter() - began

    pixels.Scaler.scale = timed  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        pixels.Scaler.scale = scale  # type: ignore[method-assign]


def _peak(film: Path) -> tuple[int, int, float]:
    """Return the most bytes resident in one decoding process, the most by share, and the seconds that it took."""
    peer = Peer("ours")
    most, done = [0, 0], threading.Event()

    def watch() -> None:
        while not done.wait(_LOOKED_EVERY_SECONDS):
            for pid in grandchildren(peer.pid):  # its child is the fork server, whose children decode
                most[0] = max(most[0], peak_of(pid))
                with suppress(OSError):
                    most[1] = max(most[1], memory_of(pid)[0])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        took = peer.ask(Job(film, (462, 260), setting={"mode": "keyframes", "workers": 2}))
    finally:
        done.set()
        watcher.join()
        peer.close()
    return most[0], most[1], took.seconds


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
