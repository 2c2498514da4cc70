"""One file through one child: what `decode` and `probe` do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

from pipeline.decode import children, files, wire
from pipeline.decode.limits import Limits
from pipeline.decode.plans import Plan
from pipeline.decode.sniff import BYTES_NEEDED, Kind, claimed_bytes, is_text, refusal, sniff
from pipeline.errors import MediaError
from pipeline.media import Decoded, Ending, Facts, Media, Modality, Sampling

_SOUND = frozenset({Modality.AUDIO, Modality.SPEECH})
_SHARED_BYTES = 4_000_000
"""A smaller film is decoded before a second worker has begun."""


def read(
    path: Path, sampling: Sampling, want: frozenset[Modality], limits: Limits, server: children.ForkServer
) -> Iterator[Decoded]:
    """Yield what `pipeline.decode.decode` promises, from a child of this server."""
    with closing(Reading(path, sampling, want, limits, server)) as reading:
        yield from (item for item in reading if not isinstance(item, wire.Beat))


def plan(path: Path, sampling: Sampling, limits: Limits, server: children.ForkServer) -> Plan:
    """Return what `pipeline.decode.plan` promises, from a child of this server."""
    with closing(Reading(path, sampling, frozenset(), limits, server, plan=True)) as reading:
        message = reading.child.receive()
    if isinstance(message, wire.Refusal):
        raise MediaError(message.reason, message.detail)
    if not isinstance(message, Plan):
        raise MediaError("no_pictures", "only pictures that move are planned")
    return message


class Reading:
    """One file, or one worker's share of it, on its way through one child. Close it; closing kills the child."""

    def __init__(
        self, path: Path, sampling: Sampling, want: frozenset[Modality], limits: Limits, server: children.ForkServer,
        worker: int = 0, workers: int = 1, *, plan: bool = False,
    ) -> None:  # fmt: skip
        """Start the child.

        Raises:
            MediaError: as `pipeline.decode.decode`, for what can be told without decoding.
        """
        fd = files.open_regular(path)
        try:
            kind, size_bytes, self._is_short = _look(fd, path.name)
            self.is_divisible = kind.media == Media.VIDEO and size_bytes >= _SHARED_BYTES
            request = {
                "media": kind.media,
                "allowed": kind.demuxers,
                "sampling": asdict(sampling),
                "want": sorted(want),
                "limits": asdict(limits),
                "cpu_seconds": limits.budget_seconds(size_bytes, 0.0),
                "worker": worker,
                "workers": workers if self.is_divisible else 1,
                "plan": plan,
            }
            self.child = server.start(request, fd, limits.stalled_seconds)
        finally:
            os.close(fd)
        self.child.budget_seconds = limits.budget_seconds(size_bytes, 0.0)
        promised = want if request["workers"] == 1 else frozenset()  # a share may be empty
        self._answers = _answers(self.child, promised, limits, size_bytes)

    def __iter__(self) -> Iterator[Decoded | wire.Beat]:
        """Yield what the child says, signs of life among it."""
        for item in self._answers:
            if self._is_short and isinstance(item, Ending) and item.damage is None:
                item = replace(item, damage=f"truncated_at:{item.decoded_seconds:.1f}")
            yield item

    def close(self) -> None:
        """Kill the child if it still runs."""
        self.child.close()


def _look(fd: int, name: str) -> tuple[Kind, int, bool]:
    """Return what kind of file it is, its size, and whether it is smaller than it says itself."""
    try:
        size_bytes, head = os.fstat(fd).st_size, os.pread(fd, BYTES_NEEDED, 0)
    except OSError as exc:
        raise MediaError("io_error", exc.strerror or "it cannot be read") from exc
    if not head:
        raise refusal(name, "empty", "it has no bytes")
    kind = sniff(head, name)
    if kind is None:
        raise refusal(name, "not_media", "its first bytes begin no format that is read", text=is_text(head))
    return kind, size_bytes, claimed_bytes(head) > size_bytes + 1  # an odd chunk's last byte is often left out


def _answers(
    child: children.Child, want: frozenset[Modality], limits: Limits, size_bytes: int
) -> Iterator[Decoded | wire.Beat]:
    """Yield the child's answers; whatever ends it becomes an error, or an ending once there is content."""
    facts: Facts | None = None
    reached, content = 0.0, False
    while True:
        try:
            message = _expected(child.receive(), facts)
        except MediaError as exc:
            if not content:
                raise
            yield Ending(exc.reason, reached)
            return
        match message:
            case wire.Beat():
                reached = max(reached, message.at_seconds)
            case Facts():
                facts = message
                child.budget_seconds = limits.budget_seconds(size_bytes, message.duration_seconds)
            case Ending():
                damage = message.damage or ("no_content" if _promises(facts, want) else None)
                if damage is not None and not content:
                    raise MediaError(damage, "nothing of it could be decoded")
                yield message
                return
            case _:
                content = True
        yield message


def _expected(message: wire.Message, facts: Facts | None) -> Decoded | wire.Beat:
    """Return the message if it may come now."""
    if isinstance(message, wire.Refusal):
        raise MediaError(message.reason, message.detail)
    if isinstance(message, Plan):
        raise MediaError("protocol", "nobody asked for a plan")
    if not isinstance(message, wire.Beat) and (facts is None) != isinstance(message, Facts):
        raise MediaError("protocol", "facts come first, and once")
    return message


def _promises(facts: Facts | None, want: frozenset[Modality]) -> bool:
    """Tell whether the file's header names a stream that is wanted, so that something has to come out of it."""
    if facts is None:
        return False
    pictures = bool(facts.video_codec) or facts.media == Media.IMAGE
    return (pictures and Modality.VISUAL in want) or (bool(facts.audio_codec) and not want.isdisjoint(_SOUND))
