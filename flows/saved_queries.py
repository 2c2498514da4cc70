"""Saved questions: what new footage is asked, and the events that say what answers them.

They lie in ARCHIVE/saved_queries.json, written by `rushes watch-query` and edited by people; what was asked and told is
kept in ARCHIVE/told (flows/told.py).

A moment is told once for each question, even if a run is repeated or killed: what was told is noted after Prefect has
it, and where a kill falls between the two, the event is sent again under the same id, of which Prefect keeps one. If
Prefect does not take an event, the footage stays new, and the next publication brings it up again.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from flows.events import QUERY_MATCHED, emit
from flows.told import Told, replace_file
from index.hits import Hit, harmless
from index.lists import Generation
from index.searcher import Searcher
from pipeline.archive import Archive, open_archive
from pipeline.errors import ArchiveError, ConfigError, QueryError
from pipeline.media import Media, Modality

FILE = "saved_queries.json"
FLOOR = 0.8
"""Least score of a moment that is told. Of 40 questions that the demo's archive does not answer, one in 30 reaches it
with some moment of three files; of ten that it does answer, half."""
MOST_TOLD = 20
"""Of one question and one publication, the best."""
LONGEST_WORDS = 1000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """A question that new footage is asked."""

    words: str
    modality: str | None = None
    media: str | None = None

    @property
    def key(self) -> str:
        """Return what makes it this question."""
        return "\n".join((self.words, self.modality or "", self.media or ""))

    def as_dict(self) -> dict[str, str]:
        """Return it as plain values, without what it does not say."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Match:
    """A new moment that answers a question."""

    question: Question
    hit: Hit

    @property
    def key(self) -> str:
        """Return what makes it this match."""
        return f"{self.hit.moment_id}\n{self.question.key}"

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, without what is said in the moment."""
        hit = self.hit
        return {
            "question": self.question.words,
            "uri": hit.uri,
            "start_seconds": hit.start_seconds,
            "stop_seconds": hit.stop_seconds,
            "modality": hit.modality,
            "score": round(hit.score, 3),
            "asset_id": hit.asset_id,
            "moment_id": str(hit.moment_id),  # 63 bits: more than JavaScript's numbers hold
        }


def add(options: argparse.Namespace) -> None:
    """Save a question."""
    archive = open_archive(options.archive)
    question = _checked(archive, asdict(Question(options.words.strip(), options.modality, options.media)))
    account = Told(archive.root)
    with account.held():
        saved = read(archive)
        if question in saved:
            print(f"{harmless(question.words)!r} is saved already.", file=sys.stderr)
            return
        if not saved:
            account.note_asked(_in_force(archive))  # nobody kept an account of it
        _write(archive, [*saved, question])
    print("Saved. New footage that answers it is told as an event, rushes.query.matched.", file=sys.stderr)


def listed(options: argparse.Namespace) -> None:
    """Print the saved questions."""
    saved = read(open_archive(options.archive))
    for question in saved:
        if options.json:
            print(json.dumps(question.as_dict(), ensure_ascii=False))
        else:
            narrowed = ", ".join(each for each in (question.modality, question.media) if each)
            print(harmless(question.words) + (f"  ({narrowed})" if narrowed else ""))
    if not saved and not options.json:
        print("No question is saved.")


def remove(options: argparse.Namespace) -> None:
    """Drop a saved question, however it was narrowed."""
    archive = open_archive(options.archive)
    with Told(archive.root).held():
        saved = read(archive)
        kept = [question for question in saved if question.words != options.words.strip()]
        if kept == saved:
            raise ConfigError(
                f"{options.words!r} is not among the saved questions; see `rushes watch-query list {options.archive}`."
            )
        _write(archive, kept)
    print("Dropped.", file=sys.stderr)


def read(archive: Archive) -> list[Question]:
    """Return the saved questions.

    Raises:
        ConfigError: the file was edited into something that cannot be; the message says where and what.
    """
    path = archive.root / FILE
    try:
        said = json.loads(path.read_text("utf8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as exc:
        raise ConfigError(f"{path} cannot be read ({exc}); correct it, or remove it to have no questions.") from exc
    if not isinstance(said, list):
        raise ConfigError(f'{path} needs to be a list of questions, such as [{{"words": "a flood"}}].')
    return list(dict.fromkeys(_checked(archive, each) for each in said))


def ask(archive: Archive, generation: str) -> list[Match]:
    """Ask the footage that is new in the generation in force, and emit an event for each moment that answers.

    New is what was in no generation that was asked before; the first time, nothing is. Running it again tells nothing
    twice.

    Args:
        archive: the archive.
        generation: the one that was published, which the events name.

    Returns:
        What was told; empty where there is no Prefect API.

    Raises:
        ConfigError: the file with the questions cannot be read.
    """
    questions = read(archive)
    if not questions:
        return []
    account = Told(archive.root)
    with account.held():
        searcher = Searcher(archive)
        ids = searcher.generation.assets["asset_id"].to_pylist()
        told: list[Match] = []
        for match in _matches(searcher, questions, account.new(ids)) if account.is_kept else ():
            if account.is_told(match.key):
                continue
            payload = {"generation": generation, **match.as_dict()}
            if not emit(QUERY_MATCHED, archive.root, payload, once=match.key):
                return told
            account.note_told(match.key)
            told.append(match)
        account.note_asked(ids)
        return told


def _in_force(archive: Archive) -> list[str]:
    """Return the assets of the generation in force; none where there is none yet."""
    try:
        ids: list[str] = Generation.in_force(archive.index).assets["asset_id"].to_pylist()
    except ArchiveError:
        return []
    return ids


def _matches(searcher: Searcher, questions: Sequence[Question], new: frozenset[str]) -> Iterator[Match]:
    for question in questions if new else ():
        try:
            hits = searcher.search(
                question.words, k=MOST_TOLD, modality=question.modality, media=question.media, among=new
            )
        except QueryError as error:
            _log.warning("The saved question %r was not asked: %s", question.words, error)
            continue
        yield from (Match(question, hit) for hit in hits if hit.score >= FLOOR)


def _checked(archive: Archive, said: Any) -> Question:
    path = archive.root / FILE
    known = {field.name for field in fields(Question)}
    if not isinstance(said, dict) or not said.keys() <= known or not isinstance(said.get("words"), str):
        raise ConfigError(
            f'{path}: {said!r} is no question; write {{"words": "a flood"}}, modality and media if wanted.'
        )
    question = Question(**{**said, "words": said["words"].strip()})
    if not 0 < len(question.words) <= LONGEST_WORDS:
        raise ConfigError(f"{path}: a question needs words, {LONGEST_WORDS} characters at most; correct it.")
    kinds: Sequence[str]
    for value, kinds in ((question.modality, list(Modality)), (question.media, list(Media))):
        if value is not None and value not in kinds:
            raise ConfigError(f"{path}: {value!r} is not known; known are {', '.join(kinds)}.")
    return question


def _write(archive: Archive, questions: Sequence[Question]) -> None:
    body = json.dumps([question.as_dict() for question in questions], indent=1, ensure_ascii=False)
    replace_file(archive.root / FILE, f"{body}\n".encode())
