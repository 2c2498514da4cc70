import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from encoders import clip, precision
from encoders.clip import ClipEncoder
from encoders.configuration import WrongFamilyError
from tests.encoders import clips

TEXTS = ["a dog on a beach", "two people talk about a bridge in the rain", "cat"]

PREPARE = ClipEncoder.prepare_questions


@pytest.fixture(scope="module", params=clips.KINDS)
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.save(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUSHES_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(precision, "SECONDS_EACH", 0.0)
        patch.setattr(ClipEncoder, "prepare_questions", lambda self: None)  # where it matters, it is called
        yield


@pytest.fixture(scope="module")
def encoder(directory: Path) -> ClipEncoder:
    return clip.load(str(directory))


@pytest.fixture(scope="module")
def frames(root: Path) -> list[np.ndarray]:
    """Return pictures from the demo, of several shapes."""
    names = ("cat", "coffee", "rocket", "astronaut")
    return [np.asarray(Image.open(root / "flows" / "demo_files" / f"{name}.jpg").convert("RGB")) for name in names]


def library(directory: Path) -> tuple[Any, Any, Any]:
    import transformers

    return (
        transformers.AutoModel.from_pretrained(directory).eval(),
        transformers.AutoImageProcessor.from_pretrained(directory),
        transformers.AutoTokenizer.from_pretrained(directory),
    )


def unit(vectors: Any) -> np.ndarray:
    import torch

    pooled = vectors if isinstance(vectors, torch.Tensor) else vectors.pooler_output
    return torch.nn.functional.normalize(pooled, dim=1).numpy()


def test_frames_are_prepared_and_encoded_as_the_library_does(
    directory: Path, encoder: ClipEncoder, frames: list[np.ndarray]
) -> None:
    import torch

    model, processor, _ = library(directory)
    for frame in frames:
        encoded = encoder.encode_frames(frame[None])
        with torch.no_grad():
            wanted = unit(model.get_image_features(**processor(images=frame, return_tensors="pt")))
        assert encoded.vectors.shape == (1, encoder.spec.dim)
        assert (encoded.vectors * wanted).sum() > 0.999
        assert encoded.labels == ((),)


def test_texts_are_encoded_as_the_library_does(directory: Path, encoder: ClipEncoder) -> None:
    import torch

    model, _, tokenizer = library(directory)
    longest = model.config.text_config.max_position_embeddings
    inputs = tokenizer(TEXTS, padding="max_length", max_length=longest, return_tensors="pt")
    with torch.no_grad():
        wanted = unit(model.get_text_features(input_ids=inputs.input_ids))
    assert (encoder.encode_texts(TEXTS) * wanted).sum(axis=1).min() > 0.999
    many = encoder.encode_texts(TEXTS * 22)
    assert (many * np.tile(wanted, (22, 1))).sum(axis=1).min() > 0.999


def test_a_vector_is_the_same_alone_and_in_a_batch(encoder: ClipEncoder) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (35, 64, 96, 3), dtype=np.uint8)
    together = encoder.encode_frames(noise).vectors
    alone = np.concatenate([encoder.encode_frames(frame[None]).vectors for frame in noise[::7]])
    assert np.abs(alone - together[::7]).max() < 1e-3
    texts = encoder.encode_texts(TEXTS)
    assert np.abs(np.concatenate([encoder.encode_texts([text]) for text in TEXTS]) - texts).max() < 1e-3


def test_long_texts_are_cut_and_none_are_none(encoder: ClipEncoder) -> None:
    assert encoder.encode_texts(["dog " * 500]).shape == (1, encoder.spec.dim)
    assert encoder.encode_texts([]).shape == (0, encoder.spec.dim)
    assert encoder.encode_frames(np.zeros((0, 64, 64, 3), np.uint8)).vectors.shape == (0, encoder.spec.dim)


@pytest.mark.heavy
def test_questions_need_no_torch(directory: Path, encoder: ClipEncoder) -> None:
    by_torch = encoder.encode_texts(TEXTS)
    PREPARE(encoder)
    code = (
        "import sys, encoders.clip\n"
        f"vectors = encoders.clip.load({str(directory)!r}).encode_texts({TEXTS!r})\n"
        "print(*[name for name in ('torch', 'transformers') if name in sys.modules])\n"
        "print(*vectors.ravel().tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, numbers = done.stdout.splitlines()
    assert loaded == ""
    vectors = np.array(numbers.split(), np.float32).reshape(by_torch.shape)
    assert (vectors * by_torch).sum(axis=1).min() > 0.999


@pytest.mark.parametrize(
    "said",
    [
        {"resample": 2},
        {"size": {"shortest_edge": 80}},
        {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
        {"do_center_crop": False, "size": {"height": 64, "width": 64}},
    ],
    ids=["bilinear", "larger than its crop", "other colours", "squashed"],
)
def test_pixels_are_those_of_the_library(said: dict[str, Any], tmp_path: Path, frames: list[np.ndarray]) -> None:
    import torch
    import transformers

    from encoders import picture_settings
    from encoders.pictures import Preparation

    crop = {"height": 64, "width": 64}
    processor = transformers.CLIPImageProcessor(**{"size": {"shortest_edge": 64}, "crop_size": crop, **said})
    processor.save_pretrained(tmp_path)
    prepare = Preparation(picture_settings.read(tmp_path))
    for frame in frames:
        ours = prepare(torch.from_numpy(frame.copy())[None])
        wanted = processor(images=frame, return_tensors="pt").pixel_values
        assert float((ours - wanted).abs().max()) < 0.03


def test_other_models_are_named(tmp_path: Path) -> None:
    clips.save("siglip", tmp_path)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('"model_type": "siglip"', '"model_type": "siglip2"'))
    with pytest.raises(WrongFamilyError, match="take one of a fixed resolution"):
        clip.load(str(tmp_path))


def test_frames_of_another_type_are_refused(encoder: ClipEncoder) -> None:
    with pytest.raises(ValueError, match="uint8"):
        encoder.encode_frames(np.zeros((1, 64, 64, 3), np.float32))
