"""A model of sentence-transformers with its weights; imports torch and the library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from encoders import device as devices
from encoders.models import Model
from encoders.onnx_text import TextSettings
from encoders.pretrained import quietly
from encoders.spec import Vectors
from encoders.words import TextHalf

_BATCH = 32
_LONGEST = 512
"""Tokens of a text that count, where the model sets no limit of its own."""


class Library:
    """The model as the library loads it."""

    def __init__(self, model: Model) -> None:
        with quietly():
            self._model = SentenceTransformer(
                str(model.path),
                device="cpu",
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True, "dtype": torch.float32},
            ).eval()
        self.dim = int(self._model.get_embedding_dimension() or self._model.encode("a").shape[-1])
        self.modalities = frozenset(str(modality) for modality in self._model.modalities)

    def words(self) -> TextHalf:
        """Return the whole of a plain text model."""
        settings = TextSettings(self.dim, self._model.max_seq_length or _LONGEST, pad_id=0, mask=True)
        return TextHalf(_Texts(self._model), self._model.tokenizer, settings)

    def texts(self, texts: Sequence[str], task: str) -> Vectors:
        """Encode texts as a "query" or a "document", with its prompt; float32 [N, dim], each row of unit norm."""
        return self._encode(list(texts), task)

    def frames(self, frames: NDArray[np.uint8]) -> Vectors:
        """Encode frames, uint8 [N, H, W, 3]; float32 [N, dim], each row of unit norm."""
        from PIL import Image

        return self._encode([Image.fromarray(frame) for frame in frames], "document")

    def sound(self, windows: Sequence[NDArray[np.float32]], rate_hz: int) -> Vectors:
        """Encode stretches of mono sound, each float32 [T]; float32 [N, dim], each row of unit norm."""
        return self._encode([{"array": window, "sampling_rate": rate_hz} for window in windows], "document")

    def _encode(self, inputs: list[Any], task: str) -> Vectors:
        """Encode as the library does, which sorts by length; in 16 bits on a GPU alone, since no precision is tried."""
        encode = self._model.encode_query if task == "query" else self._model.encode_document
        device = self._model.to(devices.best()).device
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            found: Any = encode(inputs, batch_size=_BATCH, show_progress_bar=False, convert_to_tensor=True)
        vectors: Vectors = found.float().cpu().numpy()
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors


class _Texts(nn.Module):
    """The whole model, from tokens to vectors."""

    def __init__(self, model: SentenceTransformer) -> None:
        super().__init__()
        self._model = model

    def forward(self, ids: Tensor, real: Tensor) -> Tensor:
        """Return float32 [N, dim] of tokens, int64 [N, T], of which those count where `real` is 1."""
        found = self._model({"input_ids": ids, "attention_mask": real, "modality": "text"})
        vectors: Tensor = found["sentence_embedding"]
        return vectors
