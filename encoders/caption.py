"""Frames into sentences about what they show: image-to-text models of transformers, from a folder.

BLIP, SmolVLM and Idefics3, Florence-2, GIT, and whatever else transformers loads for "image-text-to-text" without code
of the model's own.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import weights
from encoders.models import Model, find
from encoders.utterances import is_loop

MOST_TOKENS = 40
"""A sentence; what comes after it is mostly guessed."""
QUESTION = "Describe this picture in one sentence."
"""For models that one talks to."""
TASKS: Mapping[str, str] = {"florence2": "<DETAILED_CAPTION>"}
"""Type of model → its own word for the task."""
_SETTINGS = f"greedy tokens={MOST_TOKENS} question={QUESTION} tasks={sorted(TASKS.items())} whole pictures"
_LARGEST_PX = 768
_USUAL_PX = 384
_PER_CALL = {"cpu": 4, "cuda": 32}


class Captioner:
    """Frames into sentences, the most likely word after each: the same frame gives the same sentence.

    Weights load on first use.
    """

    track = "caption"

    def __init__(self, model: Model) -> None:
        fingerprint = weights.fingerprint(settings=f"{model.fingerprint} {_SETTINGS}")
        self.name = f"caption-{model.name.rpartition('/')[2].lower()}-{fingerprint}"
        self.size_px = _wanted_px(model.path)
        self.rejected: Counter[str] = Counter()
        """How many captions were not believed, by reason."""
        self._folder = model.path

    def read_frames(self, frames: NDArray[np.uint8]) -> list[str]:
        """Return a sentence for each frame of uint8 [N, H, W, 3], RGB; empty where what was written makes no sense."""
        loaded = self._loaded
        texts: list[str] = []
        for first in range(0, len(frames), loaded.per_call):
            texts += loaded.write(frames[first : first + loaded.per_call])
        return [self._believed(text) for text in texts]

    @cached_property
    def _loaded(self) -> _ImageToText:
        return _ImageToText(self._folder)

    def _believed(self, text: str) -> str:
        said = " ".join(text.split())
        if not re.search(r"\w", said):
            self.rejected["no words"] += 1
            return ""
        if is_loop(said):
            self.rejected["repetition"] += 1
            return ""
        return said


class _ImageToText:
    """A model with its weights: bf16 on a GPU, fp32 on the processor."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._dtype = torch.bfloat16 if self._device == "cuda" else torch.float32
        self.per_call = _PER_CALL[self._device]
        self._processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=self._dtype, use_safetensors=True, local_files_only=True, trust_remote_code=False
        )
        self._model = model.eval().to(self._device)

    def write(self, frames: NDArray[np.uint8]) -> list[str]:
        """Return what the model writes for each frame of uint8 [N, H, W, 3]."""
        import torch

        inputs, n_asked = self._inputs(list(frames))
        with torch.inference_mode():
            tokens = self._model.generate(
                **inputs.to(self._device, self._dtype), do_sample=False, num_beams=1, max_new_tokens=MOST_TOKENS
            )
        texts: list[str] = self._processor.batch_decode(tokens[:, n_asked:], skip_special_tokens=True)
        return texts

    def _inputs(self, frames: Sequence[NDArray[np.uint8]]) -> tuple[Any, int]:
        """Return what the model is given, and how many tokens of its answer only repeat the question."""
        processor = self._processor
        if getattr(processor, "chat_template", None):
            said = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]
            prompt = processor.apply_chat_template(said, add_generation_prompt=True)
            # Pictures cut into tiles cost ten times as much, for letters that another reader reads.
            whole = {"do_image_splitting": False} if hasattr(processor.image_processor, "do_image_splitting") else {}
            inputs = processor(
                text=[prompt] * len(frames), images=[[frame] for frame in frames], return_tensors="pt", **whole
            )
            return inputs, 0 if self._model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        if task := TASKS.get(self._model.config.model_type):
            return processor(text=[task] * len(frames), images=list(frames), return_tensors="pt"), 0
        return processor(images=list(frames), return_tensors="pt"), 0


def load(source: str) -> Captioner:
    """Return the captioner of a model.

    Args:
        source: a folder, or the name of a pulled model.

    Raises:
        MissingModelError: it is not on this machine; the message names the command that gets it.
        UnsafeModelError: its weights are pickled, or it wants to run code of its own.
    """
    return Captioner(find(source))


def _wanted_px(folder: Path) -> int:
    """Return the shorter side of frames that a model's preprocessing asks for; at most `_LARGEST_PX`."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if path.is_file():
            said = json.loads(path.read_bytes())
            size = said.get("image_processor", said).get("size") or {}
            if isinstance(size, int):
                return min(size, _LARGEST_PX)
            if sides := [int(size[k]) for k in ("height", "shortest_edge", "longest_edge") if size.get(k)]:
                return min(sides[0], _LARGEST_PX)
    return _USUAL_PX
