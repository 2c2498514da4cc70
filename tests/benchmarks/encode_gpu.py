"""Picture towers on a GPU, with random weights: which share of its measured peak they reach, fed from host memory.

Imports nothing but NumPy, torch, transformers and `encoders`, so that it runs on a bare machine with a GPU. Everything
together takes less than the time given: what does not fit into it any more says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks import gpu_busy
from tests.benchmarks.figures import Figure, at_least, at_most, not_run

N_ROUNDS = 3
SECONDS_EACH = 1.0
COMPILING_SECONDS = 45
"""That must be left for a compilation to begin."""
GATE = 0.999
Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Size:
    """A tower from its configuration."""

    name: str
    kind: str
    """`clip` or `siglip`: a class token, a projection and quick GELU, or attention pooling and GELU."""
    width: int
    depth: int
    heads: int
    hidden: int
    """Of the MLP."""
    patch_px: int
    size_px: int
    batch: int
    floor: float
    """Of the share of the peak."""

    @property
    def flops(self) -> float:
        """Multiplications and additions of one picture, as counted: matrix products of layers, patches and heads."""
        patches = (self.size_px // self.patch_px) ** 2
        tokens = patches + (self.kind == "clip")
        layer = tokens * (8 * self.width**2 + 4 * self.width * self.hidden) + 4 * tokens**2 * self.width
        embedding = 2 * patches * 3 * self.patch_px**2 * self.width
        if self.kind == "clip":
            return self.depth * layer + embedding + 2 * self.width * 512
        pooling = tokens * 4 * self.width**2 + 4 * self.width**2 + 4 * self.width * self.hidden
        return self.depth * layer + embedding + pooling


SIZES = (
    Size("ViT-L/14", "clip", 1024, 24, 16, 4096, 14, 224, 256, 0.50),
    Size("ViT-B/16", "clip", 768, 12, 12, 3072, 16, 224, 512, 0.35),
    Size("SigLIP B/16", "siglip", 768, 12, 12, 3072, 16, 224, 512, 0.35),
    Size("ViT-B/32", "clip", 768, 12, 12, 3072, 32, 224, 1024, 0.35),
    Size("SigLIP So400m/14", "siglip", 1152, 27, 16, 4304, 14, 224, 256, 0.50),
)


def figures(seconds: float = 230) -> Iterator[Figure]:
    """Yield all that the time allows; first every tower captured, then one after the other compiled."""
    until = time.perf_counter() + seconds
    try:
        import torch

        there = torch.cuda.is_available()
    except ImportError:
        there = False
    if not there:
        yield from _all_not_run("no GPU")
        return
    torch.backends.cuda.matmul.allow_tf32 = False
    yield Figure("GPU", 1, "device", quality=f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    peak = peak_flops()
    yield Figure("bf16 matrix product, 8192³, random", peak / 1e12, "TFLOP/s", quality="median of 5 rounds of 20")
    towers: list[tuple[Size, _Bench]] = []
    for size in SIZES:
        if time.perf_counter() > until - 15:
            yield not_run(f"{size.name}, share of the peak", "ratio", "no time left", size.floor)
            continue
        bench = _Bench(size)
        towers.append((size, bench))
        yield bench.parts()
        torch.cuda.empty_cache()
        yield from bench.contenders()
        yield from bench.fed("captured", peak)
    for size, bench in towers:
        if time.perf_counter() > until - COMPILING_SECONDS:
            yield not_run(f"{size.name}, compiled, share of the peak", "ratio", "no time left", size.floor)
            continue
        yield from bench.compiled(peak)
    yield Figure(
        "bf16 matrix product, 8192³, at the end", peak_flops() / 1e12, "TFLOP/s", quality="shows whether it slowed"
    )


def peak_flops(n: int = 8192) -> float:
    """Return the operations a second of a bf16 product of two random n × n matrices."""
    import torch

    a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        a @ b
    seconds = [_device_seconds(lambda: a @ b, 20) for _ in range(5)]
    return 2 * n**3 / median(seconds)


class _Bench:
    """One size: its tower, and frames in host memory."""

    def __init__(self, size: Size) -> None:
        import torch

        from encoders.clip_towers import PictureTower
        from encoders.picture_settings import PictureSettings
        from encoders.pictures import Preparation

        self.size, self.torch = size, torch
        torch.manual_seed(0)
        with torch.device("cuda"):
            model = _random_model(size)
        model.cpu()
        clip = size.kind == "clip"
        settings = PictureSettings(
            shorter_px=size.size_px if clip else None,
            shape=(size.size_px, size.size_px),
            filter="bicubic",
            mean=(0.5, 0.5, 0.5),
            std=(0.27, 0.27, 0.27),
        )
        self.module = PictureTower(model, Preparation(settings)).eval().requires_grad_(requires_grad=False)
        generator = np.random.default_rng(0)
        shape = (4 * size.batch, size.size_px, size.size_px, 3)
        self.frames: Frames = generator.integers(0, 256, shape, dtype=np.uint8)

    def tower(self, capture_after: int, compile_after: int) -> Any:
        """Return a new tower that is captured and compiled after so many batches."""
        import copy

        from encoders import gpu_engine
        from encoders.tower import Tower

        gpu_engine.CAPTURE_AFTER, gpu_engine.COMPILE_AFTER = capture_after, compile_after
        module = copy.deepcopy(self.module)
        dim = 512 if self.size.kind == "clip" else self.size.width
        return Tower(
            module, name=self.size.name, dim=dim, batch=self.size.batch, probe=lambda: (self.frames[:16].copy(),)
        )

    def parts(self) -> Figure:
        """Return what each part of a batch costs on the device, alone."""
        torch, size = self.torch, self.size
        with torch.inference_mode():
            module = _on_gpu(self.module, torch.bfloat16)
            pinned = torch.from_numpy(self.frames[: size.batch]).pin_memory()
            place = torch.empty_like(pinned, device="cuda")
            began = time.perf_counter()
            pinned.copy_(torch.from_numpy(self.frames[size.batch : 2 * size.batch]))
            hosted = time.perf_counter() - began
            sent = _device_seconds(lambda: place.copy_(pinned, non_blocking=True), 10)
            prepared = _device_seconds(lambda: module.prepare(place).bfloat16(), 10)
            pixels = module.prepare(place).bfloat16()
            computed = _device_seconds(lambda: module(pixels), 5)
            wide = torch.empty(64, size.size_px, size.size_px * 16 // 9, 3, dtype=torch.uint8, device="cuda")
            resized = _device_seconds(lambda: module.prepare(wide), 5) * size.batch / 64
        return Figure(
            f"{size.name}, one batch, eager bf16 on the device", computed * 1e3, "ms",
            quality=f"{size.batch} pictures; copy into pinned memory {hosted * 1e3:.1f} ms, to the device "
            f"{sent * 1e3:.1f} ms ({pinned.nbytes / sent / 1e9:.0f} GB/s), preparation {prepared * 1e3:.1f} ms "
            f"(16:9 frames {resized * 1e3:.1f} ms); {size.flops / 1e9:.1f} GFLOP a picture",
        )  # fmt: skip

    def contenders(self) -> Iterator[Figure]:
        """Yield the rate of the plain loop, in float32 and in bfloat16."""
        torch, size = self.torch, self.size
        self.plain: dict[str, float] = {}
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            step = min(size.batch, 128) if name == "fp32" else size.batch
            with torch.inference_mode():
                module = _on_gpu(self.module, dtype)

                def run(rows: Frames, module: Any = module, dtype: Any = dtype) -> Any:
                    pixels = module.prepare(torch.from_numpy(rows).cuda()).to(dtype)
                    return torch.nn.functional.normalize(module(pixels).float(), dim=1).cpu()

                run(self.frames[:step])
                began, n = time.perf_counter(), 0
                while time.perf_counter() < began + SECONDS_EACH or n < 2:
                    run(self.frames[:step])
                    n += 1
                self.plain[name] = n * step / (time.perf_counter() - began)
                if name == "fp32":
                    self.reference = run(self.frames[:64]).numpy()
            yield Figure(f"{size.name}, plain eager {name}", self.plain[name], "pictures/s", quality=f"batch {step}")
            del module
            torch.cuda.empty_cache()

    def fed(self, how: str, peak: float, tower: Any = None) -> Iterator[Figure]:
        """Yield the tower's share of the peak with its queue full, its vectors' quality, and how busy the GPU is."""
        size = self.size
        tower = tower or self.tower(capture_after=2, compile_after=1 << 30)
        run_full(tower, self.frames, size.batch, 6)
        with gpu_busy.samples() as busy:
            rates = [run_full(tower, self.frames, size.batch, self._n_batches(tower)) for _ in range(N_ROUNDS)]
        rate = median(rates)
        many = tower(self.frames[:64])
        cosine = float((many * self.reference).sum(axis=1).min())
        single = np.concatenate([tower(self.frames[i : i + 1]) for i in range(3)])
        full = tower(self.frames[: size.batch])[:64]
        pairs = ((single, many[:3]), (single, full[:3]), (many, full))
        apart = max(float((1 - (a * b).sum(axis=1)).max()) for a, b in pairs)
        entry = max(float(np.abs(a - b).max()) for a, b in pairs)
        where = f"{size.name}, {how}"
        yield at_least(
            f"{where}, share of the peak", rate * size.flops / peak, "ratio", size.floor,
            contender=f"plain eager: fp32 {self.plain['fp32']:.0f}, bf16 {self.plain['bf16']:.0f} pictures/s",
            quality=f"{rate:.0f} pictures/s from uint8 in host memory, {min(rates):.0f} to {max(rates):.0f}; "
            f"batch {tower.batch}; {tower._engine.precision}; {_plans(tower)}",
        )  # fmt: skip
        yield at_least(f"{where}, cosine with fp32, worst of 64", cosine, "cosine", GATE)
        yield at_most(
            f"{where}, the same picture alone, among 64 and in a full batch", apart, "cosine distance", 1e-3,
            quality=f"no entry differs by more than {entry:.1e}",
        )  # fmt: skip
        if busy:
            yield at_least(
                f"{where}, GPU busy while the queue is full", float(np.mean(busy)), "ratio", 0.90,
                quality=f"mean of {len(busy)} samples of the driver, least {min(busy):.2f}",
            )  # fmt: skip
        else:
            yield not_run(f"{where}, GPU busy while the queue is full", "ratio", "the driver does not tell", 0.90)

    def compiled(self, peak: float) -> Iterator[Figure]:
        """Yield the same for the compiled tower, and what compiling took."""
        tower = self.tower(capture_after=1 << 30, compile_after=2)
        began = time.perf_counter()
        run_full(tower, self.frames, self.size.batch, 4)
        seconds = time.perf_counter() - began
        yield Figure(f"{self.size.name}, compiling", seconds, "s", quality="four batches, loading included")
        yield from self.fed("compiled", peak, tower)

    def _n_batches(self, tower: Any) -> int:
        began = time.perf_counter()
        run_full(tower, self.frames, self.size.batch, 4)
        return max(4, round(4 * SECONDS_EACH / (time.perf_counter() - began)))


def run_full(tower: Any, frames: Frames, batch: int, n_batches: int) -> float:
    """Return pictures a second of n batches; two are on their way while a third is handed over."""
    pending: list[Callable[[], Any]] = []
    began = time.perf_counter()
    for i in range(n_batches):
        start = (i % (len(frames) // batch)) * batch
        pending.append(tower.submit(frames[start : start + batch]))
        if len(pending) > 2:
            pending.pop(0)()
    for wait in pending:
        wait()
    return n_batches * batch / (time.perf_counter() - began)


def _all_not_run(why: str) -> Iterator[Figure]:
    for size in SIZES:
        yield not_run(f"{size.name}, share of the peak", "ratio", why, size.floor)
    yield not_run("GPU busy while the queue is full", "ratio", why, 0.90)


def _random_model(size: Size) -> Any:
    """Return CLIP or SigLIP with this picture tower and a text tower that costs nothing."""
    import transformers

    vision = {
        "hidden_size": size.width,
        "num_hidden_layers": size.depth,
        "num_attention_heads": size.heads,
        "intermediate_size": size.hidden,
        "patch_size": size.patch_px,
        "image_size": size.size_px,
    }
    text = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    text |= {"vocab_size": 128, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if size.kind == "clip":
        config: Any = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=512)
        config._attn_implementation = "sdpa"
        return transformers.CLIPModel(config)
    config = transformers.SiglipConfig(text_config={**text, "projection_size": size.width}, vision_config=vision)
    config._attn_implementation = "sdpa"
    return transformers.SiglipModel(config)


def _on_gpu(module: Any, dtype: Any) -> Any:
    import copy

    return copy.deepcopy(module).to("cuda", dtype)


def _device_seconds(run: Callable[[], Any], n: int) -> float:
    """Return the seconds of one run on the device, of n in a row."""
    import torch

    run()
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    first.record()
    for _ in range(n):
        run()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last) / 1e3 / n


def _plans(tower: Any) -> str:
    """Return how full batches were computed."""
    plans: Sequence[Any] = list(tower._engine._plans.values())
    return ", ".join(plan.how for plan in plans)
