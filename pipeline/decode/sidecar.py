"""What somebody wrote about an asset in a file beside it: NAME.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.decode.files import read_small
from pipeline.errors import MediaError

BYTES_MOST = 2**20
_KEYS_MOST, _TEXT_MOST = 256, 20_000


@dataclass(frozen=True)
class Sidecar:
    """Metadata that came with a file; empty where nothing was said."""

    title: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    date: str = ""
    """As written; no format is asked for."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Every other key, lower case; lists joined by ", ", nested objects under "outer.inner"."""


def read_sidecar(path: Path) -> Sidecar:
    """Read a metadata file: one JSON object; keys of any case, tags as a list or with commas.

    Raises:
        MediaError: `bad_metadata`: no JSON object, or one that is too large or too deep.
    """
    return parse_sidecar(read_small(path, BYTES_MOST, "bad_metadata"))


def parse_sidecar(data: bytes) -> Sidecar:
    """Read the bytes of a metadata file; as `read_sidecar`."""
    try:
        found = json.loads(data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"))
    except (ValueError, RecursionError) as exc:
        raise MediaError("bad_metadata", f"it is no JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise MediaError("bad_metadata", f"its JSON is a {type(found).__name__}; an object is needed")
    flat: dict[str, list[str]] = {}
    try:
        _flatten("", found, flat)
    except RecursionError as exc:
        raise MediaError("bad_metadata", "its JSON is nested too deeply") from exc
    if len(flat) > _KEYS_MOST:
        raise MediaError("bad_metadata", f"{len(flat)} keys; at most {_KEYS_MOST} are read")
    tags = [tag.strip() for name in ("tags", "keywords") for text in flat.pop(name, []) for tag in text.split(",")]
    one = {key: ", ".join(values)[:_TEXT_MOST] for key, values in flat.items()}
    title, description, date = (one.pop(name, "") for name in ("title", "description", "date"))
    return Sidecar(title, description, tuple(dict.fromkeys(tag for tag in tags if tag)), date, one)


def _flatten(name: str, value: Any, into: dict[str, list[str]]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(f"{name}.{key}".strip(".").strip().lower(), inner, into)
    elif isinstance(value, list):
        for inner in value:
            _flatten(name, inner, into)
    elif text := _text(value):
        into.setdefault(name or "value", []).append(text)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    # A lone surrogate cannot be written anywhere; control characters would end up in tables and terminals.
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(ch if ch.isprintable() else " " for ch in text).strip()[:_TEXT_MOST]
