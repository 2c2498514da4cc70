"""One packet through its decoder: the one place where hostile bytes meet FFmpeg's decoders."""

from __future__ import annotations

from typing import Any

import av


def decode(stream: Any, packet: Any | None) -> list[Any]:
    """Return the frames that a packet completes; None takes out what the decoder holds back.

    Raises:
        ValueError: the packet is broken.
        MemoryError: there is not enough memory.
    """
    try:
        return list(stream.codec_context.decode(packet))
    except av.error.MemoryError:
        raise
    except av.error.EOFError:
        return []
    except (av.error.FFmpegError, ValueError) as exc:
        raise ValueError(getattr(exc, "strerror", None) or str(exc)) from exc
