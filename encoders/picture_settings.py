"""What a model's directory says about its pictures; needs no torch.

Resized to a shorter side and cropped at the centre (CLIP), or squashed into a square (SigLIP).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
class PictureSettings:
    """How a model wants its pictures."""

    shorter_px: int | None
    """The shorter side after resizing; None: resized to `shape`, whatever the frame's own shape is."""
    shape: tuple[int, int]
    """Height and width of what the model gets."""
    filter: str
    mean: tuple[float, ...]
    """Of red, green and blue in [0, 1]."""
    std: tuple[float, ...]

    @property
    def size_px(self) -> int:
        """The shorter side of the frames that the model wants."""
        return self.shorter_px or min(self.shape)


def read(directory: Path) -> PictureSettings:
    """Read what a model's directory says.

    Raises:
        ValueError: it asks for something that is not known here.
    """
    said = _said(directory)
    kind = str(said.get("image_processor_type") or said.get("feature_extractor_type") or "")
    found: dict[str, Any] = {**(_SIGLIP if kind.startswith("Siglip") else _CLIP), **said}
    size = _sides(found["size"], square=False)
    shape = _sides(found["crop_size"], square=True) if found["do_center_crop"] else size
    if shape[0] is None or shape[1] is None or found.get("resample", 3) not in _FILTERS:
        raise ValueError(
            f"{directory} wants pictures of size {found['size']} by filter {found.get('resample')}: "
            "known are fixed sizes, and the filters 0, 2 and 3."
        )
    return PictureSettings(
        shorter_px=size[1] if size[0] is None else None,
        shape=(shape[0], shape[1]),
        filter=_FILTERS[found.get("resample", 3)],
        mean=tuple(found["image_mean"]),
        std=tuple(found["image_std"]),
    )


def _said(directory: Path) -> Mapping[str, Any]:
    """Return what is in a file of its own, or in that of the processor."""
    own, whole = directory / "preprocessor_config.json", directory / "processor_config.json"
    if own.is_file():
        said: dict[str, Any] = json.loads(own.read_text("utf8"))
        return said
    found: dict[str, Any] = json.loads(whole.read_text("utf8")) if whole.is_file() else {}
    return dict(found.get("image_processor", {}))


def _sides(size: Any, *, square: bool) -> tuple[int | None, int | None]:
    """Return height and width; no height: the width is that of the shorter side."""
    if isinstance(size, int):
        return (size if square else None), size
    if "shortest_edge" in size:
        return (int(size["shortest_edge"]) if square else None), int(size["shortest_edge"])
    return (int(size["height"]), int(size["width"])) if "height" in size else (None, None)
