"""Encoders and readers by name. A new one is a module with a factory, and a line here, or a plug-in.

A name is either whole, as `whisper`, or a family with a model of it, as `clip:google/siglip2-base-patch16-224` or
`clip:/models/ours`; what follows the colon is handed to the family's factory. A plug-in is a Python entry point of the
group `rushes.encoders`: its name is a whole name or a family, its object the factory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from encoders.configuration import WrongFamilyError
from encoders.models import UnsafeModelError
from encoders.packages import ChangedFileError, MissingPackageError
from encoders.pretrained import IncompleteModelError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

FACTORIES: Mapping[str, str] = MappingProxyType(
    {
        "caption": "encoders.caption:load",
        "clap": "encoders.clap:load",
        "clip": "encoders.clip:load",
        "labels": "encoders.labels:load",
        "ocr": "encoders.ocr:load",
        "sentence": "encoders.sentence:load",
        "sounds": "encoders.sounds:load",
        "st": "encoders.sentence_transformer:load",
        "whisper": "encoders.whisper:load",
        "whisper-torch": "encoders.whisper_torch:load",
        "xclip": "encoders.xclip:load",
    }
)
"""Name → "module:factory"; the module is imported when the name is asked for."""


PLUG_INS = "rushes.encoders"
"""The group of entry points that plug-ins are found by."""
_METHODS = ("encode_frames", "encode_clips", "encode_sound", "encode_texts", "read", "read_frames")


class UnknownEncoderError(LookupError):
    """No encoder has this name; the message lists those that there are."""


class PlugInError(ImportError):
    """A plug-in cannot be imported, or what its factory returns is no encoder."""


REFUSALS = (
    ChangedFileError,
    IncompleteModelError,
    MissingPackageError,
    PlugInError,
    UnknownEncoderError,
    UnsafeModelError,
    WrongFamilyError,
)
"""Why an encoder is not to be had: each is one sentence for a person, with the cure."""


def names() -> tuple[str, ...]:
    """Return the names that `load` knows."""
    return tuple(FACTORIES)


def load(name: str) -> Any:
    """Return the encoder or reader of this name, whose weights load when it first encodes something.

    The result fulfils one or several of the protocols of `encoders.spec`, by name: `FrameEncoder`, `ClipEncoder`,
    `SoundEncoder`, `TextEncoder`, `QueryEncoder`, `SpeechReader`, `FrameReader`.

    Raises:
        UnknownEncoderError: there is none of this name.
        MissingPackageError: the package or the model with its weights is not on this machine.
        ChangedFileError: a file of it is not what it was when it was pulled.
        UnsafeModelError: its weights are pickled, or it wants to run code of its own.
        WrongFamilyError: the model is of another family.
        IncompleteModelError: the model lacks weights; said when they are first used.
        PlugInError: it is a plug-in that does not work.
    """
    # OpenMP reads this when torch is imported. Threads that spin while they wait for each other take the cores from
    # decoding and from each other: on two busy cores a frame cost 220 ms of CPU time while they did, and 40 ms since.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    family, _, source = name.partition(":")
    if family not in FACTORIES:
        return _plugged_in(name, family, source)
    module, _, factory = FACTORIES[family].partition(":")
    make = getattr(import_module(module), factory)
    return make(source) if source else make()


def _plugged_in(name: str, family: str, source: str) -> Any:
    """Return the encoder of a plug-in. Only who asks for one pays for the search through what is installed."""
    there = _entry_points()
    whole = [point for point in there if point.name == name]
    found = whole or [point for point in there if point.name == family]
    if not found:
        plugged = f", and of plug-ins {', '.join(sorted({point.name for point in there}))}" if there else ""
        raise UnknownEncoderError(f"There is no encoder {name!r}; known are {', '.join(names())}{plugged}.")
    point = found[0]
    origin = f"The plug-in {point.name!r} ({point.value}, of {point.dist.name if point.dist else 'no package'})"
    try:
        make = point.load()
        made = make(source) if source and not whole else make()
    except REFUSALS:
        raise  # these say themselves what to do
    except Exception as exc:  # a plug-in is somebody else's code, and may raise anything
        raise PlugInError(f"{origin} does not work ({type(exc).__name__}: {exc}); repair or uninstall it.") from exc
    if not any(callable(getattr(made, method, None)) for method in _METHODS):
        raise PlugInError(f"{origin} gives {type(made).__name__}, which has none of {', '.join(_METHODS)}; correct it.")
    return made


def _entry_points() -> EntryPoints:
    from importlib.metadata import entry_points

    return entry_points(group=PLUG_INS)
