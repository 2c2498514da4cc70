"""X-CLIP, on small random checkpoints, against the library."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoImageProcessor, AutoTokenizer, XCLIPModel

import encoders
from encoders import precision
from encoders.configuration import WrongFamilyError
from encoders.spec import ClipEncoder, TextEncoder
from encoders.xclip import XClipEncoder, evenly, load
from tests.encoders import checkpoints

TEXTS = ["a dog barks", "", "a train crosses the bridge", "rain " * 60]


def clip(n: int, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return a bright disc that moves over coarse noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    ground = rng.integers(0, 128, (1, height // 4 + 1, width // 4 + 1, 3), np.uint8)
    frames = ground.repeat(4, 1).repeat(4, 2)[:, :height, :width].repeat(n, 0)
    for t, frame in enumerate(frames):
        near = np.hypot(rows - height / 2, columns - width * (t + 1) / (n + 1)) < height / 4
        frame[near] = 255 - 40 * seed
    return frames


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUSHES_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(precision, "SECONDS_EACH", 0.0)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.xclip(tmp_path_factory.mktemp("xclip") / "tiny")


@pytest.fixture(scope="module")
def encoder(folder: Path) -> XClipEncoder:
    return encoders.load(f"xclip:{folder}")


def test_clips_and_words_are_unit_vectors_of_one_space(encoder: XClipEncoder) -> None:
    assert isinstance(encoder, ClipEncoder)
    assert isinstance(encoder, TextEncoder)
    assert (encoder.spec.size_px, encoder.spec.n_frames) == (32, 4)
    seen, read = encoder.encode_clips([clip(9, 40, 60), clip(4, 32, 32, 1)]), encoder.encode_texts(TEXTS)
    assert seen.labels == ((), ())
    for vectors, n in ((seen.vectors, 2), (read, len(TEXTS))):
        assert vectors.dtype == np.float32
        assert vectors.shape == (n, encoder.spec.dim) == (n, 32)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(n), abs=1e-3)
    assert encoder.encode_clips([]).vectors.shape == encoder.encode_texts([]).shape == (0, 32)


def test_a_clip_and_a_text_have_one_vector_alone_in_a_batch_and_again(encoder: XClipEncoder) -> None:
    clips = [clip(1, 40, 60), clip(9, 40, 60, 1), clip(30, 32, 32, 2), clip(5, 60, 33, 3), *[clip(4, 40, 60, 4)] * 9]
    together = encoder.encode_clips(clips).vectors
    alone = np.concatenate([encoder.encode_clips([one]).vectors for one in clips])
    assert np.abs(together - alone).max() < 1e-3
    assert np.array_equal(together, encoder.encode_clips(clips).vectors)
    read = np.concatenate([encoder.encode_texts([text]) for text in TEXTS])
    assert np.abs(encoder.encode_texts(TEXTS) - read).max() < 1e-3


@pytest.mark.parametrize(("n", "expected"), [(4, [0, 1, 2, 3]), (8, [1, 3, 5, 7]), (1, [0] * 4), (3, [0, 1, 1, 2])])
def test_frames_are_taken_evenly_and_repeated_where_there_are_too_few(n: int, expected: list[int]) -> None:
    assert evenly(n, 4) == expected


@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 60), (61, 33), (24, 100)])
def test_a_clip_is_seen_as_the_library_sees_it(folder: Path, encoder: XClipEncoder, height: int, width: int) -> None:
    frames = clip(8, height, width)
    processor = AutoImageProcessor.from_pretrained(folder)
    taken = [frames[i] for i in (1, 3, 5, 7)]
    pixels = torch.as_tensor(np.asarray(processor(taken, return_tensors="np")["pixel_values"]))
    model = XCLIPModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        expected = model.get_video_features(pixel_values=pixels.reshape(1, 4, *pixels.shape[-3:])).pooler_output
    (vector,) = encoder.encode_clips([frames]).vectors
    assert cosine(vector, expected[0].numpy()) > 0.999


def test_the_order_of_frames_counts(encoder: XClipEncoder) -> None:
    frames = clip(8, 32, 32)
    forth, back = encoder.encode_clips([frames, frames[::-1]]).vectors
    assert np.abs(forth - back).max() > 1e-3


def test_words_are_those_of_the_library_before_they_are_adapted_to_a_clip(folder: Path, encoder: XClipEncoder) -> None:
    read = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, truncation=True, return_tensors="pt")
    model = XCLIPModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        expected = model.get_text_features(
            input_ids=read["input_ids"], attention_mask=read["attention_mask"]
        ).pooler_output.numpy()
    for vector, wanted in zip(encoder.encode_texts(TEXTS), expected, strict=True):
        assert cosine(vector, wanted) > 0.999


def test_another_model_is_another_space(tmp_path: Path, folder: Path, encoder: XClipEncoder) -> None:
    again, other = load(str(folder)), load(str(checkpoints.xclip(tmp_path / "tiny", seed=1)))
    assert encoder.spec.space == again.spec.space != other.spec.space
    assert again.spec.space.startswith("xclip-tiny-")
    frames = [clip(4, 32, 32)]
    assert np.array_equal(encoder.encode_clips(frames).vectors, again.encode_clips(frames).vectors)


def test_what_is_no_clip_is_refused(encoder: XClipEncoder) -> None:
    for wrong in (np.zeros((4, 32, 32), np.uint8), np.zeros((0, 32, 32, 3), np.uint8), np.zeros((4, 32, 32, 3))):
        with pytest.raises(ValueError, match="A clip needs to be uint8"):
            encoder.encode_clips([wrong])


def test_a_folder_of_another_family_says_which(tmp_path: Path) -> None:
    with pytest.raises(WrongFamilyError, match=r"type 'clip', which 'xclip' does not load; name it as clip:"):
        load(str(checkpoints.clip(tmp_path / "pictures")))


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
