"""Sentences into the space of all-MiniLM-L6-v2: a few in NumPy, many in torch.

A search has to answer within a second of being typed, and importing torch takes longer than that; six small layers do
not need it. Thousands of sentences are done in a fraction of the time with it, and then the import does not matter.
Either result is that of sentence-transformers on the same files: few to float32's precision, many to a
cosine of 0.9999.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoders.packages import locate, require
from encoders.spec import EncoderSpec, Vectors
from encoders.weights import MINILM, fingerprint

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController
    from tokenizers import Tokenizer

Array = NDArray[np.float32]

MAX_TOKENS = 256
"""What the model was trained on; the words behind are not read."""
MANY = 64
"""From so many texts on, torch is worth its import."""
_BATCH_TOKENS, _BATCH_TOKENS_IN_TORCH = 1024, 512
"""Sentences × longest sentence of a batch; more is no faster, and less of few is padding."""
FEW = 8
"""Fewer texts than this are multiplied on one core: threads that wait for each other cost more, on a busy machine
five times as much."""
_N_RECENT = 32
N_HEADS = 12
LAYER_NORM_EPSILON = 1e-12


class SentenceEncoder:
    """English sentences into 384 dimensions: what means the same lies close, whatever the words.

    The weights load with the first text.
    """

    def __init__(self) -> None:
        space = f"sentence-minilm-{fingerprint(MINILM, settings=f'max_tokens={MAX_TOKENS}')}-384"
        self.spec = EncoderSpec(name="sentence", space=space, dim=384)
        self._model: MiniLM | None = None
        self._recent: dict[str, Vectors] = {}

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode N texts of any length, of which the first 256 tokens count; float32 [N, 384], rows of unit norm.

        Raises:
            MissingPackageError: the package with the weights is not on this machine.
            ChangedFileError: a file of it differs from the pinned one.
        """
        if len(texts) != 1:
            return self._encode(texts)
        if texts[0] not in self._recent:  # a question is asked of several spaces, and each begins here
            self._recent = {**dict(list(self._recent.items())[-_N_RECENT:]), texts[0]: self._encode(texts)}
        return self._recent[texts[0]].copy()

    def _encode(self, texts: Sequence[str]) -> Vectors:
        model = self._model = self._model or MiniLM.read()
        tokens = model.tokens(texts)
        vectors = np.empty((len(tokens), self.spec.dim), np.float32)
        encode, at_once = (model, _BATCH_TOKENS) if len(tokens) < MANY else (_in_torch(model), _BATCH_TOKENS_IN_TORCH)
        with _one_thread() if len(tokens) < FEW else nullcontext():
            for rows in _batches([len(ids) for ids in tokens], at_once):
                vectors[rows] = encode(*_padded([tokens[row] for row in rows]))
        return vectors


class MiniLM:
    """The model itself: tokens into the mean of their last hidden states, at unit norm."""

    def __init__(self, weights: Mapping[str, Array], tokenizer: Tokenizer) -> None:
        self.embeddings = weights["embeddings.word_embeddings.weight"]
        # Every token is of type 0, so that type's vector is part of the position's.
        self.positions = (
            weights["embeddings.position_embeddings.weight"] + (weights["embeddings.token_type_embeddings.weight"][0])
        )
        self.norm = weights["embeddings.LayerNorm.weight"], weights["embeddings.LayerNorm.bias"]
        n_layers = len({name.split(".")[2] for name in weights if name.startswith("encoder.layer.")})
        self.layers = [Layer(weights, f"encoder.layer.{i}") for i in range(n_layers)]
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer = tokenizer

    @classmethod
    def read(cls) -> MiniLM:
        """Read weights and tokenizer out of their package."""
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        files = {Path(name).name: path for name, path in locate(MINILM).items()}
        return cls(load_file(files["model.safetensors"]), Tokenizer.from_file(str(files["tokenizer.json"])))

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text's tokens, at most 256."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]

    def __call__(self, ids: NDArray[np.int64], real: Array) -> Array:
        """Encode one padded batch: ids [N, T], and 1 where a token is one, 0 where it is padding, float32 [N, T]."""
        x = _layer_norm(self.embeddings[ids] + self.positions[: ids.shape[1]], *self.norm)
        mask = (real[:, None, None] - 1) * 1e9  # [N, 1, 1, T], added to the attention's logits
        for layer in self.layers:
            x = layer(x, mask)
        mean: Array = (x * real[..., None]).sum(axis=1)  # the norm below makes the sum a mean
        mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
        return mean


