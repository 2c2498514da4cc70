"""What is true of a media archive: questions with the places that answer them, labels, and what is said.

A file of truths is a JSON array, or has one JSON object a line. Each row says of one file:

    file               its path below its source, as hits show it; null: nothing in the archive answers the query
    start, stop        the interval [start, stop) that is meant, in seconds; without them, or both 0: all of it
    query              what is asked; such a row is a question
    kind               under which name its figures appear
    media, modality    the search is narrowed so
    label              what is to be seen or heard there: held against the labels
    text               what is said there, word for word: held against the transcript

A row may have several of `query`, `label` and `text`; one with none of them is skipped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from index.hits import Hit
from pipeline.errors import ConfigError
from pipeline.media import Media, Modality
from pipeline.parts import Part, part_of

SHARED = 0.5
"""How much of the shorter of two intervals must lie in the other for them to be the same moment."""
ASKED_OF: Mapping[str, Mapping[str, str]] = {
    "text-to-picture": {"media": "image"},
    "text-to-moment": {"media": "video"},
    "text-to-sound": {"media": "audio", "modality": "audio"},
}
"""What is asked of which media, by kind, where the row itself does not say: who asks for a picture wants no film."""


Narrowed = tuple[tuple[str, str], ...]
"""Arguments of a search, as pairs."""


@dataclass(frozen=True)
class Place:
    """A file, or the interval [start_seconds, stop_seconds) of one."""

    file: str
    start_seconds: float = 0.0
    stop_seconds: float = 0.0


@dataclass(frozen=True)
class Truth:
    """One row: what is true of a place."""

    place: Place
    kind: str = ""
    query: str = ""
    narrowed: Narrowed = ()
    label: str = ""
    text: str = ""


@dataclass(frozen=True)
class Unanswerable:
    """A question that nothing in the archive answers."""

    query: str
    narrowed: Narrowed = ()


@dataclass(frozen=True)
class Truths:
    """The rows of one file."""

    rows: tuple[Truth, ...]
    unanswerable: tuple[Unanswerable, ...] = ()
    n_skipped: int = 0
    """Rows with nothing to ask or compare."""


def is_file(hit: Hit, place: Place) -> bool:
    """Tell whether a hit is the file."""
    return hit.uri == place.file


def is_moment(hit: Hit, place: Place) -> bool:
    """Tell whether a hit is the moment: the right file, and at least half of the shorter interval shared.

    Words about a whole film (its name, its title) span all of it and so say nothing of when: they never count.
    """
    if hit.uri != place.file or part_of(hit.modality, hit.track) == Part.TEXT:
        return False
    shared = min(hit.stop_seconds, place.stop_seconds) - max(hit.start_seconds, place.start_seconds)
    shorter = min(hit.stop_seconds - hit.start_seconds, place.stop_seconds - place.start_seconds)
    return shared > 0 and shared >= SHARED * shorter


def answers(hit: Hit, place: Place) -> bool:
    """Tell whether a hit is the place: the file where no interval is given, else the moment."""
    return is_moment(hit, place) if place.stop_seconds else is_file(hit, place)


def read_truths(path: Path) -> Truths:
    """Read a file of truths.

    Raises:
        ConfigError: it cannot be read, or a row says something that cannot be; the message names file, line and cure.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as exc:
        raise ConfigError(f"Cannot read the truths {path} ({exc.strerror}); name a file with questions.") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"The truths {path} are no UTF-8 text; name a JSON array, or JSON lines.") from exc
    rows: list[Truth | Unanswerable | None] = []
    for line, value in _values(path, text):
        try:
            rows.append(_row(value))
        except ValueError as exc:
            raise ConfigError(f"{path}, line {line}: {exc}") from exc
    return Truths(
        tuple(row for row in rows if isinstance(row, Truth)),
        tuple(row for row in rows if isinstance(row, Unanswerable)),
        rows.count(None),
    )


def _values(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """Yield each row with the number of the line on which it begins."""
    try:
        if text.lstrip().startswith("["):
            json.loads(text)  # tells the line of what is no JSON
            yield from _items(text)
            return
    except json.JSONDecodeError as exc:
        raise ConfigError(f"{path}, line {exc.lineno}: no JSON ({exc.msg}); correct that place.") from exc
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as exc:
                raise ConfigError(
                    f"{path}, line {number}: no JSON ({exc.msg}); write one object a line, or one array."
                ) from exc


def _items(text: str) -> Iterator[tuple[int, Any]]:
    """Yield the items of a JSON array, each with the number of its line."""
    decoder = json.JSONDecoder()
    at, line, counted = text.index("[") + 1, 1, 0
    while True:
        while text[at] in " \t\r\n,":
            at += 1
        if text[at] == "]":
            return
        line, counted = line + text.count("\n", counted, at), at
        value, at = decoder.raw_decode(text, at)
        yield line, value


def _row(said: Any) -> Truth | Unanswerable | None:
    if not isinstance(said, dict):
        raise ValueError(
            f'{str(said)[:40]!r} is no row; write an object such as {{"query": "a dog", "file": "a.mp4"}}.'
        )
    texts = {key: _text(said, key) for key in ("kind", "query", "label", "text", "media", "modality")}
    for key, known in (("media", Media), ("modality", Modality)):
        if texts[key] and texts[key] not in set(known):
            raise ValueError(f"{key} = {texts[key]!r} is not known; write one of {', '.join(known)}.")
    named = {key: texts[key] for key in ("media", "modality") if texts[key]}
    narrowed = tuple({**ASKED_OF.get(texts["kind"], {}), **named}.items())
    if not (texts["query"] or texts["label"] or texts["text"]):
        return None
    if said.get("file", "") is None:
        if texts["label"] or texts["text"]:
            raise ValueError("A label or a text needs the file that has it; only a query may have none.")
        return Unanswerable(texts["query"], narrowed)
    return Truth(_place(said), texts["kind"], texts["query"], narrowed, texts["label"], texts["text"])


def _text(said: Mapping[str, Any], key: str) -> str:
    value = said.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key} = {value!r} needs to be a text.")
    return (value or "").strip()


def _place(said: Mapping[str, Any]) -> Place:
    file = said.get("file")
    if not isinstance(file, str) or not file:
        raise ValueError(f"file = {file!r} needs to be a path below its source, or null where nothing answers.")
    start, stop = (_seconds(said, key) for key in ("start", "stop"))
    if (start or stop) and not start < stop:
        raise ValueError(f"start = {start:g} needs to be less than stop = {stop:g}; leave both out for a whole file.")
    return Place(file, start, stop)


def _seconds(said: Mapping[str, Any], key: str) -> float:
    value = said.get(key)
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{key} = {value!r} needs to be a number of seconds, 0 or more.")
    return float(value)
