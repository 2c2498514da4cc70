import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

import encoders
from encoders.classes import names
from encoders.labels import MIN_SCORE, LabelEncoder

SIZE = 260


@pytest.fixture(scope="module")
def encoder() -> LabelEncoder:
    return encoders.load("labels")


def _plane() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE - 0.5
    return x, y


def _frame(*layers: tuple[NDArray[np.bool_], tuple[int, int, int]], ground: tuple[int, int, int]) -> NDArray[np.uint8]:
    frame = np.empty((SIZE, SIZE, 3), np.uint8)
    frame[:] = ground
    for where, colour in layers:
        frame[where] = colour
    return frame


def chessboard() -> NDArray[np.uint8]:
    """Black and white fields seen from above: every ImageNet classifier knows a crossword from a lemon."""
    x, y = _plane()
    fields = ((x * 15).round() + (y * 15).round()) % 2 == 0
    return _frame((fields, (250, 250, 250)), ground=(10, 10, 10))


def traffic_light() -> NDArray[np.uint8]:
    """Three lamps in a dark box against the sky."""
    x, y = _plane()
    box = (abs(x) < 0.16) & (abs(y) < 0.42)
    lamps = [
        ((x**2 + (y - at) ** 2 < 0.11**2), colour)
        for at, colour in ((-0.26, (255, 60, 40)), (0.0, (90, 80, 10)), (0.26, (10, 70, 40)))
    ]
    return _frame((box, (25, 25, 25)), *lamps, ground=(150, 190, 235))


def orange() -> NDArray[np.uint8]:
    """A round orange with a highlight on white."""
    x, y = _plane()
    frame = _frame(ground=(245, 245, 245)).astype(np.float64)
    inside = x**2 + y**2 < 0.36**2
    shade = 1 - 1.2 * ((x + 0.1) ** 2 + (y + 0.1) ** 2)
    grain = np.random.default_rng(1).normal(0, 6, inside.sum())
    frame[inside] = np.array([250, 140, 20]) * shade[inside, None] + grain[:, None]
    return frame.clip(0, 255).astype(np.uint8)


FRAMES = np.stack([chessboard(), traffic_light(), orange()])


def test_words_find_the_picture_that_they_mean(encoder: LabelEncoder) -> None:
    asked = encoder.encode_texts(["a crossword puzzle", "the traffic lights at a crossing", "a juicy orange"])
    assert (asked @ encoder.encode_frames(FRAMES).vectors.T).argmax(axis=1).tolist() == [0, 1, 2]


def test_words_for_no_class_still_lead_to_what_looks_like_them(encoder: LabelEncoder) -> None:
    for word, meant in (("a donkey", "zebra"), ("a photograph of a tabby kitten", "tabby cat"), ("an owl", "owl")):
        best = np.argsort(-encoder.encode_texts([word])[0, :1000])[:5]
        assert any(meant in names()[n] for n in best), [names()[n] for n in best]


def test_a_picture_finds_its_mirror_image_first(encoder: LabelEncoder) -> None:
    vectors, mirrored = (encoder.encode_frames(f).vectors for f in (FRAMES, FRAMES[:, :, ::-1]))
    assert (mirrored @ vectors.T).argmax(axis=1).tolist() == [0, 1, 2]


def test_labels_say_what_is_seen_best_first(encoder: LabelEncoder) -> None:
    labels = encoder.encode_frames(FRAMES).labels
    assert "traffic light" in {label.name for label in labels[1]}
    for found in labels:
        scores = [label.score for label in found]
        assert scores == sorted(scores, reverse=True)
        assert len({label.name for label in found}) == len(found) <= 5
        assert all(MIN_SCORE <= score <= 1 for score in scores)


def test_vectors_have_unit_norm_and_the_promised_shape(encoder: LabelEncoder) -> None:
    for vectors in (encoder.encode_frames(FRAMES).vectors, encoder.encode_texts(["a dog", "", "日本語"])):
        assert vectors.dtype == np.float32
        assert vectors.shape == (3, encoder.spec.dim)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)


def test_nothing_gives_nothing(encoder: LabelEncoder) -> None:
    empty = encoder.encode_frames(np.zeros((0, 20, 30, 3), np.uint8))
    assert empty.vectors.shape == encoder.encode_texts([]).shape == (0, encoder.spec.dim)
    assert empty.labels == ()


def test_a_frame_has_the_same_vector_alone_and_in_a_batch(encoder: LabelEncoder) -> None:
    batch = np.concatenate([FRAMES] * 5)  # more than are in the network at once
    alone = np.concatenate([encoder.encode_frames(frame[None]).vectors for frame in FRAMES])
    assert np.abs(encoder.encode_frames(batch).vectors - np.concatenate([alone] * 5)).max() < 1e-3


@pytest.mark.parametrize("shape", [(1, 1), (2, 700), (700, 2), (260, 462), (97, 31)])
def test_frames_of_any_shape_are_taken(encoder: LabelEncoder, shape: tuple[int, int]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, *shape, 3), np.uint8)
    frames.setflags(write=False)  # as they come out of a message between processes
    assert np.isfinite(encoder.encode_frames(frames).vectors).all()


@pytest.mark.parametrize("frames", [np.zeros((2, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8)])
def test_what_is_no_batch_of_frames_is_refused(encoder: LabelEncoder, frames: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="Frames need to be uint8"):
        encoder.encode_frames(frames)


def test_words_need_no_torch() -> None:
    encoders.load("labels").encode_texts(["so that the classes' vectors are in the cache"])
    code = "import encoders, sys; encoders.load('labels').encode_texts(['a dog']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
