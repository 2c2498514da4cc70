"""Checkpoints of transformers, from their folder and nowhere else; imports transformers where it is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from encoders.models import Model


class IncompleteModelError(ImportError):
    """A checkpoint lacks weights, which would be filled with random numbers."""


def read_model(make: Any, model: Model) -> Any:
    """Return a model with its weights, in float32 and in evaluation; no code of the folder runs.

    Args:
        make: a class of transformers, as `ClapModel`; of the folder's weights it takes those that it has.
        model: with the folder.

    Raises:
        IncompleteModelError: the folder lacks some of the class's weights.
    """
    import torch

    with quietly():
        module, found = make.from_pretrained(
            model.path,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    if missing := sorted(found["missing_keys"]):
        raise IncompleteModelError(
            f"{model.path} lacks {len(missing)} weights of {make.__name__}, as {missing[0]}; fetch the model again."
        )
    return module.eval()


def read_processor(make: Any, model: Model) -> Any:
    """Return a tokenizer or another preprocessor of a folder."""
    with quietly():
        return make.from_pretrained(model.path, local_files_only=True, trust_remote_code=False)


@contextmanager
def quietly() -> Iterator[None]:
    """Keep transformers from printing bars and warnings about weights of a checkpoint that nobody asked for."""
    logging: Any = import_module("transformers.utils.logging")  # has no types
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
