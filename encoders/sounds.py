"""Sound and words in one space: what is heard as probabilities of labels, what is meant as probabilities of the same.

A sound fills the labels by three ways of listening: a detector of voices, two networks that tag music, and for all
that is neither, a field guide: what is known of each kind of sound (where its energy lies, how tonal it is, how long
and how often it calls) is compared with what is measured. Words fill the labels by how close they come, for the
sentence encoder, to the words that stand for each label. Both are distributions, and the inner product of their square
roots (Bhattacharyya's coefficient) says how much they agree.

Behind the labels lie two blocks that only sound fills, the networks' features and the timbre, so that a sound finds
what sounds like it, more sharply than words could say.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoders import voice, weights
from encoders.acoustics import N_BANDS, Description, describe
from encoders.fusion import concatenate
from encoders.remembered import remembered
from encoders.sound_guide import log_likelihood, read_field_guide, read_music_guide
from encoders.spec import Encoded, EncoderSpec, Label, TextEncoder, Vectors

if TYPE_CHECKING:
    from encoders.music import MusicTagger

Array = NDArray[np.float64]

RATE_HZ = 16000
_FEATURES = 400
_BLOCK_WEIGHTS = {"labels": 0.4, "features": 0.2, "timbre": 0.4}
_TEXT_TEMPERATURE = 0.04
_GUIDE_TEMPERATURE = 2.0
"""The guide's measures are not independent, so their likelihoods count for half."""
_PLAIN_MUSIC = 0.4
"""How much of music counts as just that; the rest is shared by what kind of music it is."""
_SILENT_DB = -60.0
_LEAST_SCORE, _MOST_LABELS = 0.1, 5
_SETTINGS = ("listening 2", _BLOCK_WEIGHTS, _TEXT_TEMPERATURE, _GUIDE_TEMPERATURE, _PLAIN_MUSIC, _SILENT_DB)
"""What vectors depend on; whoever changes how sound is measured counts up."""


_PLAIN = {
    "speech": (
        *("speech", "a man speaking", "a woman speaking", "a voice talking"),
        *("conversation", "somebody talks", "an announcement"),
    ),
    "music": ("music", "a song", "a melody", "a tune"),
    "silence": ("silence", "quiet", "nothing to hear"),
}


class SoundLabelEncoder:
    """Sound at 16 kHz, and words, into the space of sound labels."""

    def __init__(self, sentences: TextEncoder) -> None:
        self._sentences = sentences
        self._kinds, self._styles = read_field_guide(), read_music_guide()
        self.labels = (*_PLAIN, *(k.label for k in self._kinds), *(s.label for s in self._styles))
        self._dims = {"labels": len(self.labels), "features": _FEATURES, "timbre": 2 * N_BANDS}
        guides = "".join(repr(part) for part in (_PLAIN, self._kinds, self._styles, _SETTINGS))
        fingerprint = weights.fingerprint(weights.MUSICNN, weights.MINILM, settings=guides)
        dim = sum(self._dims.values())
        self.spec = EncoderSpec("sounds", f"sounds-musicnn-{fingerprint}-{dim}", dim, rate_hz=RATE_HZ)

    def encode_sound(self, windows: Sequence[NDArray[np.float32]]) -> Encoded:
        """Encode stretches of mono sound, each float32 [T], in [-1, 1], at 16 kHz; made for 0.1 s to 30 s."""
        if not windows:
            return Encoded(np.zeros((0, self.spec.dim), np.float32), ())
        tagged = self._tagger.tag(windows)
        with ThreadPoolExecutor(_usable_threads()) as pool:
            measured = list(pool.map(_measure, windows))
        vectors, labels = [], []
        for (described, speech), mtt, msd, features in zip(
            measured, tagged.mtt, tagged.msd, tagged.features, strict=True
        ):
            heard = self._hear(described, speech, mtt, msd)
            blocks = {
                "labels": np.sqrt(heard.shares()).astype(np.float32),
                # All silences are alike, and like nothing else: a timbre's numbers sum to zero.
                "features": np.ones_like(features) if heard.silent else features,
                "timbre": np.ones_like(described.timbre) if heard.silent else described.timbre,
            }
            vectors.append(concatenate(blocks, self._dims, _BLOCK_WEIGHTS))
            labels.append(self._best(heard.probabilities()))
        return Encoded(np.stack(vectors), tuple(labels))

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode N texts; float32 [N, dim], each row of unit norm."""
        vectors = np.zeros((len(texts), self.spec.dim), np.float32)
        if len(texts):
            words, starts = self._words
            similarity = self._sentences.encode_texts(texts).astype(np.float64) @ words.T
            closest = np.maximum.reduceat(similarity, starts, axis=1)
            vectors[:, : len(self.labels)] = np.sqrt(_softmax(closest / _TEXT_TEMPERATURE))
        return vectors

    @cached_property
    def _tagger(self) -> MusicTagger:
        from encoders.music import MusicTagger  # brings torch, which words do not need

        return MusicTagger()

    @cached_property
    def _words(self) -> tuple[Array, NDArray[np.intp]]:
        """The vectors of all words for labels, and where each label's words begin."""
        groups = [*_PLAIN.values(), *((k.label, *k.words) for k in self._kinds), *(s.words for s in self._styles)]
        texts = [word for words in groups for word in words]
        vectors = remembered(
            "sound-words",
            "\n".join((self._sentences.spec.space, *texts)),
            (len(texts), self._sentences.spec.dim),
            lambda: self._sentences.encode_texts(texts),
        )
        return vectors.astype(np.float64), np.cumsum([0, *map(len, groups[:-1])])

    def _hear(
        self,
        described: Description,
        speech: float,
        mtt: NDArray[np.float32],
        msd: NDArray[np.float32],
    ) -> _Heard:
        """Ask the three ways of listening what a stretch of sound is."""
        guide = np.array([log_likelihood(kind, described) for kind in self._kinds])
        return _Heard(
            silent=described.level_db < _SILENT_DB,
            speech=speech,
            music=_music_probability(described, mtt),
            kinds=_softmax(guide / _GUIDE_TEMPERATURE),
            styles=np.array([max(_tag_score(tag, mtt, msd) for tag in style.tags) for style in self._styles]),
        )

    def _best(self, probabilities: Array) -> tuple[Label, ...]:
        best = np.argsort(-probabilities, kind="stable")[:_MOST_LABELS]
        return tuple(Label(self.labels[i], float(probabilities[i])) for i in best if probabilities[i] >= _LEAST_SCORE)


