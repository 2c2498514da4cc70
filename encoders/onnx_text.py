"""Text into vectors without torch: a text tower in ONNX and its tokenizer, for questions that wait for their answer.

Importing torch and transformers takes longer than a search may. Whoever encodes an archive has them, and exports the
text tower once (`encoders.onnx_export`); from then on questions are encoded from the directory that it left:

    text.onnx          the tower; inputs are those that text.json names, int64 [N, T]; output `vectors`, [N, dim]
    tokenizer.json     as the library `tokenizers` reads it
    text.json          `TextSettings`
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoders.packages import cache_directory
from encoders.spec import Vectors

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MODEL, TOKENIZER, SETTINGS = "text.onnx", "tokenizer.json", "text.json"
REVISION = 1
"""Counted up when what is exported changes."""
_BATCH_TOKENS = 1024


@dataclass(frozen=True)
class TextSettings:
    """How a text tower wants its tokens."""

    dim: int
    max_tokens: int
    """Longer texts are cut, their last token kept where the tokenizer ends a text with one of its own."""
    pad_id: int
    pads_left: bool = False
    always_full: bool = False
    """Every text is padded to `max_tokens`, as the model was trained; else to the longest of its batch."""
    mask: bool = False
    """The tower is told what is padding."""


class Tokens:
    """Texts into padded ids."""

    def __init__(self, tokenizer: Tokenizer, settings: TextSettings) -> None:
        tokenizer.no_padding()
        tokenizer.enable_truncation(settings.max_tokens)
        self._tokenizer, self.settings = tokenizer, settings

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, at most `max_tokens`."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]

    def padded(self, ids: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], ...]:
        """Return what the tower takes: ids [N, T], and where it wants one the mask, 1 where a token is one."""
        settings = self.settings
        longest = settings.max_tokens if settings.always_full else max(1, *map(len, ids), 1)
        padded = np.full((len(ids), longest), settings.pad_id, np.int64)
        mask = np.zeros_like(padded)
        for row, text in enumerate(ids):
            where = slice(longest - len(text), None) if settings.pads_left else slice(0, len(text))
            padded[row, where], mask[row, where] = text, 1
        return (padded, mask) if settings.mask else (padded,)


class OnnxText:
    """A text tower that was exported before. Its weights load with the first text."""

    def __init__(self, directory: Path) -> None:
        from tokenizers import Tokenizer

        self.settings = TextSettings(**json.loads((directory / SETTINGS).read_text("utf8")))
        self._tokens = Tokens(Tokenizer.from_file(str(directory / TOKENIZER)), self.settings)
        self._session = session(directory / MODEL)
        self._inputs = [x.name for x in self._session.get_inputs()]

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Encode N texts; float32 [N, dim], each row of unit norm."""
        vectors = np.zeros((len(texts), self.settings.dim), np.float32)
        ids = self._tokens.ids(texts)
        for rows in batches([len(text) for text in ids], _BATCH_TOKENS, self.settings):
            padded = self._tokens.padded([ids[row] for row in rows])
            vectors[rows] = self._session.run(None, dict(zip(self._inputs, padded, strict=True)))[0]
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors


def batches(lengths: Sequence[int], at_once: int, settings: TextSettings) -> list[list[int]]:
    """Return rows in batches of texts of like length, of so many tokens with padding; at least one text in each."""
    made: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        longest = settings.max_tokens if settings.always_full else max(1, lengths[row])
        if not made or (len(made[-1]) + 1) * longest > at_once:
            made.append([])
        made[-1].append(row)
    return made


def directory_of(space: str) -> Path:
    """Return where the text tower of a space is kept once it is exported."""
    return cache_directory() / "onnx" / f"{space}-{REVISION}"


def find(space: str) -> OnnxText | None:
    """Return the text tower of a space, or nothing if it was never exported here or cannot be read."""
    directory = directory_of(space)
    if not (directory / SETTINGS).is_file():
        return None
    return OnnxText(directory)


def session(path: Path) -> Any:
    """Return a session of ONNX Runtime on the CPU, with as many threads as this process may use."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads()
    options.log_severity_level = 3
    # Threads that spin while they wait take the cores from everything else.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _threads() -> int:
    if (given := os.environ.get("OMP_NUM_THREADS", "")).isdecimal():
        return max(1, int(given))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
