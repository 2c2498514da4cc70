"""NVDEC beside the processor: dense sampling of large and small films, and whether the frames are the same.

    python -m tests.benchmarks.decode_gpu [--json] [--rounds 3] [--workers N] [--media DIR]

Needs a GPU, torchcodec and an FFmpeg that it finds. Both decode the same film to the same size on the same grid: the
sandboxed decoder with as many workers as --workers says (default: one for each core), NVDEC in one process of its own,
warmed by a first frame, the frames left on the device. Times end when the last frame is there. Films are found in
--media DIR, or made there. Without a GPU there is one row that says so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from pipeline.decode import decode
from pipeline.media import FrameChunk, Modality, Mode, Sampling
from tests.benchmarks import decode_media
from tests.benchmarks.figures import Figure, interval_of_ratio, report

SIZE_PX = 224
MOST_DIFFERENCE = 1.5
"""Of 255, on average: how far the two decoders' frames may lie apart; what tests/pipeline/decode/test_nvdec.py asks."""
_ON_DEVICE = """
import json, sys, time
from pathlib import Path
import numpy as np
import torch
from pipeline.decode.nvdec import decode_at
path, at, size_px, rounds, out = Path(sys.argv[1]), *map(json.loads, sys.argv[2:5]), sys.argv[5]
list(decode_at(path, at[:1], size_px))
seconds = []
for _ in range(rounds):
    torch.cuda.synchronize()
    began = time.perf_counter()
    parts = list(decode_at(path, at, size_px))
    torch.cuda.synchronize()
    seconds.append(time.perf_counter() - began)
np.savez(out, pixels=torch.cat([p for p, _ in parts]).permute(0, 2, 3, 1).cpu().numpy(),
         at=np.concatenate([t for _, t in parts]), seconds=seconds)
"""


@dataclass(frozen=True)
class Shown:
    """What a decoder gave: frames, uint8 [N, H, W, 3], their times in seconds, and how long each round took."""

    pixels: NDArray[np.uint8]
    at_seconds: NDArray[np.float64]
    took_seconds: list[float]


def main() -> int:
    """Print all figures; return 1 if frames differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contender runs")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="that share a film")
    parser.add_argument("--media", type=Path, help="where films are kept between runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rushes-benchmark-") as scratch:
        media = options.media or Path(scratch) / "media"
        return report(_figures(media, options.rounds, options.workers, Path(scratch)), as_json=options.json)


def _figures(media: Path, rounds: int, workers: int, scratch: Path) -> Iterator[Figure]:
    import torch

    if not torch.cuda.is_available():
        yield Figure("NVDEC over the processor", 0.0, "ratio", quality="not run: torch sees no GPU")
        return
    films = _films()
    decode_media.make(films, media)
    for film in films:
        for interval in (1.0, 0.2):
            grid = [float(at) for at in np.arange(0, film.seconds, interval)]
            ours = _on_processor(media / film.file, interval, rounds, workers)
            theirs = _on_device(media / film.file, grid, rounds, scratch / "frames.npz")
            yield _compared(f"{film.name}, a frame each {interval:g} s", ours, theirs, workers, film.seconds)


def _films() -> list[decode_media.Film]:
    """Return a large film and a small one, both of one look, and a large one of the newer codec."""
    sparse = "scenecut=0:open-gop=0:keyint=125"
    h264 = (("preset", "faster"), ("x264-params", sparse))
    hevc = (("preset", "superfast"), ("b", "2500000"), ("x265-params", f"log-level=none:{sparse}"))
    look = {"loop_seconds": 20.0, "repeats": 1, "group_seconds": 5.0}
    return [
        decode_media.Film("H.264 1080p", "gpu-h264.mp4", "libx264", (*h264, ("b", "4000000")), (1920, 1080), **look),
        decode_media.Film("HEVC 1080p", "gpu-hevc.mp4", "libx265", hevc, (1920, 1080), **look),
        decode_media.Film("H.264 540p", "gpu-small.mp4", "libx264", (*h264, ("b", "1500000")), (960, 540), **look),
    ]


def _on_processor(path: Path, interval_seconds: float, rounds: int, workers: int) -> Shown:
    sampling = Sampling(size_px=SIZE_PX, mode=Mode.EXACT, interval_seconds=interval_seconds)
    took, chunks = [], []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        bodies = decode(path, sampling, want=frozenset({Modality.VISUAL}), workers=workers)
        chunks = [body for body in bodies if isinstance(body, FrameChunk)]
        took.append(time.perf_counter() - began)
    pixels = np.concatenate([chunk.pixels for chunk in chunks])
    return Shown(pixels, np.concatenate([chunk.at_seconds for chunk in chunks]), took[1:])


def _on_device(path: Path, grid: list[float], rounds: int, out: Path) -> Shown:
    command = [sys.executable, "-c", _ON_DEVICE, str(path), json.dumps(grid), str(SIZE_PX), str(rounds), str(out)]
    subprocess.run(command, check=True)
    with np.load(out) as saved:
        return Shown(saved["pixels"], saved["at"], saved["seconds"].tolist())


def _compared(name: str, ours: Shown, theirs: Shown, workers: int, film_seconds: float) -> Figure:
    """Return the speed of NVDEC over that of the processor; it holds if both gave the same frames."""
    common = np.isclose(ours.at_seconds[:, None], theirs.at_seconds[None], atol=2e-3)
    rows, columns = np.nonzero(common)
    difference = float(np.abs(ours.pixels[rows].astype(int) - theirs.pixels[columns]).mean()) if len(rows) else 255.0
    same = len(rows) == len(ours.at_seconds) == len(theirs.at_seconds) and difference <= MOST_DIFFERENCE
    low, high = interval_of_ratio(ours.took_seconds, theirs.took_seconds)
    slow, fast = median(ours.took_seconds), median(theirs.took_seconds)
    return Figure(
        f"NVDEC over {workers} workers: {name}", slow / fast, "ratio", None, None if same else False,
        contender=f"sandboxed decoder {slow:.2f} s ({film_seconds / slow:.0f} times real time)",
        quality=f"[{low:.2f}, {high:.2f}]; NVDEC {fast:.2f} s ({film_seconds / fast:.0f} times real time); "
        f"{len(rows)} of {len(ours.at_seconds)} frames at the same time, {difference:.2f} of 255 apart",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