class Layer:
    """One transformer layer of BERT: attention and two dense layers, each with its residual and norm."""

    def __init__(self, weights: Mapping[str, Array], at: str) -> None:
        def dense(*names: str) -> tuple[Array, Array]:
            kernel = np.concatenate([weights[f"{at}.{name}.weight"] for name in names]).T
            return np.ascontiguousarray(kernel), np.concatenate([weights[f"{at}.{name}.bias"] for name in names])

        def norm(name: str) -> tuple[Array, Array]:
            return weights[f"{at}.{name}.LayerNorm.weight"], weights[f"{at}.{name}.LayerNorm.bias"]

        self.qkv = dense("attention.self.query", "attention.self.key", "attention.self.value")
        self.out, self.out_norm = dense("attention.output.dense"), norm("attention.output")
        self.up, self.down, self.down_norm = dense("intermediate.dense"), dense("output.dense"), norm("output")

    def __call__(self, x: Array, mask: Array) -> Array:
        """Apply the layer to hidden states, float32 [N, T, 384], with a mask that is added to the logits."""
        n, longest, dim = x.shape
        qkv = _dense(x, *self.qkv).reshape(n, longest, 3, N_HEADS, dim // N_HEADS)
        # Contiguous copies: on strided views NumPy multiplies without BLAS, 30 times slower.
        q = np.ascontiguousarray(qkv[:, :, 0].transpose(0, 2, 1, 3))
        k = np.ascontiguousarray(qkv[:, :, 1].transpose(0, 2, 3, 1))
        v = np.ascontiguousarray(qkv[:, :, 2].transpose(0, 2, 1, 3))
        q *= np.float32((dim // N_HEADS) ** -0.5)
        logits = q @ k
        logits += mask
        attended = (_softmax(logits) @ v).transpose(0, 2, 1, 3).reshape(n, longest, dim)
        x = _layer_norm(x + _dense(attended, *self.out), *self.out_norm)
        return _layer_norm(x + _dense(_gelu_(_dense(x, *self.up)), *self.down), *self.down_norm)


@cache
def load() -> SentenceEncoder:
    """Return the encoder: one for the whole process, since others build on it.

    Raises:
        MissingPackageError: the package with the weights is not on this machine.
    """
    require(MINILM)
    return SentenceEncoder()


def _one_thread() -> AbstractContextManager[object]:
    limited: AbstractContextManager[object] = _libraries().limit(limits=1, user_api="blas")
    return limited


@cache
def _libraries() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@cache
def _in_torch(model: MiniLM) -> Callable[[NDArray[np.int64], Array], Array]:
    from encoders.minilm_torch import TorchMiniLM

    return TorchMiniLM(model)


def _padded(tokens: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], Array]:
    ids = np.zeros((len(tokens), max(map(len, tokens))), np.int64)
    real = np.zeros(ids.shape, np.float32)
    for row, sentence in enumerate(tokens):
        ids[row, : len(sentence)] = sentence
        real[row, : len(sentence)] = 1
    return ids, real


def _batches(lengths: Sequence[int], at_once: int) -> Iterator[list[int]]:
    """Yield rows in batches of sentences of like length, so that little is padding."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[row] > at_once:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _dense(x: Array, kernel: Array, bias: Array) -> Array:
    y = x.reshape(-1, x.shape[-1]) @ kernel
    y += bias
    return y.reshape(*x.shape[:-1], -1)


def _layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    x = x - x.mean(axis=-1, keepdims=True)
    variance = np.einsum("...i,...i->...", x, x)[..., None] / x.shape[-1]
    x /= np.sqrt(variance + LAYER_NORM_EPSILON)
    x *= weight
    x += bias
    return x


def _softmax(logits: Array) -> Array:
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=-1, keepdims=True)
    return logits


def _gelu_(x: Array) -> Array:
    """Replace x, [..., dim], by x · Φ(x), with the error function of Abramowitz and Stegun 7.1.26 (off by 1.5e-7)."""
    rows = x.reshape(-1, x.shape[-1])
    for start in range(0, len(rows), 32):  # what fits into the processor's cache; three times faster than all at once
        part = rows[start : start + 32]
        z = np.abs(part)
        z *= np.float32(0.5**0.5)
        t = 1 / (1 + np.float32(0.3275911) * z)
        tail = np.float32(1.061405429) * t
        for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
            tail += np.float32(coefficient)
            tail *= t
        np.square(z, out=z)
        np.negative(z, out=z)
        np.exp(z, out=z)
        tail *= z  # 1 - erf(|x| / √2)
        erf = np.copysign(1 - tail, part)
        erf += 1
        part *= erf
    x *= np.float32(0.5)
    return x