@dataclass(frozen=True)
class _Heard:
    """What a stretch of sound is, by all three ways of listening."""

    silent: bool
    speech: float
    """The part of it that is speech."""
    music: float
    """How likely there is music, be it under speech."""
    kinds: Array
    """How likely each kind of the field guide is, if it is neither; sums to 1."""
    styles: Array
    """How likely each label for music is, if it is music; many may be."""

    def probabilities(self) -> Array:
        """Return how likely each label is, by itself."""
        return self._labels(self.music, self.music * self.styles)

    def shares(self) -> Array:
        """Return how much each label counts; sums to 1."""
        styles = self.styles / max(float(self.styles.sum()), 1e-9)
        labels = self._labels(_PLAIN_MUSIC * self.music, (1 - _PLAIN_MUSIC) * self.music * styles)
        return np.asarray(labels / labels.sum())

    def _labels(self, music: float, styles: Array) -> Array:
        present = 0.0 if self.silent else 1.0
        rest = (1 - self.speech) * (1 - self.music) * self.kinds
        return np.asarray([present * self.speech, present * music, 1 - present, *(present * rest), *(present * styles)])


def load(sentences: TextEncoder | None = None) -> SoundLabelEncoder:
    """Load the encoder; the networks follow with the first sound.

    Args:
        sentences: an encoder of sentences that is already there; None: loaded here.

    Raises:
        MissingPackageError: a package is neither installed nor pulled.
        ChangedFileError: a file differs from the pinned one.
    """
    if sentences is None:
        from encoders.sentence import load as load_sentences

        sentences = load_sentences()
    return SoundLabelEncoder(sentences)


def _usable_threads() -> int:
    import torch

    return torch.get_num_threads()


def _measure(window: NDArray[np.float32]) -> tuple[Description, float]:
    """Describe a stretch of sound, and say during which part of what is heard somebody certainly speaks."""
    described = describe(window if len(window) else np.zeros(1, np.float32))
    stretches = voice.find_speech(voice.voice_probabilities(window))
    voiced = sum(stretch.stop - stretch.start for stretch in stretches if stretch.peak >= voice.CERTAIN)
    return described, min(1.0, voiced * voice.FRAME_SECONDS / max(described.active_seconds, voice.FRAME_SECONDS))


def _music_probability(described: Description, mtt: NDArray[np.float32]) -> float:
    """Return how likely what is not speech is music.

    Music holds tones, several at a time; where it does not, as drums do, its tags add up to more than other sounds'.
    Either takes time to tell: a stretch of two seconds is seldom music alone.
    """
    held = 2.5 * np.log2((described.held_tones + 0.05) / 2.5)
    tags = 4 * max(0.0, float(mtt.sum()) - 2.2) * min(1.0, described.active_seconds / 5)
    short = 2 * min(0.0, np.log2((described.active_seconds + 0.1) / 4))
    return float(1 / (1 + np.exp(-(held + tags + short))))


def _tag_score(tag: str, mtt: NDArray[np.float32], msd: NDArray[np.float32]) -> float:
    from encoders.music import MSD_TAGS, MTT_TAGS

    network, name = tag[:2], tag[2:]
    return float(mtt[MTT_TAGS.index(name)] if network == "t:" else msd[MSD_TAGS.index(name)])


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
