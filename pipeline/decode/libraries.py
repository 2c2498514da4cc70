"""Which libraries decode here."""

from __future__ import annotations


def ffmpeg_version() -> str:
    """Return the version of the FFmpeg inside PyAV, such as 8.1.2."""
    import av

    return str(av.ffmpeg_version_info)
