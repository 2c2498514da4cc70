"""The recipe: everything that decides an asset's moments, as one fingerprint for each part of them.

A fingerprint is stored with what it made. Changing the fusion weights makes only scenes anew, from the vectors that are
stored; changing the speech reader leaves the pictures alone; a reader of captions more decodes the pictures again, but
makes nothing else of them; a new decoder redoes all that was decoded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version

import encoders
from encoders.fusion import scene_space
from encoders.profiles import Profile, profile
from encoders.spec import ClipEncoder, FrameEncoder, FrameReader, SoundEncoder, SpeechReader, TextEncoder
from pipeline import passages, writing
from pipeline.config import Settings
from pipeline.media import Modality, Sampling
from pipeline.parts import PERCEIVED, Part

REVISION = 3
"""Counted up by hand when the code changes what it makes of the same file."""


@dataclass(frozen=True)
class Models:
    """The encoders and the readers of a profile. Their weights load when they are first used."""

    visual: FrameEncoder
    audio: SoundEncoder
    text: TextEncoder
    speech: SpeechReader
    clips: ClipEncoder | None = None
    captions: FrameReader | None = None
    writing: FrameReader | None = None

    @classmethod
    def of(cls, profile_or_name: Profile | str) -> Models:
        """Return the models of a profile; by name only those that come with Rushes are known.

        Raises:
            MissingPackageError: weights are not on this machine; the message names the command that gets them.
            UnknownEncoderError: it names an encoder that there is not.
        """
        chosen = profile(profile_or_name) if isinstance(profile_or_name, str) else profile_or_name
        return cls(
            visual=encoders.load(chosen.visual),
            audio=encoders.load(chosen.audio),
            text=encoders.load(chosen.text),
            speech=encoders.load(chosen.speech),
            clips=encoders.load(chosen.clips) if chosen.clips else None,
            captions=encoders.load(chosen.captions) if chosen.captions else None,
            writing=encoders.load(chosen.writing) if chosen.writing else None,
        )

    def sizes_px(self) -> dict[Part, int]:
        """Return the shorter side of the frames that each part wants which is made from pictures."""
        default = Sampling().size_px
        sizes = {Part.VISUAL: self.visual.spec.size_px or default}
        if self.clips is not None:
            sizes[Part.CLIPS] = self.clips.spec.size_px or default
        for part, reader in ((Part.CAPTIONS, self.captions), (Part.WRITING, self.writing)):
            if reader is not None:
                sizes[part] = reader.size_px
        return sizes

    def blocks(self) -> dict[Modality, tuple[str, int]]:
        """Return space and dimension of each block that a scene vector can have."""
        return {
            Modality.VISUAL: (self.visual.spec.space, self.visual.spec.dim),
            Modality.AUDIO: (self.audio.spec.space, self.audio.spec.dim),
            Modality.SPEECH: (self.text.spec.space, self.text.spec.dim),
        }

    def scene_space(self, weights: Mapping[Modality, float]) -> str:
        """Return the name of the space of scene vectors."""
        return scene_space({m: space for m, (space, _) in self.blocks().items()}, weights)


def sampling_of(settings: Settings, models: Models) -> Sampling:
    """Return what the decoder keeps of a file: what rushes.toml says, and what the models want to see and hear.

    Frames are as large as the model wants that looks closest; the others make them smaller for themselves. All rates
    are made whoever wants to hear: the highest decides where the sound is cut, and so every moment of it.
    """
    heard = (models.audio.spec.rate_hz, models.speech.rate_hz)
    return replace(
        settings.sampling,
        size_px=settings.size_px or max(models.sizes_px().values()),
        rates_hz=tuple(rate for rate in heard if rate is not None),
    )


def fingerprints(settings: Settings, models: Models) -> dict[Part, str]:
    """Return the fingerprint of the recipe for each part that the models make."""
    decoding = {"revision": REVISION, "av": version("av"), **asdict(sampling_of(settings, models))}
    hearing = decoding | {"size_px": settings.sampling.size_px}  # nobody hears how large the frames are
    text, sizes = models.text.spec.space, models.sizes_px()

    def seeing(part: Part) -> dict[str, object]:
        """Each part with its own size: one more that wants larger frames leaves the others as they are."""
        seen = decoding | {"size_px": settings.size_px or sizes[part]}
        return {key: value for key, value in seen.items() if key != "rates_hz"}

    parts: dict[Part, str] = {
        Part.VISUAL: _hash(seeing(Part.VISUAL), models.visual.spec.space),
        Part.AUDIO: _hash(hearing, models.audio.spec.space),
        Part.SPEECH: _hash(hearing, models.speech.name, text, passages.LONGEST_GAP_SECONDS, passages.MOST_SENTENCES),
        Part.TEXT: _hash(REVISION, text),
    }
    perceived = {part: parts[part] for part in sorted(PERCEIVED)}
    parts[Part.SCENE] = _hash(perceived, models.scene_space(settings.fusion))
    if models.clips is not None:
        parts[Part.CLIPS] = _hash(Part.CLIPS, seeing(Part.CLIPS), models.clips.spec.space)
    if models.captions is not None:
        parts[Part.CAPTIONS] = _hash(Part.CAPTIONS, seeing(Part.CAPTIONS), models.captions.name, text)
    if models.writing is not None:
        joins = (writing.FRAMES_PER_SHOT, writing.LONGEST_GAP_SECONDS, writing.LEAST_ALIKE)
        parts[Part.WRITING] = _hash(Part.WRITING, seeing(Part.WRITING), models.writing.name, text, *joins)
    return parts


def _hash(*parts: object) -> str:
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()
