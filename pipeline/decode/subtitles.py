"""Text subtitle tracks inside a container: their packets are text, so no decoder is asked."""

from __future__ import annotations

import struct
from typing import Any

from pipeline.decode.transcript import LINES_MOST, clean, line_of
from pipeline.media import Line, Transcript

_UNKNOWN_SECONDS = 4.0
"""How long a line stays when its packet does not say."""


class TextTrack:
    """One text subtitle stream while its packets pass by."""

    def __init__(self, codec: str, number: int, language: str, origin_seconds: float) -> None:
        """Prepare to collect.

        Args:
            codec: one of `allowlist.TEXT`.
            number: the stream's place among the subtitle streams.
            language: as the container tags it, or empty.
            origin_seconds: the time stamp that is the asset's time zero.
        """
        self._codec, self._origin, self._language = codec, origin_seconds, language
        self._track = f"s:{number}"
        self._lines: list[Line] = []

    def push(self, packet: Any) -> None:
        """Take one packet; one without text or time is left out."""
        if packet.pts is None or not packet.size or len(self._lines) >= LINES_MOST:
            return
        text = clean(_text(self._codec, bytes(packet)))
        start = float(packet.pts * packet.time_base) - self._origin
        length = float((packet.duration or 0) * packet.time_base) or _UNKNOWN_SECONDS
        if text and start + length > 0:
            self._lines.append(line_of(max(0.0, start), start + length, text))

    def finish(self) -> Transcript | None:
        """Return the track, or None where it held no line."""
        lines = sorted(self._lines, key=lambda line: (line.start_seconds, line.stop_seconds))
        return Transcript(self._track, tuple(lines), self._language) if lines else None


def _text(codec: str, data: bytes) -> str:
    """Return a packet's text with its markup."""
    if codec == "mov_text":  # a 16-bit length, the text, then boxes that style it
        length = struct.unpack(">H", data[:2])[0] if len(data) >= 2 else 0
        data = data[2 : 2 + length]
        return data.decode("utf-16" if data[:2] in (b"\xfe\xff", b"\xff\xfe") else "utf-8", "replace")
    text = data.decode("utf-8", "replace")
    if codec in ("ass", "ssa"):  # ReadOrder, Layer, Style, Name, three margins, Effect, Text
        return text.split(",", 8)[-1].replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
    return text
