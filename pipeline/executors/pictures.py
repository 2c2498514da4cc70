"""Small pictures for people to look at."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

LONGER_SIDE_PX = 256
QUALITY = 70


def thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    """Return a small WebP picture of one frame, uint8 [H, W, 3], RGB."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    picture.thumbnail((LONGER_SIDE_PX, LONGER_SIDE_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=QUALITY, method=2)
    return out.getvalue()
