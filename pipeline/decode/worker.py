"""What runs in the child: one file, from its descriptor to messages. Any error becomes a named refusal."""

from __future__ import annotations

import io
import os
import pkgutil
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

import av
import PIL
from PIL import AvifImagePlugin, Image

from pipeline.decode import sandbox, wire
from pipeline.decode.film import decode_film, plan_of
from pipeline.decode.image import decode_picture
from pipeline.decode.limits import Limits
from pipeline.errors import MediaError
from pipeline.media import Facts, Media, Modality, Sampling

_NOT_LOADED = ("__main__", "datasets", "report", "ImageTk", "ImageQt", "ImageWin", "ImageGrab", "ImageShow")
"""Modules of PyAV and Pillow that do something when imported, or draw in what decoding has no use for."""


def preload() -> None:
    """Load, in the fork server, all that children may need: they can open no file, so not a module either."""
    for package in (av, PIL):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not module.name.endswith(_NOT_LOADED):
                with suppress(ImportError):  # what an optional library is missing for is not missed
                    import_module(module.name)
    Image.init()
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # children may start no thread
    for codec in ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "ascii", "cp1252", "idna", "unicode_escape"):
        "".encode(codec)


def run(request: dict[str, Any], media: int, answers: int) -> None:
    """Decode one file.

    Args:
        request: `media`, `allowed` (demuxers or Pillow's formats), `sampling`, `want`, `limits`, `cpu_seconds`,
            `worker` and `workers` (which of how many this is), and `plan`: make a plan instead.
        media: descriptor of the file.
        answers: descriptor that messages go to.
    """
    with os.fdopen(answers, "wb", buffering=0) as raw, io.BufferedWriter(raw, 2**16) as out:
        try:
            for message in _messages(request, media):
                wire.write(out, message)
                if isinstance(message, Facts):  # now that the file says how long it is, it gets that much more time
                    more = Limits(**request["limits"]).budget_seconds(0, message.duration_seconds)
                    sandbox.allow_cpu(request["cpu_seconds"] + more)
        except BrokenPipeError:
            raise
        except MediaError as exc:
            wire.write(out, wire.Refusal(exc.reason, exc.detail))
        except MemoryError as exc:
            wire.write(out, wire.Refusal("memory", str(exc)))
        except Exception as exc:  # hostile bytes raise anything: UnicodeDecodeError, IndexError …
            name = re.sub(r"\W", "", type(exc).__name__)[:40]
            wire.write(out, wire.Refusal(f"decoder_error:{name}", str(exc)))


def _messages(request: dict[str, Any], media: int) -> Iterator[wire.Message]:
    sampling, limits = Sampling(**request["sampling"]), Limits(**request["limits"])
    want, allowed = frozenset(Modality(name) for name in request["want"]), tuple(request["allowed"])
    if request["media"] == Media.IMAGE:
        with os.fdopen(media, "rb") as file:
            yield from decode_picture(file, allowed, sampling, limits, pixels=Modality.VISUAL in want)
    elif request["plan"]:
        yield plan_of(media, allowed, sampling, limits)
    else:
        yield from decode_film(media, allowed, sampling, want, limits, request["worker"], request["workers"])
