"""The two halves of CLIP, SigLIP, SigLIP 2 and MetaCLIP 2, as transformers has them; imports torch and transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

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
    return PictureTower(_model(directory), Preparation.read(directory))


def read_text(directory: Path) -> TextTower:
    """Read the half that reads."""
    return TextTower(_model(directory))


def _model(directory: Path) -> Any:
    """Return the whole model on the CPU; the half that is not wanted is dropped before anything is computed."""
    from transformers import AutoModel

    return AutoModel.from_pretrained(
        str(directory), dtype=torch.float32, attn_implementation="sdpa", local_files_only=True,
        trust_remote_code=False, use_safetensors=True,
    )  # fmt: skip
