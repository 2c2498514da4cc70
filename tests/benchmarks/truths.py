"""What is true of a media folder: questions, the places that answer each, and when a hit counts as such a place."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from index.hits import Hit
from index.truths import Place, is_moment

NEAR_SECONDS = 2.0
"""How far before or after a clip's beginning a hit may begin."""


@dataclass(frozen=True)
class Question:
    """What is asked, and where the answers are; any of them will do."""

    asked: str
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Truths:
    """The questions of one media folder, by kind."""

    pictures: tuple[Question, ...]
    moments: tuple[Question, ...]
    sounds: tuple[Question, ...]
    subtitles: tuple[Question, ...]
    spoken: Mapping[str, tuple[Place, ...]]
    """Clip → where it is heard."""

    def said(self, asked: Mapping[str, str], texts: Mapping[str, str]) -> tuple[Question, ...]:
        """Return a question for each clip that is heard somewhere and asked for.

        Args:
            asked: clip → how it is asked for.
            texts: clip → what it says. Where the same words are said in another clip, alone or among more, that clip's
                places are answers too.
        """
        words = {clip: f" {_words(texts[clip])} " for clip in self.spoken if clip in texts}
        questions = []
        for clip in self.spoken:
            if clip in asked:
                same = [c for c in self.spoken if c == clip or words.get(clip, "\0") in words.get(c, "")]
                places = dict.fromkeys(place for c in same for place in self.spoken[c])
                questions.append(Question(asked[clip], tuple(places)))
        return tuple(questions)


def read_truths(path: Path) -> Truths:
    """Read truth.json: a list of queries, each with its kind, its file and its time."""
    rows: list[dict[str, Any]] = json.loads(path.read_text("utf8"))
    spoken: dict[str, tuple[Place, ...]] = {}
    for row in rows:
        if row["kind"] == "speech" and row["language"] == "en":
            spoken[row["clip"]] = (*spoken.get(row["clip"], ()), _place(row))
    _add_what_is_cut_off(spoken)
    kinds = ("text-to-picture", "text-to-moment", "text-to-sound", "subtitle")
    pictures, moments, sounds, subtitles = (_questions(row for row in rows if row["kind"] == kind) for kind in kinds)
    return Truths(pictures, moments, sounds, subtitles, spoken)


def read_speech_texts(path: Path) -> dict[str, str]:
    """Read what clips say from lines `name: text`, plain or gzipped.

    Names may have folders, which the truths leave out; where two clips are called the same, the longer text is taken,
    as the longer clip is. A text in brackets, such as "(3 seconds of silence)", is not said, and its clip is left out.
    """
    packed = path.read_bytes()
    content = (gzip.decompress(packed) if path.suffix == ".gz" else packed).decode("utf8")
    texts: dict[str, str] = {}
    for line in content.splitlines():
        name, separator, text = line.partition(":")
        clip = name.strip().rpartition("/")[2]
        if separator and not line.startswith(";") and len(text.strip()) > len(texts.get(clip, "")):
            texts[clip] = text.strip()
    return {clip: text for clip, text in texts.items() if not text.startswith(("(", "["))}


def begins_where_said(hit: Hit, place: Place) -> bool:
    """Tell whether a hit begins within two seconds of the clip, or within it and lies mostly in it.

    The second is for clips of several sentences: who asks for the last one wants to be led to the last one.
    """
    if hit.uri != place.file or hit.modality == "text":
        return False
    begins_within = place.start_seconds <= hit.start_seconds < place.stop_seconds
    return begins_strictly(hit, place) or (begins_within and is_moment(hit, place))


def begins_strictly(hit: Hit, place: Place) -> bool:
    """Tell whether a hit begins within two seconds of where the clip begins."""
    same_file = hit.uri == place.file and hit.modality != "text"
    return same_file and abs(hit.start_seconds - place.start_seconds) <= NEAR_SECONDS


def _add_what_is_cut_off(spoken: dict[str, tuple[Place, ...]]) -> None:
    """Add the clips that a film's end cuts off: the truth leaves them out, but their first words are heard there.

    A film of which all clips begin when they do in a longer file plays that file's sound; the clip after its last one
    is the one that is cut off.
    """
    heard: dict[str, dict[float, str]] = {}
    for clip, places in spoken.items():
        for place in places:
            heard.setdefault(place.file, {})[place.start_seconds] = clip
    for file, clips in heard.items():
        longer = (other for other in heard.values() if len(other) > len(clips) and clips.items() <= other.items())
        for other in longer:
            start, clip = min((start, clip) for start, clip in other.items() if start > max(clips))
            length = next(p.stop_seconds - p.start_seconds for p in spoken[clip] if p.start_seconds == start)
            spoken[clip] = (*spoken[clip], Place(file, start, start + length))


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _questions(rows: Iterable[Mapping[str, Any]]) -> tuple[Question, ...]:
    return tuple(Question(row["query"], (_place(row),)) for row in rows)


def _place(row: Mapping[str, Any]) -> Place:
    return Place(row["file"], float(row.get("start", 0.0)), float(row.get("stop", 0.0)))


def files_of(questions: Sequence[Question]) -> set[str]:
    """Return the files that answer any of the questions."""
    return {place.file for question in questions for place in question.places}
