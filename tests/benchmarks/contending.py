"""One contender in a process of its own, since two FFmpegs do not go into one and each imports what it needs.

    python -m tests.benchmarks.contending naive|torchcodec|ours

A request is a line of JSON: `path`, `size` (width and height that frames leave at), `at_seconds` (wanted), `setting`
(what the contender can be told), `keep` (where to leave frames, as .npz, or null). So is an answer: `seconds` (without
what it takes to import and to keep), `n_frames`, and what else there is to say. Frames are dropped as they come unless
they are kept.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAMES_PER_CALL = 32
"""Frames in full size that are in memory at once."""


@dataclass
class Kept:
    """What a contender made of a film; frames only where somebody wants to look at them."""

    wanted: bool
    at_seconds: list[float] = field(default_factory=list)
    pixels: list[NDArray[np.uint8]] = field(default_factory=list)
    """Each uint8 [N, H, W, 3]."""
    cuts: list[float] = field(default_factory=list)
    n_frames: int = 0
    said: dict[str, Any] = field(default_factory=dict)

    def add(self, pixels: NDArray[np.uint8], at_seconds: Sequence[float]) -> None:
        """Take frames, uint8 [N, H, W, 3], and their times."""
        self.n_frames += len(pixels)
        if self.wanted:
            self.pixels.append(pixels)
            self.at_seconds += at_seconds

    def save(self, path: Path) -> None:
        """Write what was kept."""
        order = np.argsort(self.at_seconds, kind="stable")
        pixels = np.concatenate(self.pixels)[order] if self.pixels else np.empty((0, 0, 0, 3), np.uint8)
        np.savez(path, pixels=pixels, at_seconds=np.array(self.at_seconds)[order], cuts=np.array(self.cuts))


def naive(request: dict[str, Any], kept: Kept) -> None:
    """Decode all frames with PyAV's frame threads; convert and resize those on display when one is wanted."""
    import av
    from PIL import Image

    wanted, size = request["at_seconds"], tuple(request["size"])

    def take(frame: Any, at: float) -> None:
        picture = Image.fromarray(frame.to_ndarray(format="rgb24")).resize(size, Image.Resampling.BICUBIC)
        kept.add(np.asarray(picture)[None], [at])

    with av.open(request["path"]) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        origin, due, last = None, 0, None
        for frame in container.decode(stream):
            origin = frame.time if origin is None else origin
            at = frame.time - origin
            while due < len(wanted) and last is not None and wanted[due] < at - 1e-6:
                take(*last)
                due += 1
            last = (frame, at)
        while due < len(wanted) and last is not None:
            take(*last)
            due += 1


def torchcodec(request: dict[str, Any], kept: Kept) -> None:
    """Ask torchcodec for the frames on display; say how many of them were not.

    `setting`: seek_mode, num_ffmpeg_threads, resize, decoders.
    """
    setting, wanted = request["setting"], request["at_seconds"]
    parts = np.array_split(np.array(wanted), setting["decoders"])
    with ThreadPoolExecutor(setting["decoders"]) as pool:
        for got in pool.map(lambda part: list(_played(request, part, keep=kept.wanted)), parts):
            for n, n_wrong, pixels, at_seconds in got:
                kept.n_frames += n
                kept.said["n_wrong"] = kept.said.get("n_wrong", 0) + n_wrong
                if kept.wanted:
                    kept.pixels.append(pixels)
                    kept.at_seconds += at_seconds


def _played(request: dict[str, Any], wanted: NDArray[np.float64], *, keep: bool) -> Iterator[tuple[int, Any, Any]]:
    import torch
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    setting, (width, height) = request["setting"], request["size"]
    decoder = VideoDecoder(
        request["path"], seek_mode=setting["seek_mode"], num_ffmpeg_threads=setting["num_ffmpeg_threads"],
        dimension_order="NCHW", transforms=[Resize((height, width))] if setting["resize"] else None,
    )  # fmt: skip
    begins = decoder.metadata.begin_stream_seconds or 0.0
    per_call = len(wanted) if setting["resize"] else FRAMES_PER_CALL
    for first in range(0, len(wanted), max(1, per_call)):
        asked = wanted[first : first + per_call] + begins
        batch = decoder.get_frames_played_at(asked.tolist())
        frames, shown = batch.data, batch.pts_seconds.numpy()
        wrong = (shown > asked + 1e-3) | (asked >= shown + batch.duration_seconds.numpy() + 1e-3)
        if not setting["resize"]:
            frames = torch.nn.functional.interpolate(frames, (height, width), mode="bicubic", antialias=True)
        pixels = frames.permute(0, 2, 3, 1).numpy() if keep else None
        yield len(frames), int(wrong.sum()), pixels, (shown - begins).tolist()


def ours(request: dict[str, Any], kept: Kept) -> None:
    """Decode as a user does; `setting`: the fields of Sampling that are not the usual ones, and workers."""
    from pipeline.decode import decode
    from pipeline.media import Ending, FrameChunk, Modality, Mode, Sampling

    setting = dict(request["setting"])
    workers, mode = setting.pop("workers", 2), Mode(setting.pop("mode"))
    sampling = Sampling(mode=mode, size_px=min(request["size"]), **setting)
    starts = []
    for item in decode(Path(request["path"]), sampling, want=frozenset({Modality.VISUAL}), workers=workers):
        if isinstance(item, FrameChunk):
            kept.add(item.pixels, item.at_seconds.tolist())
            starts += [shot.start_seconds for shot in item.shots]
        elif isinstance(item, Ending):
            kept.said = {"n_shots": len(starts), "decoded": item.frames_decoded, "damage": item.damage}
    kept.cuts = starts[1:]


CONTENDERS: dict[str, Callable[[dict[str, Any], Kept], None]] = {
    "naive": naive,
    "torchcodec": torchcodec,
    "ours": ours,
}


def main() -> None:
    """Answer requests until there are no more."""
    work = CONTENDERS[sys.argv[1]]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints, it is no answer
    for line in sys.stdin:
        request = json.loads(line)
        kept = Kept(bool(request["keep"]))
        answer: dict[str, Any]
        try:
            began = time.perf_counter()
            work(request, kept)
            answer = {"seconds": time.perf_counter() - began, "n_frames": kept.n_frames, **kept.said}
            if kept.wanted:
                kept.save(Path(request["keep"]))
        except Exception as exc:  # told to who asked
            answer = {"error": f"{type(exc).__name__}: {exc}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
