"""Parts: what of an asset's moments is made, and made anew, by itself.

A modality says how a moment was perceived, a part which models made it: a shot is visual whether its frames were looked
at one by one or as a clip, but another clip encoder leaves the frames' vectors alone. Each part has its own fingerprint
(`pipeline.recipe`); its rows are told from others by modality and track.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pipeline.media import Media, Modality


class Part(StrEnum):
    """What is made by itself; the first five are the modality of that name, but for what the others are."""

    VISUAL = "visual"
    AUDIO = "audio"
    SPEECH = "speech"
    TEXT = "text"
    SCENE = "scene"
    CLIPS = "clips"
    CAPTIONS = "captions"
    WRITING = "writing"


OWN_TRACKS: Mapping[Part, tuple[Modality, str]] = {
    Part.CLIPS: (Modality.VISUAL, "clip:0"),
    Part.CAPTIONS: (Modality.TEXT, "caption"),
    Part.WRITING: (Modality.TEXT, "ocr"),
}
"""Parts that share a modality with another: it, and the track that tells them apart."""
SEEN = frozenset({Part.VISUAL, Part.CLIPS, Part.CAPTIONS, Part.WRITING})
"""Made from pictures."""
PERCEIVED = frozenset({Part.VISUAL, Part.AUDIO, Part.SPEECH})
"""What scenes are fused from."""
DECODED = SEEN | PERCEIVED
"""What needs the file itself."""
MADE_FROM: Mapping[Media | None, frozenset[Part]] = {
    Media.VIDEO: frozenset(Part),
    Media.AUDIO: frozenset({Part.AUDIO, Part.SPEECH, Part.TEXT, Part.SCENE}),
    Media.IMAGE: frozenset({Part.VISUAL, Part.CAPTIONS, Part.WRITING, Part.TEXT, Part.SCENE}),
    None: frozenset(Part),
}
"""Which parts an asset of each kind can have; None: not known yet. In a still picture nothing happens."""
_PART_OF = {place: part for part, place in OWN_TRACKS.items()}


def part_of(modality: str, track: str) -> Part:
    """Return the part that a moment belongs to."""
    return _PART_OF.get((Modality(modality), track)) or Part(modality)


def modality_of(part: str) -> str:
    """Return the modality of a part's moments; of a part that a newer version made, its name."""
    return next((str(modality) for own, (modality, _) in OWN_TRACKS.items() if own == part), part)
