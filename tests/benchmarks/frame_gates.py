"""Whether a contender's frames are the right ones: their times, their pixels, and the cuts that were found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.figures import Figure

if TYPE_CHECKING:
    from tests.benchmarks.contenders import Took
    from tests.benchmarks.races import Field

SAME_DB = 35.0
"""Two scalers' output of one frame differs by less; a neighbouring frame of a moving picture differs by more."""
ALIKE_DB = 30.0
"""The same where one of the two scales in another colour space."""
NEAR_SECONDS = 0.2
"""How far from a true cut a cut may be found."""
_SAME_TIME = 1e-3


@dataclass(frozen=True)
class Gate:
    """Whether frames were right, and what is to be said of them."""

    passed: bool
    told: str


@dataclass(frozen=True)
class Cuts:
    """How the cuts that were found compare with those that there are."""

    recall: float
    precision: float
    n_found: int
    n_true: int
    n_frames: int
    n_decoded: int
    """Frames; 0 where it was not said."""


@dataclass(frozen=True)
class Gates:
    """What came out of looking at one film's frames."""

    keyframes: Gate
    auto: Gate
    exact: Gate
    cuts: dict[str, Cuts]
    theirs: dict[str, str]
    """What is to be said of the frames of others."""

    def figures(self, film: str) -> Iterator[Figure]:
        """Yield how well cuts were found."""
        for name, cuts in self.cuts.items():
            yield Figure(
                f"{film}: cuts found by {name}, recall", cuts.recall, "share",
                quality=f"within {NEAR_SECONDS} s; {cuts.n_found} found, precision {cuts.precision:.3g}, {cuts.n_true} "
                f"true; {cuts.n_frames} frames kept of {cuts.n_decoded} decoded",
            )  # fmt: skip


def look(field: Field, scratch: Path) -> Gates:
    """Let each contender run once, the first time, and look at its frames."""
    from tests.benchmarks.races import AUTO, EXACT, KEYFRAMES, NAIVE, NOKEY, TORCHCODEC

    path, size = scratch / "frames", field.size
    ours: dict[str, tuple[Took, dict[str, NDArray[np.float64]]]] = {}
    for name in (KEYFRAMES, AUTO, EXACT):
        took = field.runs[name](path.with_suffix(".npz"))
        with np.load(path.with_suffix(".npz")) as kept:
            wanted = ("at_seconds", "cuts") if name == AUTO else ("at_seconds", "cuts", "pixels")
            ours[name] = took, {key: kept[key] for key in wanted}
    keys = ours[KEYFRAMES][1]
    theirs = None
    if NOKEY in field.runs:
        field.runs[NOKEY](path.with_suffix(".rgb"))
        theirs = np.fromfile(path.with_suffix(".rgb"), np.uint8).reshape(-1, size[1], size[0], 3)
    keyframes = of_keyframes(keys["at_seconds"], keys["pixels"], key_times(field.path), theirs)
    grid = ours[EXACT][1]
    field.runs[NAIVE](path.with_suffix(".npz"))
    with np.load(path.with_suffix(".npz")) as kept:
        naive = kept["pixels"]
    exact = of_grid(grid["at_seconds"], grid["pixels"], field.film.frames_per_second, naive)
    others = {}
    if TORCHCODEC in field.runs:
        field.runs[TORCHCODEC](path.with_suffix(".npz"))
        with np.load(path.with_suffix(".npz")) as kept:
            gate = of_grid(kept["at_seconds"], kept["pixels"], field.film.frames_per_second, naive)
            others[TORCHCODEC] = f"{'' if gate.passed else 'NOT THE RIGHT FRAMES: '}{gate.told}"
    for kept_file in scratch.glob("frames.*"):
        kept_file.unlink()
    truth = field.film.cuts_seconds()
    cuts = {
        name: of_cuts(ours[name][1]["cuts"].tolist(), truth, ours[name][0]) for name in (AUTO, EXACT)
    }  # fmt: skip
    auto = cuts[AUTO]
    told = f"{auto.n_frames} frames, {auto.n_found} cuts found of {auto.n_true}, recall {auto.recall:.3g}"
    return Gates(keyframes, Gate(auto.n_frames > 0, told), exact, cuts, others)


