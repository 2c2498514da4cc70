"""Frames of any size into what a picture model was trained on, on the device where they are computed; imports torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from encoders.picture_settings import PictureSettings


class Preparation:
    """Resizing, cropping and scaling of many frames at once, as a model's own library does it to one."""

    def __init__(self, settings: PictureSettings) -> None:
        self.settings = settings
        self._constants: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def __call__(self, frames: Tensor) -> Tensor:
        """Prepare frames.

        Args:
            frames: uint8 [N, H, W, 3], RGB, any H and W.

        Returns:
            float32 [N, 3, *settings.shape], channels last in memory, on the frames' device.
        """
        x = frames.permute(0, 3, 1, 2)
        wanted = self._resized(x.shape[2], x.shape[3])
        if x.shape[2:] != wanted:
            x = self._resize(x, wanted)
        x = _centre(x, self.settings.shape)
        if frames.device not in self._constants:  # once a device: a copy to it would wait for all that it computes
            scale = 1 / (255 * torch.tensor(self.settings.std, device=frames.device).view(3, 1, 1))
            offset = -torch.tensor(self.settings.mean, device=frames.device).view(3, 1, 1) * 255 * scale
            self._constants[frames.device] = offset, scale
        offset, scale = self._constants[frames.device]
        return torch.addcmul(offset, x.float(), scale).contiguous(memory_format=torch.channels_last)

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if self.settings.shorter_px is None:
            return self.settings.shape
        shorter = min(height, width)  # the longer side is cut to a whole pixel, not rounded, as the libraries do
        return height * self.settings.shorter_px // shorter, width * self.settings.shorter_px // shorter

    def _resize(self, x: Tensor, shape: tuple[int, int]) -> Tensor:
        if self.settings.filter == "nearest-exact":
            return F.interpolate(x.float(), size=shape, mode=self.settings.filter)
        if x.device.type == "cpu":  # in 8 bits, which is several times faster here
            return F.interpolate(x, size=shape, mode=self.settings.filter, antialias=True, align_corners=False)
        x = F.interpolate(x.float(), size=shape, mode=self.settings.filter, antialias=True, align_corners=False)
        return x.clamp_(0, 255).round_()


def _centre(x: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the middle of pictures [N, 3, H, W]; where one is smaller, black around it."""
    (height, width), (wanted_height, wanted_width) = x.shape[2:], shape
    if height < wanted_height or width < wanted_width:
        left, above = max(0, wanted_width - width) // 2, max(0, wanted_height - height) // 2
        right, below = max(0, wanted_width - width) - left, max(0, wanted_height - height) - above
        x = F.pad(x, (left, right, above, below))
        height, width = x.shape[2:]
    top, left = (height - wanted_height) // 2, (width - wanted_width) // 2
    return x[:, :, top : top + wanted_height, left : left + wanted_width]
