"""Modules into ONNX: a text tower for questions, or any module for the CPU; imports torch."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from encoders.onnx_text import MODEL, SETTINGS, TOKENIZER, OnnxText, TextSettings, Tokens, directory_of, session
from encoders.precision import Compute

TOLERANCE = 1e-3
"""The largest difference in any dimension between a vector from torch and one from ONNX Runtime."""
_PROBES = ("a dog", "two people cross a bridge in the rain while a tram waits")
_log = logging.getLogger(__name__)


def export_text(module: nn.Module, tokenizer_json: str, settings: TextSettings, space: str) -> Path | None:
    """Export a text tower once, so that questions to a space need no torch; return where it lies.

    It is compared with the module before it counts. Where it cannot be made, the log says why, once for a process,
    and questions are encoded by torch.

    Args:
        module: takes what `settings` say, int64 [N, T] each, and returns [N, dim], of any norm; on the CPU, float32.
        tokenizer_json: what `tokenizers.Tokenizer.to_str` gave; it puts a model's own tokens around a text.
        settings: how the tower wants its tokens.
        space: that the vectors are in.
    """
    home = directory_of(space)
    if (home / SETTINGS).is_file():
        return home
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=".export-") as scratch:
            staged = Path(scratch) / "text"
            staged.mkdir()
            _write(module, tokenizer_json, settings, staged)
            if home.exists():
                shutil.rmtree(home)
            staged.rename(home)
    except Exception as exc:
        if (home / SETTINGS).is_file():  # another process was faster
            return home
        not_exported(space, str(exc))
        return None
    return home


@cache
def not_exported(space: str, why: str) -> None:
    """Say, once in a process, that questions to a space are encoded by torch."""
    _log.warning("The text tower of %s is not exported, so each question loads torch: %s", space, why)


def runs_in_onnxruntime(module: nn.Module, probe: Sequence[Tensor]) -> Compute:
    """Return the module as ONNX Runtime computes it on the CPU, with any number of items in a batch."""
    with tempfile.TemporaryDirectory(prefix="rushes-onnx-") as scratch:
        path = Path(scratch) / MODEL
        export(module, tuple(probe), [f"input{i}" for i in range(len(probe))], path, dynamic=(0,))
        loaded = session(path)
        names = [x.name for x in loaded.get_inputs()]

    def run(*inputs: Tensor) -> Tensor:
        given = {name: x.contiguous().numpy() for name, x in zip(names, inputs, strict=True)}
        return torch.from_numpy(loaded.run(None, given)[0])

    return run


def export(
    module: nn.Module, inputs: tuple[Tensor, ...], names: Sequence[str], path: Path, dynamic: Sequence[int]
) -> None:
    """Write a module to a file, with its weights beside it, which are mapped and not read.

    Args:
        module: in evaluation, on the CPU.
        inputs: at least two items.
        names: of the inputs.
        path: of the file.
        dynamic: the dimensions of the inputs that may be of another size later.
    """
    sizes = {0: torch.export.Dim("items", min=1), 1: torch.export.Dim("tokens", min=1)}
    shapes = tuple({i: sizes[i] for i in dynamic} for _ in inputs)
    with _quietly(), torch.no_grad():
        torch.onnx.export(
            module, inputs, str(path), input_names=list(names), output_names=["vectors"],
            dynamic_shapes=shapes, dynamo=True, external_data=True, verbose=False,
        )  # fmt: skip


def _write(module: nn.Module, tokenizer_json: str, settings: TextSettings, directory: Path) -> None:
    from tokenizers import Tokenizer

    tokens = Tokens(Tokenizer.from_str(tokenizer_json), settings)
    arrays = tokens.padded(tokens.ids(_PROBES))
    names = ["input_ids", "attention_mask"][: len(arrays)]
    dynamic = (0,) if settings.always_full else (0, 1)
    inputs = tuple(torch.from_numpy(x) for x in arrays)
    export(module, inputs, names, directory / MODEL, dynamic)
    (directory / TOKENIZER).write_text(tokenizer_json, "utf8")
    (directory / SETTINGS).write_text(json.dumps(asdict(settings)), "utf8")
    with torch.no_grad():
        wanted = nn.functional.normalize(module(*inputs).float(), dim=1).numpy()
    made = OnnxText(directory)
    apart = max(float(np.abs(made([text])[0] - vector).max()) for text, vector in zip(_PROBES, wanted, strict=True))
    if apart > TOLERANCE:
        raise ValueError(f"its vectors are off by {apart:.4f}, more than {TOLERANCE}.")


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporter's warnings and reports to itself."""
    loud = logging.getLogger("torch.onnx")
    level = loud.level
    loud.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        loud.setLevel(level)
