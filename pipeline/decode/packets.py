"""Packets through their decoder: the one place where hostile bytes meet FFmpeg's decoders."""

from __future__ import annotations

from collections.abc import Iterator
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


class Pictures:
    """A decoder of pictures that is entered at key frames, here and there in a film."""

    def __init__(self, stream: Any, *, skims: bool) -> None:
        """Take over a stream's decoder.

        Args:
            stream: of an open container; nothing of it decoded yet.
            skims: whether it may be told, packet by packet, to leave out frames that no other needs.
        """
        self.damaged = 0
        """Packets that could not be decoded."""
        self._stream, self._skims = stream, skims

    def frames(self, packet: Any, *, skim: bool) -> Iterator[Any]:
        """Yield the frames that the next packet completes; with `skim`, not one that no other frame needs."""
        if self._skims:
            self._stream.codec_context.skip_frame = "NONREF" if skim else "DEFAULT"
        yield from self._decoded(packet)

    def drained(self) -> Iterator[Any]:
        """Yield the frames that are held back, and get ready to be entered elsewhere."""
        yield from self._decoded(None)
        self.flush()

    def flush(self) -> None:
        """Forget the frames that are held back, and get ready to be entered elsewhere."""
        self._stream.codec_context.flush_buffers()

    def may_hold_back(self, n_packets: int) -> bool:
        """Tell whether so many packets may complete no frame, since frames are put in the order of display."""
        return bool(n_packets <= 3 * (1 + self._stream.codec_context.has_b_frames))

    def peek(self, packet: Any) -> Any:
        """Return a key frame, decoded by itself, or None where it is broken."""
        frames = [*self.frames(packet, skim=False), *self.drained()]
        return next((frame for frame in frames if not frame.is_corrupt), None)

    def _decoded(self, packet: Any | None) -> list[Any]:
        try:
            return decode(self._stream, packet)
        except ValueError:
            self.damaged += 1
            return []