def of_keyframes(
    at_seconds: NDArray[np.float64], pixels: NDArray[np.uint8], true_seconds: Sequence[float],
    theirs: NDArray[np.uint8] | None,
) -> Gate:  # fmt: skip
    """Compare our key frames with the file's, and with FFmpeg's pictures of them."""
    n = len(true_seconds)
    if len(at_seconds) != n or np.abs(at_seconds - true_seconds).max(initial=0.0) > _SAME_TIME:
        return Gate(False, f"{len(at_seconds)} frames of {n} key frames, {shared(at_seconds, true_seconds)} on time")
    if theirs is None:
        return Gate(True, f"{n} key frames, all on time; nothing to compare their pixels with")
    if theirs.shape != pixels.shape:
        return Gate(False, f"{list(pixels.shape)} against {list(theirs.shape)}")
    least, mean = likeness(pixels, theirs)
    told = f"{n} key frames, all on time, PSNR with ffmpeg's at least {least:.1f} dB, off by {mean:.2f} of 255"
    return Gate(least >= SAME_DB, told)


def of_grid(
    at_seconds: NDArray[np.float64], pixels: NDArray[np.uint8], frames_per_second: int, naive: NDArray[np.uint8]
) -> Gate:
    """Compare our frames with those that a naive decoder finds on display at each whole second.

    Args:
        at_seconds: float64 [N], of our frames.
        pixels: uint8 [N, H, W, 3].
        frames_per_second: of the film, which begins at 0 and has no gaps.
        naive: uint8 [S, H, W, 3], one of each second.
    """
    seconds = np.arange(len(naive), dtype=np.float64)
    displayed = np.floor(seconds * frames_per_second + 1e-6) / frames_per_second
    rows = np.abs(at_seconds[:, None] - displayed[None]).argmin(axis=0) if len(at_seconds) else np.zeros(0, int)
    on_time = np.abs(at_seconds[rows] - displayed) <= _SAME_TIME if len(rows) else np.zeros(len(seconds), bool)
    told = f"{int(on_time.sum())} of {len(seconds)} frames on time, {len(at_seconds)} kept"
    if not on_time.any() or pixels.shape[1:] != naive.shape[1:]:
        return Gate(False, told)
    least, mean = likeness(pixels[rows[on_time]], naive[on_time])
    told += f", PSNR with the naive decoder's at least {least:.1f} dB, off by {mean:.2f} of 255"
    return Gate(bool(on_time.all()) and least >= ALIKE_DB, told)


def of_cuts(found: Sequence[float], true: Sequence[float], took: Took) -> Cuts:
    """Compare cuts, both lists rising; each true one is found at most once."""
    hits, left = 0, list(found)
    for at in true:
        near = [other for other in left if abs(other - at) <= NEAR_SECONDS]
        if near:
            left.remove(min(near, key=lambda other: abs(other - at)))
            hits += 1
    recall, precision = hits / max(1, len(true)), hits / max(1, len(found))
    return Cuts(recall, precision, len(found), len(true), took.n_frames, took.said.get("decoded", 0))


def likeness(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the least PSNR in dB of a picture, and the mean absolute difference over all."""
    least, total = float("inf"), 0.0
    for a, b in zip(ours, theirs, strict=True):
        difference = a.astype(np.int16) - b
        square = float(np.mean(np.square(difference, dtype=np.int32)))
        least = min(least, 10 * np.log10(255**2 / max(square, 1e-3)))
        total += float(np.abs(difference).mean())
    return float(least), total / max(1, len(ours))


def shared(at_seconds: NDArray[np.float64], true_seconds: Sequence[float]) -> int:
    """Return how many of the true times have a frame."""
    if not len(at_seconds):
        return 0
    return int(sum(np.abs(at_seconds - at).min() <= _SAME_TIME for at in true_seconds))


def key_times(path: Path) -> list[float]:
    """Return when the key frames of a film are displayed, in seconds since its first frame."""
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        packets = [(packet.pts, packet.is_keyframe) for packet in container.demux(stream) if packet.pts is not None]
        base = stream.time_base
    first = min(pts for pts, _ in packets)
    return [float((pts - first) * base) for pts, is_key in sorted(packets) if is_key]
