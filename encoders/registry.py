"""Encoders and readers by name. A new one is a module with a factory, and a line here.

A name is either whole, as `whisper`, or a family with a model of it, as `clip:google/siglip2-base-patch16-224` or
`clip:/models/ours`; what follows the colon is handed to the family's factory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

FACTORIES: Mapping[str, str] = MappingProxyType(
    {
        "caption": "encoders.caption:load",
        "labels": "encoders.labels:load",
        "ocr": "encoders.ocr:load",
        "sentence": "encoders.sentence:load",
        "sounds": "encoders.sounds:load",
        "whisper": "encoders.whisper:load",
        "whisper-torch": "encoders.whisper_torch:load",
    }
)
"""Name → "module:factory"; the module is imported when the name is asked for."""


class UnknownEncoderError(LookupError):
    """No encoder has this name; the message lists those that there are."""


def names() -> tuple[str, ...]:
    """Return the names that `load` knows."""
    return tuple(FACTORIES)


def load(name: str) -> Any:
    """Return the encoder or reader of this name, whose weights load when it first encodes something.

    The result fulfils one or several of the protocols of `encoders.spec`, by name: `FrameEncoder`, `SoundEncoder`,
    `TextEncoder`, `SpeechReader`.

    Raises:
        UnknownEncoderError: there is none of this name.
        MissingPackageError: the package with its weights is not on this machine.
    """
    family, _, source = name.partition(":")
    if family not in FACTORIES:
        raise UnknownEncoderError(f"There is no encoder {name!r}; known are {', '.join(names())}.")
    # OpenMP reads this when torch is imported. Threads that spin while they wait for each other take the cores from
    # decoding and from each other: on two busy cores a frame cost 220 ms of CPU time while they did, and 40 ms since.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    module, _, factory = FACTORIES[family].partition(":")
    make = getattr(import_module(module), factory)
    return make(source) if source else make()
