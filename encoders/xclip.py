"""Clips and words in one space: X-CLIP, which lets the frames of a shot see each other.

Ni et al., Expanding language-image pretrained models for general video recognition, ECCV 2022, arXiv:2208.02816.

In the paper, and in the library's `forward`, each text is adapted to each clip by a prompt generator before the two are
compared. In a space for search a text has one vector, whatever it is compared with: the text's own, as it is before.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoders.configuration import configuration, space
from encoders.models import Model, find
from encoders.spec import Encoded, EncoderSpec, Vectors
from encoders.words import TextHalf, Words

if TYPE_CHECKING:
    from encoders.tower import Tower

Clip = NDArray[np.uint8]

_BATCH = 8


class XClipEncoder:
    """Clips and words into the space of one checkpoint. Weights load on first use, of each half by itself."""

    def __init__(self, model: Model) -> None:
        """Read what the folder of a checkpoint says.

        Raises:
            WrongFamilyError: it is of another family.
        """
        config = configuration(model, "xclip")
        seen = config.get("vision_config") or {}
        self._model = model
        self.n_frames = int(seen.get("num_frames", 8))
        dim = int(config.get("projection_dim", 512))
        self.spec = EncoderSpec(
            name=f"xclip:{model.name}",
            space=space("xclip", model, dim, "evenly 1"),
            dim=dim,
            size_px=int(seen.get("image_size", 224)),
            n_frames=self.n_frames,
        )
        self._words = Words(self.spec.space, dim, self._read_words)

    def encode_clips(self, clips: Sequence[Clip]) -> Encoded:
        """Encode clips, each uint8 [T, H, W, 3], RGB, any T at least 1, any H and W.

        Of each, `spec.n_frames` are looked at, taken evenly; where there are fewer, some are looked at twice.

        Returns:
            Vectors, float32 [N, dim], rows of unit norm, the same alone and in a batch; no labels.

        Raises:
            ValueError: a clip is of another shape or type.
        """
        shapes: dict[tuple[int, ...], list[int]] = {}
        for row, clip in enumerate(clips):
            if clip.ndim != 4 or clip.shape[3] != 3 or clip.dtype != np.uint8 or not len(clip):
                raise ValueError(f"A clip needs to be uint8 [T, H, W, 3], T > 0, got {clip.dtype} {list(clip.shape)}.")
            shapes.setdefault(clip.shape[1:3], []).append(row)
        vectors = np.empty((len(clips), self.spec.dim), np.float32)
        for rows in shapes.values():
            for at in range(0, len(rows), _BATCH):
                some = rows[at : at + _BATCH]
                taken = np.stack([clips[row][evenly(len(clips[row]), self.n_frames)] for row in some])
                vectors[some] = self._seeing(taken)
        return Encoded(vectors, tuple(() for _ in clips))

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode N texts, of which the first 77 tokens count; float32 [N, dim], each row of unit norm."""
        return self._words(texts)

    @cached_property
    def _seeing(self) -> Tower:
        from encoders.tower import Tower
        from encoders.xclip_torch import XClipClips

        self._words.prepare_questions()  # who encodes clips will search them
        side = self.spec.size_px or 224
        noise = np.random.default_rng(0).integers(0, 256, (2, self.n_frames, 8, 8, 3), np.uint8)
        probe = noise.repeat(side // 8, axis=2).repeat(side // 8, axis=3)
        module = XClipClips(self._model)
        return Tower(module, name=f"{self.spec.space} clips", dim=self.spec.dim, batch=_BATCH, probe=lambda: (probe,))

    def _read_words(self) -> TextHalf:
        from encoders import xclip_torch

        return xclip_torch.read_words(self._model, self.spec.dim)


def load(source: str) -> XClipEncoder:
    """Return the encoder of a checkpoint: a folder, or a model that was pulled.

    Raises:
        MissingModelError: it is not on this machine.
        UnsafeModelError: its weights are pickled, or it brings code.
        WrongFamilyError: it is of another family.
    """
    return XClipEncoder(find(source))


def evenly(n: int, n_wanted: int) -> list[int]:
    """Return which of n frames stand for as many equal parts as are wanted: each the one in its part's middle."""
    return [(2 * part + 1) * n // (2 * n_wanted) for part in range(n_wanted)]
