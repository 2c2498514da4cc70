"""How many JPEGs a second become pictures at the model's size: ours beside bare loops in the same process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.decode import Limits, decode
from pipeline.decode.image import decode_picture
from pipeline.decode.shape import target_size
from pipeline.media import FrameChunk, Modality, Sampling
from tests.benchmarks.decode_media import textured_picture
from tests.benchmarks.figures import Figure, interval_of_ratio
from tests.benchmarks.frame_gates import likeness
from tests.benchmarks.processes import load

SIZE_PX = 260
KINDS = {"12 MP": ((4000, 3000), 40), "2 MP": ((1600, 1200), 60)}
"""Size of the pictures, and how many."""
FLOOR = 0.9
GOOD_DB = 30.0
"""Our pictures are at least so like those scaled from full size."""
N_BASES = 5
Load = Callable[[Path], NDArray[np.uint8]]


def figures(folder: Path, rounds: int) -> Iterator[Figure]:
    """Yield, for each size of picture, how fast each loop is, and ours over the best of the others."""
    loops: dict[str, Load] = {"ours": _ours, "Pillow, draft": _pillow, "Pillow, draft with room": _pillow_with_room}
    try:
        import torch
        import torchvision  # noqa: F401
    except ImportError:
        pass
    else:
        torch.set_num_threads(1)  # one thread each; who has two cores runs two processes
        loops["torchvision"] = _torchvision
    for kind, (size, n) in KINDS.items():
        paths = _write(folder / kind.replace(" ", ""), size, n)
        yield from _race(kind, paths, {**loops, "ours through the child": _ours_in_child}, rounds)


def _race(kind: str, paths: list[Path], loops: dict[str, Load], rounds: int) -> Iterator[Figure]:
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for name in loops:
        loops[name](paths[0])  # what loads on first use
    names = list(loops)
    for n in range(rounds):
        spent = dict.fromkeys(names, 0.0)
        for at, path in enumerate(paths):  # picture by picture, so that a busy minute hits all alike
            turn = (n + at) % len(names)
            for name in [*names[turn:], *names[:turn]]:
                began = perf_counter()
                loops[name](path)
                spent[name] += perf_counter() - began
        for name in names:
            seconds[name].append(spent[name])
    worst = {
        name: min(likeness(load(p)[None], _full(p)[None])[0] for p in paths[:N_BASES]) for name, load in loops.items()
    }
    for name, each in seconds.items():
        quality = f"{len(paths)} JPEGs at {SIZE_PX}, PSNR with full size, then scaled: at least {worst[name]:.1f} dB"
        yield Figure(
            f"pictures of {kind}: {name}", len(paths) / median(each), "pictures/s", quality=f"{quality}; {load()}"
        )
    others = [name for name in loops if not name.startswith("ours")]
    best = min(others, key=lambda name: median(seconds[name]))
    for name in ("ours", "ours through the child"):
        value = median(seconds[best]) / median(seconds[name])
        low, high = interval_of_ratio(seconds[best], seconds[name])
        floor = FLOOR if name == "ours" else None  # what the child costs has a bound of its own
        good = worst[name] >= GOOD_DB
        yield Figure(
            f"pictures of {kind}: {name} over the best bare loop", value, "ratio", floor,
            None if floor is None else bool(value >= floor and good), best,
            f"95% [{low:.2f}, {high:.2f}]; {'' if good else 'NOT THE RIGHT PICTURES: '}at least {worst[name]:.1f} dB",
        )  # fmt: skip


def _ours(path: Path) -> NDArray[np.uint8]:
    with path.open("rb") as file:
        for item in decode_picture(file, ("JPEG",), Sampling(size_px=SIZE_PX), Limits(), pixels=True):
            if isinstance(item, FrameChunk):
                return item.pixels[0]
    raise AssertionError("a picture has a frame")


def _ours_in_child(path: Path) -> NDArray[np.uint8]:
    items = list(decode(path, Sampling(size_px=SIZE_PX), want=frozenset({Modality.VISUAL})))
    return next(item.pixels[0] for item in items if isinstance(item, FrameChunk))


def _pillow(path: Path, room: int = 1) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        size = target_size(*picture.size, SIZE_PX)
        picture.draft("RGB", (room * size[0], room * size[1]))
        return np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BICUBIC))


def _pillow_with_room(path: Path) -> NDArray[np.uint8]:
    return _pillow(path, room=2)


def _torchvision(path: Path) -> NDArray[np.uint8]:
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms.v2.functional import resize

    picture = decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB)
    width, height = target_size(picture.shape[2], picture.shape[1], SIZE_PX)
    small: NDArray[np.uint8] = resize(picture, [height, width], antialias=True).permute(1, 2, 0).numpy()
    return small


def _full(path: Path) -> NDArray[np.uint8]:
    """Return the picture decoded in full and scaled once."""
    with Image.open(path) as picture:
        size = target_size(*picture.size, SIZE_PX)
        return np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BICUBIC))


def _write(folder: Path, size: tuple[int, int], n: int) -> list[Path]:
    """Write JPEGs: a few textured pictures, rolled and turned so that each file differs."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = np.random.default_rng(size[0])
    bases = [np.asarray(textured_picture(drawn, size, number)) for number in range(N_BASES)]
    noise = drawn.normal(0, 4, (*bases[0].shape[:2], 1)).astype(np.int16)
    bases = [np.clip(base + noise, 0, 255).astype(np.uint8) for base in bases]
    paths = [folder / f"{number}.jpg" for number in range(n)]
    for number, path in enumerate(paths):
        Image.fromarray(np.roll(bases[number % N_BASES], 101 * number, axis=1)).save(path, quality=88)
    return paths
