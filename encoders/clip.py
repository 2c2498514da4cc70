"""Pictures and words in one space: CLIP, SigLIP, SigLIP 2 and MetaCLIP 2, from a directory as transformers saves it.

CLIP: Radford et al., 2021, arXiv:2103.00020. SigLIP: Zhai et al., 2023, arXiv:2303.15343. SigLIP 2: Tschannen et al.,
2025, arXiv:2502.14786; its models of one resolution, not NaFlex. MetaCLIP 2: Chuang et al., 2025, arXiv:2507.22062.

A wide frame is treated as the model was trained: CLIP sees the middle square, SigLIP the whole frame squashed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoders import onnx_text, picture_settings
from encoders.configuration import WrongFamilyError, configuration, space
from encoders.models import Model, find
from encoders.onnx_text import OnnxText, Tokens
from encoders.spec import Encoded, EncoderSpec, Vectors

if TYPE_CHECKING:
    from encoders.tower import Tower

KINDS: Mapping[str, tuple[int, int]] = {"clip": (512, 77), "metaclip_2": (512, 77), "siglip": (768, 64)}
"""What a configuration calls itself → the dimension and the most tokens of a text where it leaves them unsaid."""
MANY = 64
"""From so many texts on, torch is worth its import."""
_BATCH_TOKENS = 4096
_BATCH_ON_GPU, _BATCH_ON_CPU = 512, 32
"""Pictures. On a GPU products of matrices need that many rows of small models; on two cores more was no faster."""


class ClipEncoder:
    """Frames and words into one space. Weights load on first use, and only those of the half that is used."""

    def __init__(self, model: Model) -> None:
        self._settings = _settings(configuration(model, "clip"), model.path)
        dim = int(self._settings["dim"])
        size_px = picture_settings.read(model.path).size_px
        self.spec = EncoderSpec(f"clip:{model.name}", space("clip", model, dim), dim, size_px)
        self._path = model.path
        self._lock = Lock()

    def encode_frames(self, frames: NDArray[np.uint8]) -> Encoded:
        """Encode frames, uint8 [N, H, W, 3], RGB, any H and W, best with a shorter side of `spec.size_px`.

        Returns:
            Vectors, float32 [N, dim], rows of unit norm, the same alone and in a batch; no labels.

        Raises:
            ValueError: the array is of another shape or type.
        """
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
            raise ValueError(f"Frames need to be uint8 [N, H, W, 3], got {frames.dtype} {list(frames.shape)}.")
        with self._lock:
            tower = self._pictures
        return Encoded(tower(frames), ((),) * len(frames))

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode N texts, of which the first 77 (CLIP) or 64 (SigLIP) tokens count; float32 [N, dim], of unit norm.

        A few need no torch, once frames have been encoded on this machine or `prepare_questions` was called.
        """
        with self._lock:
            asked = self._questions if len(texts) < MANY and "_words" not in self.__dict__ else None
        if asked is not None:
            return asked(texts)
        with self._lock:
            words, tower = self._words
        vectors = np.zeros((len(texts), self.spec.dim), np.float32)
        ids = words.ids(texts)
        for rows in onnx_text.batches([len(text) for text in ids], _BATCH_TOKENS, words.settings):
            vectors[rows] = tower(*words.padded([ids[row] for row in rows]))
        return vectors

    def prepare_questions(self) -> None:
        """Export the text half for ONNX Runtime, so that questions need no torch; once for a machine.

        Where that cannot be done the log says so, and questions load torch.
        """
        from encoders import clip_towers

        if not (onnx_text.directory_of(self.spec.space) / onnx_text.SETTINGS).is_file():
            clip_towers.export(self._path, self._text_settings(), self.spec.space)

    @cached_property
    def _pictures(self) -> Tower:
        from encoders import clip_towers, device
        from encoders.tower import Tower

        self.prepare_questions()  # who encodes frames will search them
        size = self.spec.size_px or 224
        return Tower(
            clip_towers.read_pictures(self._path),
            name=f"{self.spec.space} pictures",
            dim=self.spec.dim,
            batch=_BATCH_ON_CPU if device.best().type == "cpu" else _BATCH_ON_GPU,
            probe=lambda: (np.random.default_rng(0).integers(0, 256, (8, size, size, 3), dtype=np.uint8),),
        )

    @cached_property
    def _words(self) -> tuple[Tokens, Tower]:
        from encoders import clip_towers
        from encoders.tower import Tower

        words = clip_towers.read_words(self._path, self._text_settings())
        tower = Tower(
            clip_towers.read_text(self._path),
            name=f"{self.spec.space} words",
            dim=self.spec.dim,
            batch=512,
            probe=lambda: words.padded(words.ids(["a dog on a beach", "two people talk about a bridge in the rain"])),
        )
        return words, tower

    @cached_property
    def _questions(self) -> OnnxText | None:
        return onnx_text.find(self.spec.space)

    def _text_settings(self) -> onnx_text.TextSettings:
        """Return what the configuration says; the tokenizer knows the rest."""
        return onnx_text.TextSettings(
            dim=self.spec.dim,
            max_tokens=int(self._settings["max_tokens"]),
            pad_id=0,
            always_full=bool(self._settings["always_full"]),
        )


def load(source: str) -> ClipEncoder:
    """Return the encoder of a model: a directory, or one of the hub that was pulled.

    Raises:
        MissingModelError: it is not on this machine; the message names the command that gets it.
        UnsafeModelError: its weights are pickled, or it wants to run code.
        WrongFamilyError: it is of another family.
    """
    return ClipEncoder(find(source))


def _settings(config: Mapping[str, Any], path: Path) -> dict[str, int | bool]:
    kind = str(config.get("model_type"))
    if kind not in KINDS:
        cure = "take one of a fixed resolution, as google/siglip2-base-patch16-224" if kind == "siglip2" else (
            f"known are {', '.join(KINDS)}"
        )  # fmt: skip
        raise WrongFamilyError(f"{path} holds a model of type {kind!r}, which the family clip does not read; {cure}.")
    dim, max_tokens = KINDS[kind]
    if kind == "siglip":
        dim = int(config.get("vision_config", {}).get("hidden_size", dim))
    else:
        dim = int(config.get("projection_dim", dim))
    max_tokens = int(config.get("text_config", {}).get("max_position_embeddings", max_tokens))
    return {"dim": dim, "max_tokens": max_tokens, "always_full": kind == "siglip"}
