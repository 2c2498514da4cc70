"""A picture of any of Pillow's modes → frames of 8-bit sRGB in the size that is wanted, upright.

Scaling comes first, so that all the rest touches few pixels.
"""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from pipeline.decode.shape import target_size

LIGHT, DARK = 204, 89
"""Grey grounds for transparency, 0.8 and 0.35 of white: what is white or black itself stands out on one of them."""

_ROOM = 1.1
"""How much larger than wanted a JPEG is decoded at least."""
PROFILE_BYTES_MOST = 2**22
"""Profiles of presses, the largest that are about, have two or three million bytes."""
_SRGB = (b"sRGB", "sRGB".encode("utf-16-be"))
"""In the name of a profile that needs no conversion, as versions 2 and 4 of the format write it."""
_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}
"""Mode of a picture → the name of its colours in a profile."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""What makes a picture of an EXIF orientation upright."""


def flatten(picture: Image.Image, size_px: int, orientation: int) -> list[NDArray[np.uint8]]:
    """Return the picture as uint8 [H, W, 3] frames: one, or two on different grounds where something shows through.

    Args:
        picture: open, not loaded yet; of an animation or of several pages the first is taken.
        size_px: the shorter side of the frames.
        orientation: as EXIF numbers it; of a picture that Pillow turns itself (TIFF), 1.

    Raises:
        OSError: the file is truncated or broken.
    """
    width, height = target_size(*picture.size, size_px)
    # A JPEG is decoded at half, quarter or eighth size where that leaves a little more than is wanted. Embeddings stay
    # within a cosine of 0.999 of those of the whole picture; leaving twice as much cost half as much time again.
    picture.draft("RGB", (round(_ROOM * width), round(_ROOM * height)))
    picture.load()
    profile = picture.info.get("icc_profile")
    alpha = None
    if _is_deep(picture):
        small = _eight_bits(picture, (width, height))
    elif picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        # Premultiplied while it is scaled: otherwise the colour of what is transparent bleeds into the edges.
        whole = picture if picture.mode in ("RGBA", "RGBa") else picture.convert("RGBA")
        seen = _resized(whole.convert("RGBa"), (width, height)).convert("RGBA")
        small, alpha = seen.convert("RGB"), _turned(seen.getchannel("A"), orientation)
    elif picture.mode in ("RGB", "L", "CMYK"):
        small = _resized(picture, (width, height))
    else:
        small = _resized(picture.convert("RGB"), (width, height))
    colours = np.asarray(_turned(_in_srgb(small, profile), orientation))
    if alpha is None or alpha.getextrema() == (255, 255):
        return [colours]
    share = np.asarray(alpha, np.uint16)[..., None]
    return [((colours * share + ground * (255 - share) + 127) // 255).astype(np.uint8) for ground in (LIGHT, DARK)]


def _resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def _turned(picture: Image.Image, orientation: int) -> Image.Image:
    return picture.transpose(_TURNS[orientation]) if orientation in _TURNS else picture


def _is_deep(picture: Image.Image) -> bool:
    """Tell whether it is grey of more than eight bits; colours of 16 bits are cut to 8 by Pillow as it reads them."""
    return picture.mode.startswith("I") or picture.mode == "F"


def _eight_bits(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return it scaled, in the mode L; more than eight bits are scaled down, not cut off as `convert` does."""
    kind = picture.mode
    if kind not in ("I;16", "F"):
        picture = picture.convert("I")
    most = float(np.max(picture.getextrema()))
    values = np.asarray(_resized(picture, size), np.float32)
    if not np.isfinite(values).all() or not np.isfinite(most):
        values = np.where(np.isfinite(values), values, 0)
        most = float(values.max(initial=0))
    if kind.startswith("I;16"):
        top = 65535.0
    elif kind == "F":
        top = max(most, 1.0)  # a float is white at 1 unless something is brighter
    else:
        top = next((top for top in (255.0, 65535.0) if most <= top), most)
    return Image.fromarray(np.clip(np.round(values * (255 / top)), 0, 255).astype(np.uint8))


def _in_srgb(picture: Image.Image, profile: object) -> Image.Image:
    """Return an RGB picture; its colours follow its profile, if that is sound and fits."""
    if isinstance(profile, bytes) and len(profile) <= PROFILE_BYTES_MOST and not any(n in profile for n in _SRGB):
        with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if source.profile.xcolor_space == _SPACES.get(picture.mode):
                intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
                target = ImageCms.createProfile("sRGB")
                convert = ImageCms.buildTransform(
                    source, target, picture.mode, "RGB", intent, ImageCms.Flags.BLACKPOINTCOMPENSATION
                )
                return ImageCms.applyTransform(picture, convert) or picture
    return picture if picture.mode == "RGB" else picture.convert("RGB")
