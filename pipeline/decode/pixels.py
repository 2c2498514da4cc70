"""From a decoder's frame to what leaves it: a scaled RGB picture, or the few samples that cut detection looks at."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from pipeline.decode import cuts, light
from pipeline.decode.fields import Fields
from pipeline.decode.shape import displayed_size, target_size

_MATRICES = {1: Colorspace.ITU709, 4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601} | {
    7: Colorspace.SMPTE240M, 9: Colorspace.BT2020, 10: Colorspace.BT2020}  # fmt: skip
"""A frame's colour matrix, numbered as in H.273 → the scaler's name for it."""
_HD_LINES = 720
"""Films of so many lines that do not name their matrix use that of high definition."""
_FILTER = Interpolation.BILINEAR
"""How frames are scaled: by a triangle as wide as the reduction, as encoders' own antialiased resizing does.

Into planar RGB, for which the scaler has vector code that rounds: packed RGB takes 1.6 times as long and is two levels
too dark, unless it takes twice as long again. Milliseconds per frame of 720p and of 1080p to 462x260, one core: area
0.38 and 0.64, bilinear 0.45 and 0.92, bicubic 0.71 and 1.4, packed bicubic 1.03 and 1.9; interleaving adds 0.1.
Mean cosine of embeddings (50 frames) with those of frames that the encoder scaled itself, and with Pillow's bicubic:
area 0.993 and 0.995, bilinear 0.999 and 0.995, bicubic 0.991 and 0.999, packed bicubic 0.991 and 0.998.
"""
_FROM_LIMITED = np.clip(np.round((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)
"""Grey of limited range, which the scaler takes for full range, whatever it is told, → full range."""


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
        self._fields = Fields()

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

    def scale(self, frame: av.VideoFrame, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Return the frame as uint8 [H, W, 3], RGB, upright, square pixels, standard range.

        Args:
            frame: as decoded.
            out: where to put it; None: a new array.
        """
        turns = round(frame.rotation / 90) % 4
        if out is None:
            width, height = self._target
            out = np.empty((width, height, 3) if turns % 2 else (height, width, 3), np.uint8)
        rgb = np.rot90(out, k=-turns) if turns else out
        picture = self._fields.first(frame) if frame.interlaced_frame else frame
        if light.needs_mapping(frame.color_trc, frame.color_primaries):
            codes = np.stack(_planes(self._converted(picture, frame, "gbrp16le"), np.dtype("<u2")))
            rgb[...] = light.to_srgb(codes, _white(frame), frame.color_trc, frame.color_primaries)
        else:
            for channel, plane in enumerate(_planes(self._converted(picture, frame, "gbrp"), np.dtype(np.uint8))):
                rgb[..., channel] = plane
        if _is_grey(frame) and frame.color_range == ColorRange.MPEG:
            rgb[...] = _FROM_LIMITED[rgb]
        return out

    def _converted(self, picture: av.VideoFrame, frame: av.VideoFrame, name: str) -> av.VideoFrame:
        """Return a picture of the frame's, or one field of it, in the size and format that are wanted."""
        usual = Colorspace.ITU709 if frame.height >= _HD_LINES else Colorspace.ITU601
        return self._reformatter.reformat(
            picture, *self._target, name, src_colorspace=_MATRICES.get(frame.colorspace, usual),
            src_color_range=ColorRange.JPEG if _is_full(frame) else ColorRange.MPEG, dst_color_range=ColorRange.JPEG,
            interpolation=_FILTER, threads=1,
        )  # fmt: skip


class Eye:
    """Takes signatures of frames: a few thousand samples straight from the decoder's memory."""

    def __init__(self) -> None:
        self._shrinker = VideoReformatter()

    def signature(self, frame: av.VideoFrame) -> cuts.Signature:
        """Return what cut detection compares; frames that are not planar YUV, or tiny, are converted first."""
        rows, columns = cuts.ROWS * cuts.SAMPLES, cuts.COLUMNS * cuts.SAMPLES
        bits = _bits(frame.format.name)
        if not bits or frame.width < columns or frame.height < rows:
            frame, bits = self._shrinker.reformat(
                frame, 2 * columns, 2 * rows, "yuv420p", interpolation=Interpolation.BILINEAR, threads=1
            ), 8  # fmt: skip
        luma, *chroma = frame.planes[:3]
        small = [_samples(plane, bits, cuts.ROWS, cuts.COLUMNS) for plane in chroma]
        return cuts.signature(_samples(luma, bits, rows, columns), np.array(small))


def _is_grey(frame: av.VideoFrame) -> bool:
    return bool(frame.format.name.startswith(("gray", "ya8", "ya16")))


def _is_full(frame: av.VideoFrame) -> bool:
    """Tell whether black is 0, rather than 16 of 255."""
    return bool(frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj") or frame.format.is_rgb)


def _white(frame: av.VideoFrame) -> int:
    """Return the 16-bit code that the scaler makes of full level."""
    if not _is_full(frame):
        return 65283
    bits = frame.format.components[0].bits
    return (2**bits - 1) << (16 - bits) if bits <= 16 else 65535


def _planes(frame: av.VideoFrame, dtype: np.dtype[Any]) -> list[NDArray[Any]]:
    """Return red, green and blue of a planar RGB frame, [H, W] each."""
    rows = [np.frombuffer(memoryview(plane), dtype).reshape(frame.height, -1) for plane in frame.planes]
    return [rows[index][:, : frame.width] for index in (2, 0, 1)]  # they are stored as green, blue, red


@lru_cache(maxsize=16)
def _grid(height: int, width: int, rows: int, columns: int) -> tuple[slice, slice]:
    """Return slices that take evenly spaced samples, at least rows × columns of them."""
    down, right = height // rows, width // columns
    top, left = (height - (rows - 1) * down) // 2, (width - (columns - 1) * right) // 2
    return slice(top, None, down), slice(left, None, right)


@lru_cache(maxsize=64)
def _bits(name: str) -> int:
    """Return how many bits a sample of a planar YUV format has; 0 where the format is no such."""
    kind = av.VideoFormat(name)
    planar = name.startswith("yuv") and kind.is_planar and not name.endswith("be")
    return kind.components[0].bits if planar else 0


def _samples(plane: Any, bits: int, rows: int, columns: int) -> NDArray[np.uint8]:
    """Return uint8 [rows, columns]: samples of a plane on an even grid."""
    dtype, line = (np.uint8, plane.line_size) if bits <= 8 else (np.dtype("<u2"), plane.line_size // 2)
    pixels: NDArray[Any] = np.frombuffer(plane, dtype).reshape(-1, line)
    grid = pixels[_grid(plane.height, plane.width, rows, columns)][:rows, :columns]
    return grid.copy() if bits <= 8 else (grid >> (bits - 8)).astype(np.uint8)
