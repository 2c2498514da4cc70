"""The half of a model that reads: few texts without torch, once it was exported, and many with it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders import onnx_text
from encoders.onnx_text import OnnxText, TextSettings, Tokens
from encoders.spec import Vectors

if TYPE_CHECKING:
    from torch import nn

    from encoders.tower import Tower

MANY = 64
"""From so many texts on, torch is worth its import."""
_BATCH, _BATCH_TOKENS = 256, 4096
_PROBES = ("a dog barks", "two people talk about a bridge in the rain") * 4


@dataclass(frozen=True)
class TextHalf:
    """What was read from a checkpoint for its texts."""

    module: nn.Module
    """Takes what `settings` say, int64 [N, T] each; returns [N, dim], of any norm. On the CPU, in float32."""
    tokenizer: Any
    """Of transformers."""
    settings: TextSettings


class Words:
    """Texts into a space. Weights load with the first text, those of torch only when they are needed."""

    def __init__(self, space: str, dim: int, read: Callable[[], TextHalf]) -> None:
        """Remember how the text half is read.

        Args:
            space: of the vectors; the half that was exported is kept under it.
            dim: of the vectors.
            read: imports torch and reads the half from its checkpoint.
        """
        self._space, self._dim, self._read = space, dim, read
        self._lock = Lock()
        self._prepared = False

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Encode N texts; float32 [N, dim], each row of unit norm."""
        vectors = np.zeros((len(texts), self._dim), np.float32)
        if not len(texts):
            return vectors
        with self._lock:
            few = len(texts) < MANY and "_torch" not in self.__dict__ and not _on_gpu()
            asked = self._exported if few else None
        if asked is not None:
            return asked(texts)
        with self._lock:
            tokens, tower = self._torch
        ids = tokens.ids(texts)
        for rows in onnx_text.batches([len(text) for text in ids], _BATCH_TOKENS, tokens.settings):
            vectors[rows] = tower(*tokens.padded([ids[row] for row in rows]))
        return vectors

    def prepare_questions(self) -> None:
        """Export the half for ONNX Runtime, so that questions need no torch; once for a machine.

        Where that cannot be done the log says so, and questions load torch.
        """
        if self._prepared or (onnx_text.directory_of(self._space) / onnx_text.SETTINGS).is_file():
            return
        self._prepared = True
        from encoders.onnx_export import export_text, not_exported

        half = self._half
        if not half.tokenizer.is_fast:
            not_exported(self._space, f"{type(half.tokenizer).__name__} is written in Python.")
            return
        export_text(half.module, half.tokenizer.backend_tokenizer.to_str(), half.settings, self._space)
        self.__dict__.pop("_exported", None)

    @cached_property
    def _exported(self) -> OnnxText | None:
        return onnx_text.find(self._space)

    @property
    def _half(self) -> TextHalf:
        half = self._read()
        half.module.eval().requires_grad_(requires_grad=False)
        pad, left = half.tokenizer.pad_token_id, half.tokenizer.padding_side == "left"
        longest = min(half.settings.max_tokens, half.tokenizer.model_max_length)
        settings = replace(half.settings, pad_id=int(pad or 0), pads_left=left, max_tokens=longest)
        return TextHalf(half.module, half.tokenizer, settings)

    @cached_property
    def _torch(self) -> tuple[Tokens, Tower]:
        from encoders.tower import Tower

        half = self._half
        tokens = _AnyTokens(half.tokenizer, half.settings)
        probe = tokens.padded(tokens.ids(_PROBES))
        name = f"{self._space} words"
        return tokens, Tower(half.module, name=name, dim=self._dim, batch=_BATCH, probe=lambda: probe)


def _on_gpu() -> bool:
    """Tell whether this process has torch on a GPU, which then is faster for few texts too."""
    torch = sys.modules.get("torch")
    return bool(torch and torch.cuda.is_available())


class _AnyTokens(Tokens):
    """Texts into padded ids by a tokenizer of transformers, be it written in Rust or in Python."""

    def __init__(self, tokenizer: Any, settings: TextSettings) -> None:
        self._any, self.settings = tokenizer, settings

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        found: list[list[int]] = self._any(list(texts), truncation=True, max_length=self.settings.max_tokens).input_ids
        return found
