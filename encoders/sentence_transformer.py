"""Any model of sentence-transformers: texts with its prompts, and pictures or sound where it takes them.

What is found and what is asked are encoded each with the prompt, and along the route, that the model has for it.
Sound, pictures and texts share one space. Models that want code of their own are not loaded.

Texts of plain models, which are tokens through a transformer, pooling and dense layers, are computed by a tower, and a
few by ONNX Runtime. All else is left to the library, its preprocessing too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoders.configuration import FAMILIES, preprocessing, read_json, space, wrong_family
from encoders.models import Model, find
from encoders.remembered import remembered
from encoders.spec import Encoded, EncoderSpec, Vectors
from encoders.words import TextHalf, Words

if TYPE_CHECKING:
    from encoders.sentence_transformer_torch import Library

_SIZE_PX, _LARGEST_SIZE_PX = 448, 1024
"""The shorter side of frames for a model that takes any, and what is no number of pixels but of something else."""
PROMPTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"query": ("query",), "document": ("document", "passage", "corpus")}
)
"""What is encoded → the names that its prompt may have, as the library looks for them."""
_PASSES_ON = frozenset({"Normalize", "Dropout", "LayerNorm"})
"""Modules that leave the number of dimensions as it is."""


class TextModel:
    """Texts and questions into the space of one model. Weights load on first use."""

    def __init__(self, model: Model, size_px: int | None = None, rate_hz: int | None = None) -> None:
        """Read what the folder of a model says; the model itself loads once where that does not say the dimensions."""
        self._model = model
        dim = _dim(model) or int(remembered("dimensions", model.fingerprint, (1, 1), self._count_dimensions)[0, 0])
        self.spec = EncoderSpec(f"st:{model.name}", space("st", model, dim), dim, size_px, rate_hz)
        self._prompts = _prompts(model)
        self._words = Words(self.spec.space, dim, self._read_words) if _is_plain(model, self._prompts) else None

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode N texts as what is found; float32 [N, dim], each row of unit norm."""
        if self._words and len(texts):
            self._words.prepare_questions()  # who encodes texts will search them
        return self._encode(texts, "document")

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Encode N texts as questions; float32 [N, dim], each row of unit norm."""
        return self._encode(texts, "query")

    def _encode(self, texts: Sequence[str], task: str) -> Vectors:
        if self._words:
            return self._words([self._prompts[task] + text for text in texts])
        return self._library.texts(texts, task) if len(texts) else np.zeros((0, self.spec.dim), np.float32)

    def _read_words(self) -> TextHalf:
        return self._library.words()

    def _count_dimensions(self) -> NDArray[np.float32]:
        return np.array([[self._library.dim]], np.float32)

    @cached_property
    def _library(self) -> Library:
        from encoders.sentence_transformer_torch import Library

        return Library(self._model)


class PictureModel(TextModel):
    """Texts, questions and frames into one space."""

    def encode_frames(self, frames: NDArray[np.uint8]) -> Encoded:
        """Encode frames, uint8 [N, H, W, 3], RGB, any H and W; no labels.

        Raises:
            ValueError: the array is of another shape or type.
        """
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
            raise ValueError(f"Frames need to be uint8 [N, H, W, 3], got {frames.dtype} {list(frames.shape)}.")
        if not len(frames):
            return Encoded(np.zeros((0, self.spec.dim), np.float32), ())
        return Encoded(self._library.frames(frames), tuple(() for _ in frames))


class SoundModel(TextModel):
    """Texts, questions and sound into one space."""

    def encode_sound(self, windows: Sequence[NDArray[np.float32]]) -> Encoded:
        """Encode stretches of mono sound, each float32 [T], in [-1, 1], at `spec.rate_hz`; no labels."""
        if not len(windows):
            return Encoded(np.zeros((0, self.spec.dim), np.float32), ())
        return Encoded(self._library.sound(windows, self.spec.rate_hz or 0), tuple(() for _ in windows))


class PictureAndSoundModel(PictureModel, SoundModel):
    """Texts, questions, frames and sound into one space."""


def load(source: str) -> TextModel:
    """Return the encoder of a model: a folder that sentence-transformers saved, or a model that was pulled.

    It fulfils `TextEncoder` and `QueryEncoder`, and `FrameEncoder` or `SoundEncoder` where the model takes such.

    Raises:
        MissingModelError: it is not on this machine.
        UnsafeModelError: its weights are pickled, or it brings code.
        WrongFamilyError: it is not of sentence-transformers.
    """
    model = find(source)
    if not (model.path / "modules.json").is_file():
        kind = str(read_json(model.path / "config.json").get("model_type", ""))
        right = FAMILIES.get(kind)
        raise wrong_family(model, "st", "no modules.json", None if right == "st" else right)
    taken = _modalities(model)
    size_px = _size_px(model) if "image" in taken else None
    rate_hz = int(preprocessing(model, "feature_extractor").get("sampling_rate", 16000)) if "audio" in taken else None
    if size_px and rate_hz:
        return PictureAndSoundModel(model, size_px, rate_hz)
    if size_px:
        return PictureModel(model, size_px)
    return SoundModel(model, None, rate_hz) if rate_hz else TextModel(model)


def _modules(model: Model) -> list[tuple[str, dict[str, Any]]]:
    """Return the name of each module's class, and what its folder says of it."""
    listed = read_json(model.path / "modules.json")
    return [
        (
            str(module["type"]).rpartition(".")[2],
            {
                **read_json(model.path / str(module["path"]) / "config.json"),
                **read_json(model.path / str(module["path"]) / "sentence_bert_config.json"),
            },
        )
        for module in listed
    ]


