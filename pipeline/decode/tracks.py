"""Which audio streams of a file are decoded, and which of them are one track: pure functions.

All that is said is to be found. So each language, and each special purpose (a commentary, a description for blind
people), is a track of its own. Cameras and broadcasters write one microphone or channel per mono stream: those of one
language and purpose belong together and are mixed. Of several stereo or surround versions of the same one is enough.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

STREAMS_MOST = 8
"""Audio streams that are decoded of one file; there are masters with 16 and more."""
_UNTOLD = {"", "und", "unk", "mis", "mul", "zxx", "qaa"}
"""Codes that name no language."""
_PURPOSES = {"comment": "commentary", "visual_impaired": "description", "descriptions": "description"}
"""FFmpeg's dispositions that mean other words than the main track's."""
_TITLES = (
    (re.compile(r"\bcommentar(y|ies)\b", re.IGNORECASE), "commentary"),
    (re.compile(r"\b(audio descri\w+|descriptive audio|descriptive video)\b", re.IGNORECASE), "description"),
)
"""What people wrote into titles before containers had flags for it, and still do."""


@dataclass(frozen=True)
class Source:
    """What the container says of one audio stream that can be decoded."""

    number: int
    """Its place among the file's audio streams, from 0."""
    channels: int
    """0: not known."""
    language: str = ""
    purpose: str = ""
    is_default: bool = False


@dataclass(frozen=True)
class Track:
    """Audio streams that are decoded as one."""

    numbers: tuple[int, ...]
    """One stream, or several mono ones to be mixed; rising."""

    @property
    def name(self) -> str:
        """Return its name in moments, `a:` and the number of its first stream."""
        return f"a:{self.numbers[0]}"


def purpose_of(dispositions: Collection[str], title: str) -> str:
    """Return `commentary`, `description`, or an empty string for the sound of the film itself.

    Args:
        dispositions: FFmpeg's names of those that the stream has.
        title: of the stream, by whatever tags, or empty.
    """
    told = [purpose for flag, purpose in _PURPOSES.items() if flag in dispositions]
    told += [purpose for pattern, purpose in _TITLES if pattern.search(title)]
    return told[0] if told else ""


def choose(sources: Sequence[Source]) -> tuple[list[Track], int]:
    """Return the tracks to decode, the main one first, and how many streams were left out because there are too many.

    The main track is the one with the first default stream, or else with the first stream.

    >>> choose([Source(0, 1, "eng"), Source(1, 1, "eng"), Source(2, 2, "deu"), Source(3, 6, "deu")])
    ([Track(numbers=(0, 1)), Track(numbers=(2,))], 0)
    """
    groups: dict[tuple[str, str, bool], list[Source]] = {}
    for source in sources:
        key = (_language(source.language), source.purpose, source.channels == 1)
        groups.setdefault(key, []).append(source)
    found = [_track(group, mixed=is_mono) for (_, _, is_mono), group in groups.items()]
    main = next((s.number for s in sources if s.is_default), sources[0].number if sources else 0)
    found.sort(key=lambda track: (main not in track.numbers, track.numbers))
    chosen, room = [], STREAMS_MOST
    for track in found:
        if numbers := track.numbers[:room]:
            chosen.append(Track(numbers))
            room -= len(numbers)
    return chosen, sum(len(track.numbers) for track in found) - (STREAMS_MOST - room)


def _track(group: Sequence[Source], *, mixed: bool) -> Track:
    if mixed:
        return Track(tuple(source.number for source in group))
    return Track((next((s for s in group if s.is_default), group[0]).number,))


def _language(tag: str) -> str:
    """Return a language tag in lower case, empty where it names no language."""
    tag = tag.strip().lower().replace("_", "-")
    return "" if tag in _UNTOLD else tag
