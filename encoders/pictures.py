"""Frames of any size into what a picture model was trained on, on its device; imports torch.

A model's directory says how its pictures were made: resized to a shorter side and cropped at the centre (CLIP), or
squashed into a square (SigLIP). The same is done here to many frames at once, where they are computed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

_FILTERS = {0: "nearest-exact", 2: "bilinear", 3: "bicubic"}
"""By the numbers that Pillow has for them."""
_CLIP = {
    "size": {"shortest_edge": 224},
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
}
_SIGLIP = {
    "size": {"height": 224, "width": 224},
    "do_center_crop": False,
    "image_mean": (0.5, 0.5, 0.5),
    "image_std": (0.5, 0.5, 0.5),
}
"""What a directory leaves unsaid; the last three lines are those of all SigLIP models."""


@dataclass(frozen=True)
class Preparation:
    """How a model wants its pictures."""

    shorter_px: int | None
    """The shorter side after resizing; None: resized to `shape`, whatever the frame's own shape is."""
    shape: tuple[int, int]
    """Height and width of what the model gets."""
    filter: str
    mean: tuple[float, ...]
    """Of red, green and blue in [0, 1]."""
    std: tuple[float, ...]
    _constants: dict[torch.device, tuple[Tensor, Tensor]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def read(cls, directory: Path) -> Preparation:
        """Read what a model's directory says.

        Raises:
            ValueError: it asks for something that is not known here.
        """
        said = settings(directory)
        kind = str(said.get("image_processor_type") or said.get("feature_extractor_type") or "")
        found: dict[str, Any] = {**(_SIGLIP if kind.startswith("Siglip") else _CLIP), **said}
        size = _sides(found["size"], square=False)
        shape = _sides(found["crop_size"], square=True) if found["do_center_crop"] else size
        if shape[0] is None or shape[1] is None or found.get("resample", 3) not in _FILTERS:
            raise ValueError(
                f"{directory} wants pictures of size {found['size']} by filter {found.get('resample')}: "
                "known are fixed sizes, and the filters 0, 2 and 3."
            )
        return cls(
            shorter_px=size[1] if size[0] is None else None,
            shape=(shape[0], shape[1]),
            filter=_FILTERS[found.get("resample", 3)],
            mean=tuple(found["image_mean"]),
            std=tuple(found["image_std"]),
        )

    def __call__(self, frames: Tensor) -> Tensor:
        """Prepare frames.

        Args:
            frames: uint8 [N, H, W, 3], RGB, any H and W.

        Returns:
            float32 [N, 3, *shape], channels last in memory, on the frames' device.
        """
        x = frames.permute(0, 3, 1, 2)
        wanted = self._resized(x.shape[2], x.shape[3])
        if x.shape[2:] != wanted:
            x = self._resize(x, wanted)
        x = _centre(x, self.shape)
        if frames.device not in self._constants:  # once a device: a copy to it would wait for all that it computes
            scale = 1 / (255 * torch.tensor(self.std, device=frames.device).view(3, 1, 1))
            offset = -torch.tensor(self.mean, device=frames.device).view(3, 1, 1) * 255 * scale
            self._constants[frames.device] = offset, scale
        offset, scale = self._constants[frames.device]
        return torch.addcmul(offset, x.float(), scale).contiguous(memory_format=torch.channels_last)

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if self.shorter_px is None:
            return self.shape
        shorter = min(height, width)  # the longer side is cut to a whole pixel, not rounded, as the libraries do
        return height * self.shorter_px // shorter, width * self.shorter_px // shorter

    def _resize(self, x: Tensor, shape: tuple[int, int]) -> Tensor:
        if self.filter == "nearest-exact":
            return F.interpolate(x.float(), size=shape, mode=self.filter)
        if x.device.type == "cpu":  # in 8 bits, which is several times faster here
            return F.interpolate(x, size=shape, mode=self.filter, antialias=True, align_corners=False)
        x = F.interpolate(x.float(), size=shape, mode=self.filter, antialias=True, align_corners=False)
        return x.clamp_(0, 255).round_()


def settings(directory: Path) -> Mapping[str, Any]:
    """Return what a directory says about pictures: in a file of its own, or in that of its processor."""
    own, whole = directory / "preprocessor_config.json", directory / "processor_config.json"
    if own.is_file():
        said: dict[str, Any] = json.loads(own.read_text("utf8"))
        return said
    found: dict[str, Any] = json.loads(whole.read_text("utf8")) if whole.is_file() else {}
    return dict(found.get("image_processor", {}))


def shorter_side(directory: Path) -> int:
    """Return the shorter side of the frames that a model wants."""
    preparation = Preparation.read(directory)
    return preparation.shorter_px or min(preparation.shape)


def _sides(size: Any, *, square: bool) -> tuple[int | None, int | None]:
    """Return height and width; no height: the width is that of the shorter side."""
    if isinstance(size, int):
        return (size if square else None), size
    if "shortest_edge" in size:
        return (int(size["shortest_edge"]) if square else None), int(size["shortest_edge"])
    return (int(size["height"]), int(size["width"])) if "height" in size else (None, None)


def _centre(x: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the middle of pictures [N, 3, H, W]; where one is smaller, black around it."""
    (height, width), (wanted_height, wanted_width) = x.shape[2:], shape
    if height < wanted_height or width < wanted_width:
        left, above = max(0, wanted_width - width) // 2, max(0, wanted_height - height) // 2
        right, below = max(0, wanted_width - width) - left, max(0, wanted_height - height) - above
        x = F.pad(x, (left, right, above, below))
        height, width = x.shape[2:]
    top, left = round((height - wanted_height) / 2), round((width - wanted_width) / 2)
    return x[:, :, top : top + wanted_height, left : left + wanted_width]