def _prompts(model: Model) -> dict[str, str]:
    """Return the prompt for each key of `PROMPTS`."""
    said = read_json(model.path / "config_sentence_transformers.json")
    prompts = {name: prompt or "" for name, prompt in (said.get("prompts") or {}).items()}
    fallback = prompts.get(said.get("default_prompt_name") or "", "")
    return {task: next((prompts[n] for n in named if n in prompts), fallback) for task, named in PROMPTS.items()}


def _is_plain(model: Model, prompts: Mapping[str, str]) -> bool:
    """Tell whether texts are no more than tokens, with the prompt before them, that go through the modules."""
    (first, transformer), *rest = _modules(model)
    kinds = [kind for kind, _ in rest]
    if first != "Transformer" or kinds[:1] != ["Pooling"] or not set(kinds[1:]) <= {"Dense", "Normalize"}:
        return False
    if set(transformer.get("modality_config") or {"text"}) != {"text"} or transformer.get("query_expansion"):
        return False
    lengths = transformer.get("query_length"), transformer.get("document_length")
    whole = rest[0][1].get("include_prompt", True) or not any(prompts.values())
    return whole and not any(lengths) and transformer.get("transformer_task") in (None, "feature-extraction")


def _modalities(model: Model) -> frozenset[str]:
    """Return what a model takes beside text: "image", "audio"."""
    kind, said = _modules(model)[0]
    if kind == "CLIPModel":
        return frozenset({"image"})
    if told := said.get("modality_config"):
        return frozenset(told)
    if any((model.path / name).is_file() for name in ("processor_config.json", "preprocessor_config.json")):
        from encoders.sentence_transformer_torch import Library

        return Library(model).modalities
    return frozenset()


def _dim(model: Model) -> int | None:
    """Return the dimensions of a model's vectors; None: its folder does not say them in a way that is known here."""
    for kind, said in reversed(_modules(model)):
        if kind == "Dense":
            return int(said["out_features"])
        if kind == "Pooling":
            dim = said.get("embedding_dimension", said.get("word_embedding_dimension"))
            return int(dim) * _n_poolings(said) if dim else None
        if kind not in _PASSES_ON:
            return None
    return None


def _n_poolings(said: dict[str, Any]) -> int:
    """Return how many kinds of pooling are put behind each other; older folders have a switch for each."""
    if mode := said.get("pooling_mode"):
        return 1 if isinstance(mode, str) else len(mode)
    return sum(value is True for name, value in said.items() if name.startswith("pooling_mode_")) or 1


def _size_px(model: Model) -> int:
    """Return the shorter side of the pictures that a model wants."""
    _, said = _modules(model)[0]
    shown = preprocessing(model, "image_processor")
    sizes = [(said.get("vision_config") or {}).get("image_size"), shown.get("crop_size"), shown.get("size")]
    for size in sizes:
        sides = size.values() if isinstance(size, dict) else [size]
        numbers = [side for side in sides if isinstance(side, int) and 0 < side <= _LARGEST_SIZE_PX]
        if numbers:
            return min(numbers)
    return _SIZE_PX
