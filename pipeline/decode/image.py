"""Still pictures, with Pillow: upright, scaled, RGB; one with transparency is shown on a light and on a dark ground."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from pipeline.decode.flatten import PROFILE_BYTES_MOST, flatten
from pipeline.decode.limits import Limits
from pipeline.errors import MediaError
from pipeline.media import Decoded, Ending, Facts, FrameChunk, Media, Sampling, Shot

_TEXT_KEYS = {"title": "title", "description": "description", "comment": "comment", "author": "artist"} | {
    "keywords": "keywords", "copyright": "copyright", "creation time": "date"}  # fmt: skip
_EXIF_TEXT = {
    ExifTags.Base.ImageDescription: "description", ExifTags.Base.Artist: "artist",
    ExifTags.Base.Copyright: "copyright", ExifTags.Base.XPTitle: "title", ExifTags.Base.XPSubject: "subject",
    ExifTags.Base.XPComment: "comment", ExifTags.Base.XPKeywords: "keywords",
}  # fmt: skip
_EXIF_DATE = re.compile(r"(\d{4}):(\d\d):(\d\d)[ T](\d\d:\d\d:\d\d)")


def decode_picture(file: BinaryIO, formats: tuple[str, ...], wanted: Sampling, limits: Limits, *, pixels: bool
                   ) -> Iterator[Decoded]:  # fmt: skip
    """Yield a picture's facts, its frames (two where it has transparency; the first frame of an animation), its ending.

    Args:
        file: the open picture.
        formats: Pillow's names of the formats that it may be.
        wanted: the shorter side of the frames.
        limits: the largest picture that is decoded.
        pixels: False: only the facts.

    Raises:
        MediaError: `too_large:WxH`, `truncated` or `unreadable`.
    """
    Image.MAX_IMAGE_PIXELS = None  # the limit is ours, below
    PngImagePlugin.MAX_TEXT_CHUNK = PROFILE_BYTES_MOST  # a larger colour profile would be the end of the picture
    try:
        with Image.open(file, formats=formats) as picture:
            width, height = picture.size
            if width * height > limits.picture_pixels:
                raise MediaError(f"too_large:{width}x{height}", f"at most {limits.picture_pixels} pixels are decoded")
            metadata = _metadata(picture)
            orientation = _orientation(picture)
            shown = (height, width) if orientation in (5, 6, 7, 8) else (width, height)
            yield Facts(Media.IMAGE, (picture.format or "").lower(), width=shown[0], height=shown[1], metadata=metadata)
            if pixels:
                frames = flatten(picture, wanted.size_px, orientation)
                yield FrameChunk(np.stack(frames), np.zeros(len(frames)), (Shot(0.0, 0.0, 0, len(frames)),))
    except UnidentifiedImageError as exc:
        raise MediaError("unreadable", "its header is no picture's") from exc
    # Pillow says "truncated" in an OSError, "broken PNG" in a SyntaxError, and libavif's complaints in a RuntimeError.
    except (OSError, SyntaxError, EOFError, RuntimeError, ValueError) as exc:
        raise MediaError("truncated" if "truncated" in str(exc) else "unreadable", str(exc)) from exc
    yield Ending(frames_decoded=int(pixels))


def _orientation(picture: Image.Image) -> int:
    """Return how the picture is to be turned, as EXIF numbers it."""
    if picture.format == "TIFF":
        return 1  # Pillow turns these itself, and gives the size of what is upright
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # EXIF is a zoo of broken writers, and Pillow raises whatever it trips over; the picture is fine
        return 1


def _metadata(picture: Image.Image) -> dict[str, str]:
    """Return what the file says about its picture: text chunks and EXIF tags, without places."""
    found: dict[str, str] = {}
    for key, value in picture.info.items():
        name = _TEXT_KEYS.get(str(key).lower())
        if name and isinstance(value, (str, bytes)):
            found[name] = value if isinstance(value, str) else value.decode("utf-8", "replace")
    try:
        exif = picture.getexif()
        found |= _exif(exif, exif.get_ifd(ExifTags.IFD.Exif))
    except Exception:  # noqa: S110
        pass
    return {key: text for key, value in found.items() if (text := value.strip("\0 \n\t"))}


def _exif(main: Any, details: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for tag, name in _EXIF_TEXT.items():
        value = main.get(tag)
        if isinstance(value, bytes):
            value = value.decode("utf-16-le", "replace")
        elif isinstance(value, tuple):
            value = bytes(v & 255 for v in value if isinstance(v, int)).decode("utf-16-le", "replace")
        if isinstance(value, str):
            found[name] = value
    camera = [str(main.get(tag, "")).strip("\0 ") for tag in (ExifTags.Base.Make, ExifTags.Base.Model)]
    if any(camera):
        found["camera"] = camera[1] if camera[1].startswith(camera[0]) else " ".join(camera)
    taken = str(details.get(ExifTags.Base.DateTimeOriginal) or main.get(ExifTags.Base.DateTime) or "")
    if date := _EXIF_DATE.match(taken):
        found["date"] = f"{date[1]}-{date[2]}-{date[3]}T{date[4]}"
    return found
