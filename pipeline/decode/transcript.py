"""Transcripts that come as a file beside the film: SubRip (.srt) and WebVTT (.vtt), read in Python."""

from __future__ import annotations

import html
import re
from pathlib import Path

from pipeline.decode.files import read_small
from pipeline.errors import MediaError
from pipeline.media import Line, Transcript

BYTES_MOST = 16 * 2**20
LINES_MOST = 100_000
_TEXT_MOST = 4000
"""Characters of one line; nobody says more in one go."""

_STAMP = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_TIMES = re.compile(rf"^[ \t]*{_STAMP}[ \t]*-->[ \t]*{_STAMP}(?:[ \t].*)?$")
_TAGS = re.compile(r"</?[A-Za-z0-9][^<>\n]{0,200}>|\{\\[^{}\n]{0,200}\}")
_SPACE = re.compile(r"\s+")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z0-9]{2,8})?", re.IGNORECASE)


def read_transcript(path: Path) -> Transcript:
    """Read a transcript file; its track is `sidecar:NAME`, its language the middle of a name such as `film.de.srt`.

    Raises:
        MediaError: `bad_transcript`: it is not .srt or .vtt, is too large, or holds no line that can be read.
    """
    parse = {".srt": parse_srt, ".vtt": parse_vtt}.get(path.suffix.lower())
    if parse is None:
        raise MediaError("bad_transcript", f"{path.suffix or 'a name without an extension'} is neither .srt nor .vtt")
    lines = parse(read_small(path, BYTES_MOST, "bad_transcript"))
    middle = path.with_suffix("").suffix.removeprefix(".")
    return Transcript(f"sidecar:{path.name}", lines, middle.lower() if _LANGUAGE.fullmatch(middle) else "")


def parse_srt(data: bytes) -> tuple[Line, ...]:
    """Parse SubRip: blocks of a number, two times and text. Blocks that are broken are left out while others are whole.

    Raises:
        MediaError: `bad_transcript`: too large, not text, or no line that can be read.
    """
    return _lines(_decoded(data))


def parse_vtt(data: bytes) -> tuple[Line, ...]:
    """Parse WebVTT; notes, styles and regions are left out.

    Raises:
        MediaError: `bad_transcript`: no WEBVTT at its start, too large, not text, or no line that can be read.
    """
    text = _decoded(data)
    if not text.startswith("WEBVTT"):
        raise MediaError("bad_transcript", "a .vtt file begins with WEBVTT; this one does not")
    return _lines(text)


def clean(text: str) -> str:
    """Return what a person reads of a subtitle: no tags, no entities, one line, no control characters."""
    text = html.unescape(_TAGS.sub("", text))
    text = "".join(" " if ch.isspace() else ch for ch in text if ch.isprintable() or ch.isspace())
    return _SPACE.sub(" ", text).strip()[:_TEXT_MOST]


def line_of(start_seconds: float, stop_seconds: float, text: str) -> Line:
    """Return a line whose stop is not before its start."""
    return Line(start_seconds, max(start_seconds, stop_seconds), text)


def _decoded(data: bytes) -> str:
    if len(data) > BYTES_MOST:
        raise MediaError("bad_transcript", f"{len(data)} bytes; at most {BYTES_MOST} are read")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", "replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    if "\0" in text:
        raise MediaError("bad_transcript", "it holds NUL characters and so is no text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _lines(text: str) -> tuple[Line, ...]:
    lines: list[Line] = []
    for block in re.split(r"\n[ \t]*\n+", text):
        rows = block.strip("\n").split("\n")
        for i, row in enumerate(rows[:2]):  # the times stand first, or behind a number or a name
            if times := _TIMES.match(row):
                words = clean("\n".join(rows[i + 1 :]))
                start, stop = _seconds(times.groups()[:4]), _seconds(times.groups()[4:])
                if words:
                    lines.append(line_of(start, stop, words))
                break
        if len(lines) > LINES_MOST:
            raise MediaError("bad_transcript", f"more than {LINES_MOST} lines")
    if not lines:
        raise MediaError("bad_transcript", "no line with a start and a stop time was found")
    return tuple(sorted(lines, key=lambda line: (line.start_seconds, line.stop_seconds)))


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = parts
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction}")
