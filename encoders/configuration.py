"""What a checkpoint's folder says of its model, read as JSON: importing transformers takes longer than a question."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from encoders.models import Model

FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ("clip", "siglip", "siglip2", "metaclip_2", "chinese_clip", "altclip", "align", "clipseg"), "clip"
        ),
        **dict.fromkeys(("clap", "pe_audio"), "clap"),
        "xclip": "xclip",
        "whisper": "whisper",
        **dict.fromkeys(("blip", "blip-2", "florence2", "smolvlm", "idefics3", "git"), "caption"),
        **dict.fromkeys(("bert", "distilbert", "mpnet", "roberta", "xlm-roberta", "modernbert", "nomic_bert"), "st"),
    }
)
"""What transformers calls a type of model → the family that loads it."""
_LONGEST_NAME = 40


class WrongFamilyError(LookupError):
    """A folder holds a model of another family; the message says of which, where that is known."""


def configuration(model: Model, family: str) -> dict[str, Any]:
    """Return a model's `config.json`, of which transformers leaves out what is at its default.

    Raises:
        WrongFamilyError: the folder holds a model of another family, or none.
    """
    config: dict[str, Any] = read_json(model.path / "config.json")
    if (model.path / "modules.json").is_file():
        raise wrong_family(model, family, "a model of sentence-transformers", "st")
    kind = str(config.get("model_type", ""))
    if FAMILIES.get(kind) != family:
        raise wrong_family(model, family, f"a model of type {kind!r}" if kind else "no config.json", FAMILIES.get(kind))
    return config


def wrong_family(model: Model, family: str, what: str, right: str | None) -> WrongFamilyError:
    """Return the error for a folder that holds `what`, which `family` does not load and the family `right` does."""
    types = ", ".join(sorted(kind for kind, of in FAMILIES.items() if of == family and family != "st"))
    cure = f"name it as {right}:{model.path}" if right else f"give a folder with {types or 'a modules.json'}"
    return WrongFamilyError(f"{model.path} has {what}, which {family!r} does not load; {cure}.")


def preprocessing(model: Model, part: str) -> dict[str, Any]:
    """Return what the folder says of a preprocessor, "feature_extractor" or "image_processor"; empty: nothing.

    Older checkpoints have a file for it alone, newer ones keep it within that of the whole processor.
    """
    within = read_json(model.path / "processor_config.json").get(part)
    return dict(within) if within else read_json(model.path / "preprocessor_config.json")


def space(family: str, model: Model, dim: int, settings: str = "") -> str:
    """Return the name of a model's space: family, model, a hash of its files and our settings, dimension."""
    short = re.sub(r"[^a-z0-9]+", "-", model.path.name.lower()).strip("-")[:_LONGEST_NAME]
    digest = hashlib.sha256(f"{model.fingerprint} {settings}".encode()).hexdigest()[:8] if settings else ""
    return f"{family}-{short}-{digest or model.fingerprint}-{dim}"


def read_json(path: Path) -> Any:
    """Return what a JSON file says; an empty dict where there is none.

    Raises:
        WrongFamilyError: it is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as exc:
        raise WrongFamilyError(f"{path} is not valid JSON ({exc}); fetch the model again.") from exc
