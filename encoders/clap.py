"""Sound and words in one space: CLAP, and models built like it.

- CLAP: Wu et al., Large-scale contrastive language-audio pretraining with feature fusion and keyword-to-caption
  augmentation, ICASSP 2023, arXiv:2211.06687. Hears 10 s at 48 kHz; a shorter sound is repeated.
- PE-Audio: the sound half of Vyas et al., Pushing the frontier of audiovisual perception with large-scale multimodal
  correspondence learning, 2025, arXiv:2512.19687. Hears any length; here 10 s too, and a shorter sound is masked.

Of a longer sound the library hears a part taken at random, so that no two runs agree. Here it is cut into windows that
are spread evenly over it, and its vector is their mean direction. No window is then longer than what the model hears,
so the feature fusion that some checkpoints have, of a whole with three random parts of it, has nothing to fuse: it is
off, as it is in the library for sounds that are short.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoders.configuration import configuration, preprocessing, space
from encoders.models import Model, find
from encoders.spec import Encoded, EncoderSpec, Vectors
from encoders.words import TextHalf, Words

if TYPE_CHECKING:
    from encoders.tower import Tower

Sound = NDArray[np.float32]

RATE_HZ, WINDOW_SECONDS = 48000, 10
PE_HOP = 1920
"""Where the checkpoint does not say otherwise. Of so many samples is a frame of PE-Audio; the last one is mirrored."""
UNHEARD = 0.1
"""The part of a window that a sound may be longer and still be heard as one: two would cost twice as much."""
_BATCH = 32
_AT_ONCE = 128
"""Windows that are made ready at once: 250 MB."""


class ClapEncoder:
    """Sound and words into the space of one checkpoint. Weights load on first use, of each half by itself."""

    def __init__(self, model: Model) -> None:
        """Read what the folder of a checkpoint says.

        Raises:
            WrongFamilyError: it is of another family.
        """
        config, heard = configuration(model, "clap"), preprocessing(model, "feature_extractor")
        self._model, self._kind = model, str(config["model_type"])
        rate_hz = int(heard.get("sampling_rate", RATE_HZ))
        self.n_samples = int(heard.get("max_length_s", WINDOW_SECONDS)) * rate_hz
        """Of a window."""
        if self._kind == "clap":
            dim, self._fill = int(config.get("projection_dim", 512)), str(heard.get("padding", "repeatpad"))
            self._hop = 1
        else:
            dim, self._fill = int((config.get("text_config") or {}).get("hidden_size", 1024)), "pad"
            self._hop = int(heard.get("hop_length", PE_HOP))
        name = space("clap", model, dim, f"windows 1 {self.n_samples} {UNHEARD}")
        self.spec = EncoderSpec(f"clap:{model.name}", name, dim, rate_hz=rate_hz)
        self._words = Words(name, dim, self._read_words)

    def encode_sound(self, windows: Sequence[Sound]) -> Encoded:
        """Encode stretches of mono sound, each float32 [T], in [-1, 1], at `spec.rate_hz`, of any length.

        Returns:
            Vectors, float32 [N, dim], rows of unit norm, the same alone and in a batch; no labels.
        """
        pieces = [_cut(np.asarray(window, np.float32), self.n_samples) for window in windows]
        flat = [piece for cut in pieces for piece in cut]
        if not flat:
            return Encoded(np.zeros((0, self.spec.dim), np.float32), ())
        vectors = np.concatenate([self._hear(flat[at : at + _AT_ONCE]) for at in range(0, len(flat), _AT_ONCE)])
        if len(flat) > len(pieces):
            starts = np.cumsum([0, *(len(cut) for cut in pieces[:-1])])
            vectors = np.add.reduceat(vectors, starts, axis=0)
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return Encoded(vectors, tuple(() for _ in pieces))

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode N texts, of which as many tokens count as the model has places for; float32 [N, dim], unit norm."""
        return self._words(texts)

    def _hear(self, pieces: Sequence[Sound]) -> Vectors:
        whole = [_mirrored(piece, self._hop) for piece in pieces]
        samples = np.stack([_filled(piece, self.n_samples, self._fill) for piece in whole])
        return self._hearing(samples, np.array([len(piece) for piece in whole], np.int64))

    @cached_property
    def _hearing(self) -> Tower:
        from encoders import clap_torch
        from encoders.tower import Tower

        self._words.prepare_questions()  # who encodes sound will search it
        module = clap_torch.SOUND[self._kind](self._model)
        noise = np.random.default_rng(0).normal(0, 0.1, (4, self.n_samples))
        noise *= np.linspace(1, 0, self.n_samples) ** np.arange(4)[:, None]
        probe = noise.astype(np.float32), np.full(4, self.n_samples, np.int64)
        return Tower(module, name=f"{self.spec.space} sound", dim=self.spec.dim, batch=_BATCH, probe=lambda: probe)

    def _read_words(self) -> TextHalf:
        from encoders import clap_torch

        return clap_torch.read_words(self._kind, self._model, self.spec.dim)


def load(source: str) -> ClapEncoder:
    """Return the encoder of a checkpoint: a folder, or a model that was pulled.

    Raises:
        MissingModelError: it is not on this machine.
        UnsafeModelError: its weights are pickled, or it brings code.
        WrongFamilyError: it is of another family.
    """
    return ClapEncoder(find(source))


def _cut(samples: Sound, longest: int) -> list[Sound]:
    """Return windows of at most `longest` samples, spread evenly over a sound; of a short one the sound itself."""
    if len(samples) <= longest:
        return [samples]
    n = max(1, math.ceil(len(samples) / longest - UNHEARD))
    over = len(samples) - longest
    starts = [over // 2] if n == 1 else [round(i * over / (n - 1)) for i in range(n)]
    return [samples[start : start + longest] for start in starts]


def _filled(samples: Sound, n: int, how: str) -> Sound:
    """Fill a sound up to n samples: "repeat" it until full, "repeatpad" whole repeats and silence, "pad" silence."""
    if len(samples) == n:
        return samples
    if how == "repeat" and len(samples):
        return np.resize(samples, n)
    filled = np.zeros(n, np.float32)
    repeats = n // len(samples) if how == "repeatpad" and len(samples) else 1
    filled[: repeats * len(samples)] = np.tile(samples, repeats)
    return filled


def _mirrored(samples: Sound, hop: int) -> Sound:
    """Return a sound with its end mirrored, so that its length is a multiple of `hop`."""
    missing = -len(samples) % hop
    if not missing or not len(samples):
        return samples
    return np.pad(samples, (0, missing), "reflect" if len(samples) > 1 else "edge")
