"""What one file may cost, and how an error says whether the file claimed to be media at all."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import MediaError


class NotMediaError(MediaError):
    """The file is no media and does not claim to be by its name: it is skipped, not quarantined."""


@dataclass(frozen=True)
class Limits:
    """What decoding one file may cost before the file is given up."""

    picture_pixels: int = 2**27
    """Width times height of a still picture: 134 million, one of a large-format camera."""
    frame_pixels: int = 2**25 + 2**23
    """Width times height of a film's frame: room for 8K and for a decoder's dozen references in `memory_bytes`."""
    streams: int = 64
    memory_bytes: int = 3 * 2**29
    """Address space that the child may take beyond what it starts with."""
    stalled_seconds: float = 60.0
    """Wall-clock time for which the child may be waited for without hearing that it got on."""
    slowest: float = 8.0
    """Seconds of waiting per second of media, beside a minute and two seconds per megabyte, before it is killed."""

    def budget_seconds(self, size_bytes: int, duration_seconds: float) -> float:
        """Return for how long in all a file of this size and claimed duration may be waited for."""
        return 60.0 + 2e-6 * size_bytes + self.slowest * min(duration_seconds, 48 * 3600.0)
