"""A file's first bytes decide what may open it.

FFmpeg's own probing would also take a playlist, which then makes it open other files or the network: no protocol rule
stops all of these, a list of allowed demuxers does. So we look first, with our own eyes, and allow only what we saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from pipeline.decode.limits import NotMediaError
from pipeline.errors import MediaError
from pipeline.media import Media

BYTES_NEEDED = 4096
"""How many first bytes `sniff` likes to see; fewer will do for a short file."""


@dataclass(frozen=True)
class Kind:
    """A file format, and what may open it."""

    name: str
    media: Media
    """Coarse: a film without pictures turns out to be sound only when it is opened."""
    demuxers: tuple[str, ...]
    """FFmpeg's demuxers, or Pillow's formats for a picture. Empty: known, but nothing here reads it."""


_MP4 = Kind("mp4", Media.VIDEO, ("mov", "mp4"))
_TS = Kind("mpegts", Media.VIDEO, ("mpegts",))
_MP3 = Kind("mp3", Media.AUDIO, ("mp3",))
_AAC = Kind("aac", Media.AUDIO, ("aac",))
_TIFF = Kind("tiff", Media.IMAGE, ("TIFF",))
_WAV = Kind("wav", Media.AUDIO, ("wav",))

_STARTS: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89PNG\r\n\x1a\n", Kind("png", Media.IMAGE, ("PNG",))),
    (b"\xff\xd8\xff", Kind("jpeg", Media.IMAGE, ("JPEG",))),
    (b"GIF87a", Kind("gif", Media.IMAGE, ("GIF",))),
    (b"GIF89a", Kind("gif", Media.IMAGE, ("GIF",))),
    (b"II*\0", _TIFF),
    (b"MM\0*", _TIFF),
    (b"\x1aE\xdf\xa3", Kind("matroska", Media.VIDEO, ("matroska", "webm"))),
    (b"\x00\x00\x01\xba", Kind("mpeg", Media.VIDEO, ("mpeg",))),
    (b"\x00\x00\x01\xb3", Kind("mpegvideo", Media.VIDEO, ("mpegvideo",))),
    (b"FLV\x01", Kind("flv", Media.VIDEO, ("flv",))),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Kind("asf", Media.VIDEO, ("asf",))),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", Kind("mxf", Media.VIDEO, ("mxf",))),
    (b"DKIF", Kind("ivf", Media.VIDEO, ("ivf",))),
    (b"fLaC", Kind("flac", Media.AUDIO, ("flac",))),
    (b"OggS", Kind("ogg", Media.VIDEO, ("ogg",))),
    (b"ID3", Kind("mp3", Media.AUDIO, ("mp3", "aac", "flac"))),
    (b".snd", Kind("au", Media.AUDIO, ("au",))),
    (b"caff", Kind("caf", Media.AUDIO, ("caf",))),
    (b"#!AMR", Kind("amr", Media.AUDIO, ("amr",))),
    (b"wvpk", Kind("wavpack", Media.AUDIO, ("wv",))),
    (b"RF64", _WAV),
    (b".RMF", Kind("realmedia", Media.VIDEO, ())),
    (b"8BPS", Kind("photoshop", Media.IMAGE, ())),
)
_FORMS: dict[bytes, Kind] = {  # RIFF and IFF say at byte 8 what they hold
    b"RIFFAVI ": Kind("avi", Media.VIDEO, ("avi",)),
    b"RIFFWAVE": _WAV,
    b"RIFFWEBP": Kind("webp", Media.IMAGE, ("WEBP",)),
    b"FORMAIFF": Kind("aiff", Media.AUDIO, ("aiff",)),
    b"FORMAIFC": Kind("aiff", Media.AUDIO, ("aiff",)),
}
_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_BRANDS: dict[bytes, Kind] = {  # ISO files that are pictures
    b"avif": Kind("avif", Media.IMAGE, ("AVIF",)),
    b"avis": Kind("avif", Media.IMAGE, ("AVIF",)),
    b"heic": Kind("heic", Media.IMAGE, ()),
    b"heix": Kind("heic", Media.IMAGE, ()),
    b"mif1": Kind("heic", Media.IMAGE, ()),
}
_POINTERS = (b"#extm3u", b"ffconcat version", b"[playlist]", b"<mpd", b"<smil", b"<asx", b"#dcp")
"""Texts that make a player open something else, in lower case."""

_UNKNOWN_SIZE = 0x7FFF0000
"""Who writes to a pipe does not know the size yet and states one near the greatest."""

MEDIA_EXTENSIONS = frozenset({
    "3gp", "3g2", "aac", "aif", "aiff", "amr", "asf", "au", "avi", "avif", "bmp", "caf", "dv", "flac", "flv", "gif",
    "heic", "ivf", "jpe", "jpeg", "jpg", "m2ts", "m2v", "m4a", "m4v", "mkv", "mov", "mp2", "mp3", "mp4", "mpe",
    "mpeg", "mpg", "mts", "mxf", "oga", "ogg", "ogv", "opus", "png", "tif", "tiff", "ts", "vob", "wav", "wave",
    "webm", "webp", "wma", "wmv", "wv",
})  # fmt: skip
"""Names that claim to be media. The content decides what is; this decides only whether its lack is worth a note."""


def sniff(first_bytes: bytes, name: str) -> Kind | None:
    """Return the kind of file that these first bytes begin, or None where they begin no media that we know.

    Args:
        first_bytes: the file's first bytes, `BYTES_NEEDED` of them or the whole file.
        name: the file's name; it decides only between an error that quarantines and one that skips.

    Raises:
        MediaError: `playlist` or `sdp`: the text would make a player open something else; `unsupported_format:NAME`.
            It is a `NotMediaError` where the name does not claim to be media.
    """
    pointer = _pointer(first_bytes)
    if pointer:
        raise refusal(name, pointer, "a text that names other files is never followed")
    kind = _kind(first_bytes)
    if kind is not None and not kind.demuxers:
        raise MediaError(f"unsupported_format:{kind.name}", "convert it to a format that is read")
    return kind


def refusal(name: str, reason: str, detail: str = "", *, text: bool = False) -> MediaError:
    """Return the error for a file that is no media: one that skips, unless the name claims that it is media."""
    extension = PurePath(name).suffix.lower().removeprefix(".")
    claims = extension in MEDIA_EXTENSIONS and not (text and extension in ("ts", "mts"))  # TypeScript is no film
    return (MediaError if claims else NotMediaError)(reason, detail)


def is_text(first_bytes: bytes) -> bool:
    """Tell whether these bytes look like text: none of the control characters that text does not hold."""
    return not any(byte < 32 and byte not in (7, 8, 9, 10, 12, 13, 27) for byte in first_bytes)


def claimed_bytes(first_bytes: bytes) -> int:
    """Return the size of the whole file that a RIFF header (wav, avi) states, or 0 where none is stated.

    FFmpeg takes the file's end for the sound's; so this is how a wav that was cut short is told.
    """
    if not first_bytes.startswith(b"RIFF") or len(first_bytes) < 8:
        return 0
    size = int.from_bytes(first_bytes[4:8], "little")
    return size + 8 if size < _UNKNOWN_SIZE else 0


def _pointer(head: bytes) -> str:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1024].lower()
    if text.startswith(_POINTERS) or (text.startswith(b"<?xml") and any(p in text for p in _POINTERS)):
        return "playlist"
    return "sdp" if text.startswith((b"v=0\n", b"v=0\r\n")) else ""


def _kind(head: bytes) -> Kind | None:
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if form := _FORMS.get(head[:4] + head[8:12]):
        return form
    if head[4:8] in _BOXES:
        return _BRANDS.get(head[8:12], _MP4) if head[4:8] == b"ftyp" else _MP4
    if _steps(head, 0, 188) or _steps(head, 4, 192):  # the second is a Blu-ray's, with a time before each packet
        return _TS
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return Kind("bmp", Media.IMAGE, ("BMP",))
    if head[:3] == b"\x1f\x07\x00":
        return Kind("dv", Media.VIDEO, ("dv",))
    return _bare_sound(head)


def _steps(head: bytes, at: int, step: int) -> bool:
    """Tell whether transport packets follow each other: a sync byte at each of the first ones, at least two."""
    marks = head[at : at + 5 * step : step]
    return len(marks) >= 2 and set(marks) == {0x47}


def _bare_sound(head: bytes) -> Kind | None:
    """Know sound without a header of its own by the sync word of its first frame."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return Kind("ac3", Media.AUDIO, ("ac3", "eac3")) if head[:2] == b"\x0b\x77" else None
    if head[1] & 0xF6 == 0xF0:
        return _AAC
    layer, rate, frequency = head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    return _MP3 if layer and rate not in (0, 15) and frequency != 3 else None
