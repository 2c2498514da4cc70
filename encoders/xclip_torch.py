"""The halves of X-CLIP as modules for a tower; imports torch and transformers."""

from __future__ import annotations

from torch import Tensor, nn
from transformers import AutoTokenizer, XCLIPModel

from encoders import picture_settings
from encoders.models import Model
from encoders.onnx_text import TextSettings
from encoders.pictures import Preparation
from encoders.pretrained import read_model, read_processor
from encoders.words import TextHalf


class XClipClips(nn.Module):
    """Clips into X-CLIP's space."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._preparation = Preparation(picture_settings.read(model.path))
        self._model = read_model(XCLIPModel, model)
        del self._model.text_model, self._model.text_projection, self._model.prompts_generator

    def prepare(self, clips: Tensor) -> Tensor:
        """Return float32 [N, T, 3, height, width] of clips, uint8 [N, T, H, W, 3], RGB."""
        pixels = self._preparation(clips.flatten(0, 1))
        return pixels.reshape(*clips.shape[:2], *pixels.shape[1:])

    def forward(self, pixels: Tensor) -> Tensor:
        """Return float32 [N, dim]."""
        vectors: Tensor = self._model.get_video_features(pixel_values=pixels).pooler_output
        return vectors


class XClipText(nn.Module):
    """Tokens into X-CLIP's space. No token sees those behind it, so none needs to know which are there to fill up."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._model = read_model(XCLIPModel, model)
        self.longest = self._model.config.text_config.max_position_embeddings
        del self._model.vision_model, self._model.mit, self._model.prompts_generator

    def forward(self, ids: Tensor) -> Tensor:
        """Return float32 [N, dim] of tokens, int64 [N, T]."""
        vectors: Tensor = self._model.get_text_features(input_ids=ids).pooler_output
        return vectors


def read_words(model: Model, dim: int) -> TextHalf:
    """Return the half that reads."""
    module = XClipText(model)
    settings = TextSettings(dim=dim, max_tokens=module.longest, pad_id=0)
    return TextHalf(module, read_processor(AutoTokenizer, model), settings)
