"""The recipe: everything that decides an asset's moments, as one fingerprint for each modality.

A fingerprint is stored with what it made. Changing the fusion weights makes only scenes anew, from the vectors that are
stored; changing the speech reader leaves the pictures alone; a new decoder redoes all that was decoded.
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
from encoders.spec import FrameEncoder, SoundEncoder, SpeechReader, TextEncoder
from pipeline import passages
from pipeline.config import Settings
from pipeline.media import Media, Modality, Sampling

REVISION = 3
"""Counted up by hand when the code changes what it makes of the same file."""

MADE_FROM: Mapping[Media | None, frozenset[Modality]] = {
    Media.VIDEO: frozenset(Modality),
    Media.AUDIO: frozenset({Modality.AUDIO, Modality.SPEECH, Modality.TEXT, Modality.SCENE}),
    Media.IMAGE: frozenset({Modality.VISUAL, Modality.TEXT, Modality.SCENE}),
    None: frozenset(Modality),
}
"""Which modalities an asset of each kind can have; None: not known yet."""


@dataclass(frozen=True)
class Models:
    """The encoders and the reader of a profile. Their weights load when they are first used."""

    visual: FrameEncoder
    audio: SoundEncoder
    text: TextEncoder
    speech: SpeechReader

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
        )

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
    """Return what the decoder keeps of a file: what rushes.toml says, and the sample rates that the models hear.

    All rates are made whoever wants to hear: the highest decides where the sound is cut, and so every moment of it.
    """
    heard = (models.audio.spec.rate_hz, models.speech.rate_hz)
    return replace(settings.sampling, rates_hz=tuple(rate for rate in heard if rate is not None))


def fingerprints(settings: Settings, models: Models) -> dict[Modality, str]:
    """Return the fingerprint of the recipe for each modality."""
    decoding = {"revision": REVISION, "av": version("av"), **asdict(sampling_of(settings, models))}
    seeing = {key: value for key, value in decoding.items() if key != "rates_hz"}
    text = models.text.spec.space
    parts: dict[Modality, str] = {
        Modality.VISUAL: _hash(seeing, models.visual.spec.space),
        Modality.AUDIO: _hash(decoding, models.audio.spec.space),
        Modality.SPEECH: _hash(
            decoding, models.speech.name, text, passages.LONGEST_GAP_SECONDS, passages.MOST_SENTENCES
        ),
        Modality.TEXT: _hash(REVISION, text),
    }
    perceived = {m: parts[m] for m in (Modality.VISUAL, Modality.AUDIO, Modality.SPEECH)}
    return parts | {Modality.SCENE: _hash(perceived, models.scene_space(settings.fusion))}


def _hash(*parts: object) -> str:
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()
