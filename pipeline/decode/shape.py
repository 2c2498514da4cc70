"""The size at which pictures and frames leave the decoder. Pure arithmetic."""

from __future__ import annotations

_LONGEST_SIDE = 8
"""A strip is made no longer than this many times the shorter side asked for."""


def target_size(width: int, height: int, size_px: int) -> tuple[int, int]:
    """Return the output's width and height for a picture of this size with square pixels.

    The shorter side is `size_px` and both are even; small pictures are scaled up, so that an encoder sees one shape.
    A picture more than eight times as long as wide is made to fit eight times `size_px` instead.
    """
    scale = min(size_px / min(width, height), _LONGEST_SIDE * size_px / max(width, height))
    even = [max(2, 2 * round(side * scale / 2)) for side in (width, height)]
    return even[0], even[1]


def displayed_size(width: int, height: int, aspect: float, rotation: int) -> tuple[int, int]:
    """Return a frame's width and height as displayed: square pixels, upright.

    Args:
        width: of the coded frame, in pixels.
        height: of the coded frame.
        aspect: width of a pixel over its height; values outside 1/8 to 8 are nonsense and count as 1.
        rotation: of the frame, in degrees.
    """
    square = max(1, round(width * (aspect if 1 / 8 <= aspect <= 8 else 1.0)))
    return (height, square) if rotation % 180 else (square, height)
