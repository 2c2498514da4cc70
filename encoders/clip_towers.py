"""The two halves of CLIP, SigLIP, SigLIP 2 and MetaCLIP 2, as transformers has them; imports torch and transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from encoders import picture_settings
from encoders.onnx_text import TextSettings, Tokens
from encoders.pictures import Preparation


class PictureTower(nn.Module):
    """Frames, uint8 [N, H, W, 3], into [N, dim]."""

    def __init__(self, model: Any, preparation: Preparation) -> None:
        super().__init__()
        self._preparation = preparation
        self.tower = model.vision_model
        self.tower.embeddings.patch_embedding.to(memory_format=torch.channels_last)
        self.projection = getattr(model, "visual_projection", None) or nn.Identity()

    def prepare(self, frames: Tensor) -> Tensor:
        """Return pixels, float32 [N, 3, H, W], as the model was trained on."""
        return self._preparation(frames)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode pixels."""
        vectors: Tensor = self.projection(self.tower(pixel_values=pixels).pooler_output)
        return vectors


class TextTower(nn.Module):
    """Tokens, int64 [N, T], into [N, dim].

    Without a mask: a causal tower does not see what follows the end, and SigLIP was trained to see its padding.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.tower = model.text_model
        self.projection = getattr(model, "text_projection", None) or nn.Identity()

    def forward(self, input_ids: Tensor) -> Tensor:
        """Encode tokens."""
        vectors: Tensor = self.projection(self.tower(input_ids=input_ids).pooler_output)
        return vectors


def read_pictures(directory: Path) -> PictureTower:
    """Read the half that sees."""
    return PictureTower(_model(directory), Preparation(picture_settings.read(directory)))


def read_text(directory: Path) -> TextTower:
    """Read the half that reads."""
    return TextTower(_model(directory))


def read_words(directory: Path, settings: TextSettings) -> Tokens:
    """Read the tokenizer, and add what it knows to the settings."""
    tokenizer = _tokenizer(directory)
    settings = _completed(settings, tokenizer)
    if tokenizer.is_fast:
        from tokenizers import Tokenizer

        return Tokens(Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()), settings)
    return _SlowTokens(tokenizer, settings)


def export(directory: Path, settings: TextSettings, space: str) -> None:
    """Export the half that reads for ONNX Runtime; where that cannot be done the log says so."""
    from encoders.onnx_export import export_text, not_exported

    tokenizer = _tokenizer(directory)
    if not tokenizer.is_fast:
        not_exported(space, f"{type(tokenizer).__name__} is written in Python.")
        return
    module = read_text(directory).eval().requires_grad_(requires_grad=False)
    export_text(module, tokenizer.backend_tokenizer.to_str(), _completed(settings, tokenizer), space)


class _SlowTokens(Tokens):
    """The same for a tokenizer that only transformers has."""

    def __init__(self, tokenizer: Any, settings: TextSettings) -> None:
        self._slow, self.settings = tokenizer, settings

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        found: list[list[int]] = self._slow(list(texts), truncation=True, max_length=self.settings.max_tokens).input_ids
        return found


def _tokenizer(directory: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(directory), local_files_only=True, trust_remote_code=False)


def _completed(settings: TextSettings, tokenizer: Any) -> TextSettings:
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return replace(settings, pad_id=int(pad or 0), pads_left=tokenizer.padding_side == "left")


def _model(directory: Path) -> Any:
    """Return the whole model on the CPU; the half that is not wanted is dropped before anything is computed."""
    from transformers import AutoModel

    return AutoModel.from_pretrained(
        str(directory), dtype=torch.float32, attn_implementation="sdpa", local_files_only=True,
        trust_remote_code=False, use_safetensors=True,
    )  # fmt: skip
