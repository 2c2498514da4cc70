"""Files into frames, sound and text, each in a child process that can do nothing else.

    for item in decode(Path("film.mp4"), Sampling()):   # Facts, then FrameChunk | SoundChunk | Transcript, then Ending
        ...

A file that cannot be used raises `MediaError` with a named reason; `NotMediaError`, one of them, where the file does
not even claim to be media. Importing this costs milliseconds: FFmpeg and Pillow are loaded in another process.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.decode.limits import Limits, NotMediaError
from pipeline.decode.plans import Plan
from pipeline.decode.sidecar import Sidecar, read_sidecar
from pipeline.decode.sniff import MEDIA_EXTENSIONS, Kind, sniff
from pipeline.decode.transcript import parse_srt, parse_vtt, read_transcript
from pipeline.media import Decoded, Facts, Modality, Sampling

__all__ = [
    "MEDIA_EXTENSIONS", "Kind", "Limits", "NotMediaError", "Plan", "Sidecar", "decode", "parse_srt", "parse_vtt",
    "plan", "probe", "read_sidecar", "read_transcript", "sniff",
]  # fmt: skip

EVERYTHING = frozenset(Modality)
DEFAULT_LIMITS = Limits()


def decode(
    path: Path,
    sampling: Sampling,
    *,
    want: frozenset[Modality] = EVERYTHING,
    limits: Limits = DEFAULT_LIMITS,
    workers: int = 1,
) -> Iterator[Decoded]:
    """Decode a file in a child process: Facts first, Ending last, the contents between them in the order of decoding.

    The child waits while nobody takes its next chunk, so memory is bounded whatever the file's length. Closing the
    iterator kills it at once.

    Args:
        path: a regular file; a symbolic link is refused.
        sampling: what is kept of it.
        want: visual for frames, audio or speech for sound, speech or text for embedded subtitles. What nobody wants is
            not decoded.
        limits: what it may cost.
        workers: how many children decode the pictures of one long film at once. The frames are the same for any number.

    Yields:
        What was decoded. A file that is damaged half-way ends with an `Ending` that names the damage, such as
        `truncated_at:12.5` or `corrupt:3` (packets), or the way in which the decoder died.

    Raises:
        MediaError: nothing could be decoded; `reason` says why.
        NotMediaError: neither the file's content nor its name says that it is media.
    """
    from pipeline.decode import children, reading, sharing

    if workers > 1:
        yield from sharing.read(path, sampling, want, limits, children.decoders(), workers)
    else:
        yield from reading.read(path, sampling, want, limits, children.decoders())


def probe(path: Path, limits: Limits = DEFAULT_LIMITS) -> Facts:
    """Return what a file's container says about it; errors as `decode`."""
    for item in decode(path, Sampling(), want=frozenset({Modality.VISUAL}), limits=limits):
        if isinstance(item, Facts):
            return item
    raise AssertionError("decode yields facts first or raises")


def plan(path: Path, sampling: Sampling, limits: Limits = DEFAULT_LIMITS) -> Plan:
    """Return which frames of a film would be kept and what that would cost; its packets are read, none is decoded.

    Raises:
        MediaError: as `decode`; `no_pictures` for sound and still pictures.
    """
    from pipeline.decode import children, reading

    return reading.plan(path, sampling, limits, children.decoders())
