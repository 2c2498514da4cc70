"""Models of sentence-transformers, small and random, against the library itself."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sentence_transformers import SentenceTransformer

import encoders
from encoders import precision
from encoders.configuration import WrongFamilyError
from encoders.sentence_transformer import load
from encoders.spec import FrameEncoder, QueryEncoder, SoundEncoder, TextEncoder
from encoders.words import MANY
from tests.encoders import checkpoints

TEXTS = [
    "a dog barks in the rain",
    "",
    "ein Hund bellt",
    "雨の中で犬が吠える",
    "un chien aboie sous la pluie " * 30,
    "x",
]


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUSHES_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(precision, "SECONDS_EACH", 0.0)
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("st")
    return {
        "mean": checkpoints.sentence_transformer(root / "mean"),
        "cls": checkpoints.sentence_transformer(root / "cls", "cls", prompts={}),
        "without prompt": checkpoints.sentence_transformer(root / "without-prompt", include_prompt=False),
        "pictures": checkpoints.picture_sentence_transformer(root / "pictures"),
        "sound": checkpoints.sound_sentence_transformer(root / "sound"),
    }


@pytest.fixture(scope="module")
def library(folders: dict[str, Path]) -> dict[str, SentenceTransformer]:
    return {name: SentenceTransformer(str(folder), device="cpu") for name, folder in folders.items()}


@pytest.fixture(scope="module")
def made(folders: dict[str, Path]) -> dict[str, TextEncoder]:
    return {name: encoders.load(f"st:{folder}") for name, folder in folders.items()}


ALL = pytest.mark.parametrize("kind", ["mean", "cls", "without prompt", "pictures", "sound"])


@ALL
def test_texts_and_questions_are_those_of_the_library(made, library, kind: str) -> None:
    encoder = made[kind]
    assert isinstance(encoder, TextEncoder)
    assert isinstance(encoder, QueryEncoder)
    found, asked = encoder.encode_texts(TEXTS), encoder.encode_queries(TEXTS)
    assert found.dtype == asked.dtype == np.float32
    assert found.shape == asked.shape == (len(TEXTS), encoder.spec.dim) == (len(TEXTS), 32)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-3)
    for ours, theirs in (
        (found, library[kind].encode_document(TEXTS, normalize_embeddings=True)),
        (asked, library[kind].encode_query(TEXTS, normalize_embeddings=True)),
    ):
        assert (ours * theirs).sum(axis=1).min() > 0.999
    assert encoder.encode_texts([]).shape == encoder.encode_queries([]).shape == (0, 32)


def test_questions_have_a_prompt_of_their_own(made) -> None:
    assert np.abs(made["mean"].encode_texts(TEXTS) - made["mean"].encode_queries(TEXTS)).max() > 0.01
    assert np.array_equal(made["cls"].encode_texts(TEXTS), made["cls"].encode_queries(TEXTS))


@ALL
def test_a_text_has_one_vector_alone_in_a_batch_and_again(made, kind: str) -> None:
    together = made[kind].encode_texts(TEXTS)
    alone = np.concatenate([made[kind].encode_texts([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-3
    assert np.array_equal(together, made[kind].encode_texts(TEXTS))


def test_questions_need_no_torch_once_texts_were_encoded(folders: dict[str, Path], made) -> None:
    made["mean"].encode_texts(TEXTS)
    code = (
        "import encoders, sys, numpy; "
        "numpy.save(sys.argv[2], encoders.load('st:' + sys.argv[1]).encode_queries(['a dog', 'ein Hund'])); "
        "assert not {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)"
    )
    there = folders["mean"].parent / "asked.npy"
    subprocess.run([sys.executable, "-c", code, str(folders["mean"]), str(there)], check=True)
    assert np.abs(np.load(there) - made["mean"].encode_queries(["a dog", "ein Hund"])).max() < 1e-3


def test_many_texts_are_encoded_as_few_are(made) -> None:
    few = made["mean"].encode_texts(TEXTS)
    many = made["mean"].encode_texts((TEXTS * MANY)[: MANY + 3])
    assert np.abs(many[: len(few)] - few).max() < 1e-2  # in 16 bits, where they are the faster ones
    assert (many[: len(few)] * few).sum(axis=1).min() > 0.999


def test_a_model_takes_what_it_was_made_for(made) -> None:
    takes = {name: (isinstance(m, FrameEncoder), isinstance(m, SoundEncoder)) for name, m in made.items()}
    assert takes == {
        "mean": (False, False), "cls": (False, False), "without prompt": (False, False),
        "pictures": (True, False), "sound": (False, True),
    }  # fmt: skip
    assert made["pictures"].spec.size_px == 32
    assert made["sound"].spec.rate_hz == 48000


def test_pictures_and_words_compare_as_in_the_library(made, library) -> None:
    frames = pictures(5)
    encoded = made["pictures"].encode_frames(frames)
    assert encoded.labels == ((),) * 5
    theirs = library["pictures"].encode([Image.fromarray(frame) for frame in frames], normalize_embeddings=True)
    assert (encoded.vectors * theirs).sum(axis=1).min() > 0.999
    words = library["pictures"].encode(TEXTS, normalize_embeddings=True)
    assert np.abs(encoded.vectors @ made["pictures"].encode_texts(TEXTS).T - theirs @ words.T).max() < 0.01
    alone = np.concatenate([made["pictures"].encode_frames(frame[None]).vectors for frame in frames])
    assert np.abs(encoded.vectors - alone).max() < 1e-3
    assert made["pictures"].encode_frames(frames[:0]).vectors.shape == (0, 32)
    with pytest.raises(ValueError, match="Frames need to be uint8"):
        made["pictures"].encode_frames(frames[0])


def test_sound_and_words_lie_in_one_space(made, library) -> None:
    rng = np.random.default_rng(0)
    windows = [(rng.standard_normal(n) * 0.1).astype(np.float32) for n in (48000, 480000)]
    encoded = made["sound"].encode_sound(windows)
    theirs = library["sound"].encode(
        [{"array": window, "sampling_rate": 48000} for window in windows], normalize_embeddings=True
    )
    assert encoded.vectors.shape == (2, 32)
    assert (encoded.vectors * theirs).sum(axis=1).min() > 0.999


def test_another_model_is_another_space(tmp_path: Path, folders: dict[str, Path], made) -> None:
    again, other = load(str(folders["mean"])), load(str(checkpoints.sentence_transformer(tmp_path / "mean", seed=1)))
    assert made["mean"].spec.space == again.spec.space != other.spec.space
    assert again.spec.space.startswith("st-mean-")
    assert np.array_equal(load(str(folders["mean"])).encode_texts(TEXTS), again.encode_texts(TEXTS))


def test_another_prompt_is_another_space(tmp_path: Path, made) -> None:
    other = checkpoints.sentence_transformer(tmp_path / "mean", prompts={"query": "frage: ", "document": "passage: "})
    assert load(str(other)).spec.space != made["mean"].spec.space


def test_a_folder_of_another_family_says_which(tmp_path: Path) -> None:
    with pytest.raises(WrongFamilyError, match=r"no modules.json, which 'st' does not load; name it as clip:"):
        load(str(checkpoints.clip(tmp_path / "pictures")))
    with pytest.raises(WrongFamilyError, match=r"no modules.json, which 'st' does not load; give a folder with"):
        load(str(checkpoints.xlm_roberta(tmp_path / "plain")))


def pictures(n: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, 10, 12, 3), np.uint8).repeat(4, 1).repeat(4, 2)
