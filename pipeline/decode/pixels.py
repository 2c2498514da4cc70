"""From a decoder's frame to what leaves it: a scaled RGB picture, or the few samples that cut detection looks at."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from pipeline.decode import cuts
from pipeline.decode.shape import displayed_size, target_size

_MATRICES = {1: Colorspace.ITU709, 4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601} | {
    7: Colorspace.SMPTE240M, 9: Colorspace.BT2020, 10: Colorspace.BT2020}  # fmt: skip
"""A frame's colour matrix, numbered as in H.273 → the scaler's name for it."""
_HD_LINES = 720
"""Films of so many lines that do not name their matrix use that of high definition."""


class Scaler:
    """Scales and converts frames of one shape: a scaler context is made once, not per frame."""

    def __init__(self, size_px: int) -> None:
        """Prepare.

        Args:
            size_px: the shorter side of what comes out.
        """
        self._size_px = size_px
        self._reformatter = VideoReformatter()
        self._shape: tuple[int, int, int] | None = None
        self._target = (0, 0)

    def reshaped(self, frame: av.VideoFrame, aspect: float) -> bool:
        """Note the first frame's shape; tell whether this one's differs from it.

        Args:
            frame: as decoded.
            aspect: of a pixel.
        """
        width, height = displayed_size(frame.width, frame.height, aspect, 0)
        shape = (width, height, frame.rotation)
        if self._shape is None:
            self._shape, self._target = shape, target_size(width, height, self._size_px)
        return shape != self._shape

    def scale(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Return the frame as uint8 [H, W, 3], RGB, upright, square pixels."""
        width, height = self._target
        usual = Colorspace.ITU709 if frame.height >= _HD_LINES else Colorspace.ITU601
        name = frame.format.name
        full = frame.color_range == ColorRange.JPEG or name.startswith("yuvj") or frame.format.is_rgb
        rgb = self._reformatter.reformat(
            frame, width, height, "rgb24", src_colorspace=_MATRICES.get(frame.colorspace, usual),
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG, dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND, threads=1,
        )  # fmt: skip
        return np.rot90(rgb.to_ndarray(), k=round(frame.rotation / 90) % 4)


class Eye:
    """Takes signatures of frames: a few thousand samples straight from the decoder's memory."""

    def __init__(self) -> None:
        self._shrinker = VideoReformatter()

    def signature(self, frame: av.VideoFrame) -> cuts.Signature:
        """Return what cut detection compares; frames that are not planar YUV, or tiny, are converted first."""
        rows, columns = cuts.ROWS * cuts.SAMPLES, cuts.COLUMNS * cuts.SAMPLES
        kind = frame.format
        planar = kind.name.startswith("yuv") and kind.is_planar and not kind.name.endswith("be")
        if not planar or frame.width < columns or frame.height < rows:
            frame = self._shrinker.reformat(
                frame, 2 * columns, 2 * rows, "yuv420p", interpolation=Interpolation.BILINEAR, threads=1
            )
        luma = _samples(frame, 0, rows, columns)
        chroma = np.stack([_samples(frame, index, cuts.ROWS, cuts.COLUMNS) for index in (1, 2)])
        return cuts.signature(luma, chroma)


@lru_cache(maxsize=16)
def _grid(height: int, width: int, rows: int, columns: int) -> tuple[slice, slice]:
    """Return slices that take evenly spaced samples, at least rows × columns of them."""
    down, right = height // rows, width // columns
    top, left = (height - (rows - 1) * down) // 2, (width - (columns - 1) * right) // 2
    return slice(top, None, down), slice(left, None, right)


def _samples(frame: av.VideoFrame, index: int, rows: int, columns: int) -> NDArray[np.uint8]:
    """Return uint8 [rows, columns]: samples of one plane on an even grid."""
    plane, bits = frame.planes[index], frame.format.components[index].bits
    dtype = np.dtype(np.uint8 if bits <= 8 else "<u2")
    pixels: NDArray[Any] = np.frombuffer(memoryview(plane), dtype).reshape(-1, plane.line_size // dtype.itemsize)
    grid = pixels[: plane.height, : plane.width][_grid(plane.height, plane.width, rows, columns)][:rows, :columns]
    return np.asarray(grid >> max(0, bits - 8), np.uint8)
