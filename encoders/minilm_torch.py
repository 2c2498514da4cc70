"""The layers of `encoders.sentence` in torch, for many sentences at once; imported only for them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from encoders.sentence import LAYER_NORM_EPSILON, N_HEADS, Layer, MiniLM

Array = NDArray[np.float32]


class TorchMiniLM:
    """The same model on the same memory."""

    def __init__(self, model: MiniLM) -> None:
        self._model = model

    @torch.inference_mode()
    def __call__(self, ids: NDArray[np.int64], real: Array) -> Array:
        """Encode one padded batch, as `MiniLM` does."""
        model, mask = self._model, torch.from_numpy(real)
        # Indexed in NumPy, which touches only the rows that occur.
        x = _layer_norm(torch.from_numpy(model.embeddings[ids] + model.positions[: ids.shape[1]]), *model.norm)
        for layer in model.layers:
            x = _apply(layer, x, mask[:, None, None] > 0)
        vectors: Array = F.normalize((x * mask[..., None]).sum(dim=1), dim=1).numpy()
        return vectors


def _apply(layer: Layer, x: Tensor, seen: Tensor) -> Tensor:
    n, longest, dim = x.shape
    q, k, v = _dense(x, *layer.qkv).view(n, longest, 3, N_HEADS, dim // N_HEADS).permute(2, 0, 3, 1, 4)
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).reshape(n, longest, dim)
    x = _layer_norm(x + _dense(attended, *layer.out), *layer.out_norm)
    return _layer_norm(x + _dense(F.gelu(_dense(x, *layer.up)), *layer.down), *layer.down_norm)


def _dense(x: Tensor, kernel: Array, bias: Array) -> Tensor:
    y = torch.addmm(torch.from_numpy(bias), x.flatten(0, 1), torch.from_numpy(kernel))
    return y.view(x.shape[0], x.shape[1], -1)


def _layer_norm(x: Tensor, weight: Array, bias: Array) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], torch.from_numpy(weight), torch.from_numpy(bias), LAYER_NORM_EPSILON)
