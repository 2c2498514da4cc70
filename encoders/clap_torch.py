"""The halves of CLAP and PE-Audio as modules for a tower; imports torch and transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    ClapAudioModelWithProjection,
    ClapFeatureExtractor,
    ClapTextModelWithProjection,
    PeAudioModel,
)

from encoders.models import Model
from encoders.onnx_text import TextSettings
from encoders.pretrained import read_model, read_processor
from encoders.words import TextHalf


class ClapSound(nn.Module):
    """Windows of CLAP's length into its space; the spectrogram is computed on the device."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        extractor = read_processor(ClapFeatureExtractor, model)
        self._model = read_model(ClapAudioModelWithProjection, model)
        encoder = self._model.audio_model.audio_encoder
        encoder.enable_fusion = encoder.patch_embed.enable_fusion = False
        self._hop, self._n_fft = extractor.hop_length, extractor.fft_window_size
        self._width = encoder.spec_size * encoder.freq_ratio
        norm, encoder.batch_norm = encoder.batch_norm, nn.Identity()  # `prepare` does it, in 32 bits
        scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
        filters = extractor.mel_filters if extractor.truncation == "fusion" else extractor.mel_filters_slaney
        # Not buffers: those would be cast with the module, and `prepare` is not.
        self._constants = {
            torch.device("cpu"): (
                torch.hann_window(self._n_fft),
                torch.from_numpy(filters).float(),
                scale,
                norm.bias.detach() - norm.running_mean * scale,
            )
        }

    def prepare(self, samples: Tensor, n_samples: Tensor) -> Tensor:  # noqa: ARG002 - what is repeated is no padding
        """Return normalised decibels of mel bands, float32 [N, 1, frames, bands], of samples, float32 [N, T]."""
        window, filters, scale, shift = self._on(samples.device)
        spectrum = torch.stft(samples, self._n_fft, self._hop, window=window, pad_mode="reflect", return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        bands = 10 * torch.log10((power.transpose(1, 2) @ filters).clamp_min(1e-10))
        normed = (bands * scale + shift)[:, None]
        if normed.shape[2] < self._width:  # as the model would do
            normed = F.interpolate(normed, (self._width, normed.shape[3]), mode="bicubic", align_corners=True)
        return normed

    def forward(self, bands: Tensor) -> Tensor:
        """Return float32 [N, dim]."""
        vectors: Tensor = self._model(input_features=bands).audio_embeds
        return vectors

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if device not in self._constants:
            window, filters, scale, shift = self._constants[torch.device("cpu")]
            self._constants[device] = window.to(device), filters.to(device), scale.to(device), shift.to(device)
        return self._constants[device]


class ClapText(nn.Module):
    """Tokens into CLAP's space."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._model = read_model(ClapTextModelWithProjection, model)
        config = self._model.config
        self.longest = config.max_position_embeddings - config.pad_token_id - 1  # positions begin behind the filler's

    def forward(self, ids: Tensor, real: Tensor) -> Tensor:
        """Return float32 [N, dim] of tokens, int64 [N, T], of which those count where `real` is 1."""
        vectors: Tensor = self._model(input_ids=ids, attention_mask=real).text_embeds
        return vectors


class PeSound(nn.Module):
    """Windows of sound into PE-Audio's space."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._model = read_model(PeAudioModel, model)
        del self._model.text_model

    def forward(self, samples: Tensor, n_samples: Tensor) -> Tensor:
        """Return float32 [N, dim] of samples, float32 [N, T], of which the first `n_samples`, int64 [N], are sound."""
        # A frame stays of what is silent for want of samples, or nothing could be attended to.
        real = torch.arange(samples.shape[1], device=samples.device) < n_samples.clamp_min(1)[:, None]
        vectors: Tensor = self._model.get_audio_embeds(samples[:, None], padding_mask=real)
        return vectors


class PeText(nn.Module):
    """Tokens into PE-Audio's space."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._model = read_model(PeAudioModel, model)
        self.longest = self._model.config.text_config.max_position_embeddings
        del self._model.audio_encoder

    def forward(self, ids: Tensor, real: Tensor) -> Tensor:
        """Return float32 [N, dim] of tokens, int64 [N, T], of which those count where `real` is 1."""
        read = self._model.text_model(input_ids=ids, attention_mask=real, output_hidden_states=True)
        vectors: Tensor = self._model.text_audio_head(read.hidden_states[-1][:, 0])
        return vectors


SOUND: Mapping[str, Callable[[Model], Any]] = MappingProxyType({"clap": ClapSound, "pe_audio": PeSound})
"""Type of model → the module of the half that hears."""


def read_words(kind: str, model: Model, dim: int) -> TextHalf:
    """Return the half that reads, of a type of model."""
    module = ClapText(model) if kind == "clap" else PeText(model)
    settings = TextSettings(dim=dim, max_tokens=module.longest, pad_id=0, mask=True)
    return TextHalf(module, read_processor(AutoTokenizer, model), settings)
