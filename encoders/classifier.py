"""Frames through EfficientNet-Lite2; imported only when frames are encoded, since it imports torch."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from encoders import device as devices
from encoders import efficientnet
from encoders.weights import LITE2

_MICRO_BATCH_PIXELS = 8 * 260 * 462
"""Pixels that are in the network at once: 200 MB of activations, and no slower than more."""
_MAX_ASPECT = 2.5
"""A longer frame is squeezed to this, so that a strip of film costs no more than a frame of it."""


class Classifier:
    """Posteriors and features of frames, on the GPU if there is one."""

    def __init__(self, size_px: int, n_features: int) -> None:
        self._size_px = size_px
        self._device = devices.best()
        self._model = efficientnet.load(LITE2, depth=1.2)
        self._basis = _principal_directions(self._model.classify.weight, n_features).to(self._device)
        self._model.to(self._device).to(memory_format=torch.channels_last)
        self._bfloat16 = devices.computes_in_bfloat16(self._device)

    def __call__(self, frames: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the posteriors, float32 [N, 1000], and the features, float32 [N, n_features], rows of unit norm."""
        n, height, width, _ = frames.shape
        shape = _wanted_shape(height, width, self._size_px)
        step = max(1, _MICRO_BATCH_PIXELS // (shape[0] * shape[1]))
        posteriors = np.empty((n, self._model.classify.out_features), np.float32)
        features = np.empty((n, self._basis.shape[1]), np.float32)
        for start in range(0, n, step):
            rows = slice(start, start + step)
            posterior, feature = self._run(torch.from_numpy(frames[rows].copy()), shape)
            posteriors[rows], features[rows] = posterior.cpu().numpy(), feature.cpu().numpy()
        return posteriors, features

    @torch.inference_mode()
    def _run(self, frames: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        x = frames.to(self._device).permute(0, 3, 1, 2).float()
        if x.shape[2:] != shape:
            x = F.interpolate(x, size=shape, mode="bilinear", antialias=True, align_corners=False)
        x = x.sub_(127).div_(128).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._bfloat16):
            seen, logits = self._model(x)
        return logits.float().softmax(dim=1), F.normalize(seen.float() @ self._basis, dim=1)


def _wanted_shape(height: int, width: int, size_px: int) -> tuple[int, int]:
    """Return height and width with a shorter side of `size_px` and a longer one of at most 2.5 times that."""
    scale, longest = size_px / min(height, width), round(size_px * _MAX_ASPECT)
    return min(round(height * scale), longest), min(round(width * scale), longest)


def _principal_directions(classes: Tensor, n: int) -> Tensor:
    """Return the n directions of feature space in which the classes differ most, float32 [1280, n].

    In float64 and with the signs fixed, so that every machine gets the same ones.
    """
    rows = classes.double()
    rows = rows - rows.mean(dim=0)
    _, directions = torch.linalg.eigh(rows.T @ rows)
    directions = directions[:, -n:].flip(1)
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    signed: Tensor = directions * largest.sign()
    return signed.float()
