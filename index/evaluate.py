"""How well an archive answers questions whose answers are known, as its users ask them.

Every truth counts by itself: a question that two files answer is two truths, and the file that comes second cannot be
first. A hit is the answer if it is of the same file and, where the truth has an interval, shares at least half of the
shorter of the two with it; words about a whole film (its name, its title) are no answer to when.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from index.generation import current
from index.hits import Hits, harmless
from index.lists import Generation
from index.measures import Interval, ndcg, resampled, share
from index.perceived import Labels, Words, labels, words
from index.searcher import Searcher
from index.truths import Place, Truth, answers, read_truths
from pipeline.archive import Archive
from pipeline.errors import ConfigError

CUTS = (1, 5, 10)
DEPTH = 100
"""Hits that are asked for; an answer that is not among them was not found, and its rank counts as one more."""
AT_ONCE = 64
NAMED = 5
"""How many of a kind a text names before it only counts."""


@dataclass(frozen=True)
class Answer:
    """A truth that was asked for, and where it was found."""

    kind: str
    query: str
    file: str
    start_seconds: float
    stop_seconds: float
    rank: int | None
    """From 1; None: not among the first `DEPTH` hits."""
    score: float
    """Of that hit, in (0, 1); 0: none."""

    @property
    def depth(self) -> int:
        """Return the rank, or one more than the depth that was searched."""
        return self.rank or DEPTH + 1


@dataclass(frozen=True)
class Group:
    """How the questions of one kind fared."""

    kind: str
    n: int
    recall: Mapping[int, Interval]
    """k → share of the truths that are among the first k hits."""
    ndcg: Interval
    """At 10, in [0, 1]; mean over the questions."""
    median_rank: Interval
    """`DEPTH` + 1: not found."""


@dataclass(frozen=True)
class Evaluation:
    """How one generation fared."""

    generation: str
    groups: tuple[Group, ...]
    """By kind; the last is over all."""
    answers: tuple[Answer, ...]
    labels: Labels | None
    words: Words | None
    n_skipped: int
    """Rows with no query, label or text."""
    missing: Mapping[str, int]
    """Files that are not in the archive → how many rows name them."""
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values; intervals as [value, low, high]; a rank that was not found as null."""
        return {
            "generation": self.generation,
            "questions": len(self.answers),
            "kinds": {group.kind: _group_dict(group) for group in self.groups},
            "labels": self.labels
            and {"n": self.labels.n, "first": self.labels.first.as_list(), "among": self.labels.among.as_list()},
            "words": self.words
            and {"files": self.words.n_files, "words": self.words.n_words, "error": self.words.rate.as_list()},
            "skipped": self.n_skipped,
            "missing": dict(self.missing),
            "seconds": round(self.seconds, 3),
        }

    def as_text(self) -> str:
        """Return it as a table for people, with 95% intervals."""
        lines = [f"{self.generation}: {len(self.answers)} truths asked in {self.seconds:.0f} s; 95% intervals."]
        if self.groups:
            lines += _columns([_HEAD, *(_group_row(group) for group in self.groups)])
        if self.labels:
            lines.append(f"labels: {self.labels.n}, the first right {self.labels.first}, of five {self.labels.among}")
        if self.words:
            of = f"{self.words.n_words} words in {self.words.n_files} files"
            lines.append(f"transcripts: word error {self.words.rate}, {of}")
        if self.n_skipped:
            lines.append(f"Skipped: {self.n_skipped} rows without a query, a label or a text.")
        if self.missing:
            lines.append(f"Not in the archive: {_some(self.missing)}; {sum(self.missing.values())} rows left out.")
        return "\n".join(lines)


def truths_of(archive: Archive, given: Path | None = None) -> Path:
    """Return the file of truths: the one that was given, else the one that rushes.toml names, below the archive.

    Raises:
        ConfigError: there is neither.
    """
    if given is None and not archive.settings.truths:
        raise ConfigError(f"Nothing to ask: give --truths FILE, or set `truths` in {archive.root / 'rushes.toml'}.")
    return given if given is not None else archive.root / Path(archive.settings.truths).expanduser()


def evaluate(archive: Archive, truths: Path, generation: str | None = None) -> Evaluation:
    """Ask a generation all questions of a file of truths, and hold its labels and transcripts against them.

    Args:
        archive: the archive.
        truths: a JSON array or JSON lines; see `index.truths`.
        generation: such as gen-000011; None: the one in force.

    Raises:
        ConfigError: the truths cannot be read, or none of their files is in the archive.
        ArchiveError: there is no such generation.
        QueryError: the generation was built with encoders that are no longer the profile's.
    """
    began = time.perf_counter()
    read = read_truths(truths)
    searcher = Searcher(archive, generation or current(archive.index).name)
    known, missing = _known(read.rows, searcher.generation)
    if not known:
        told = f"; it names {_some(missing)}" if missing else ""
        raise ConfigError(f"{truths} has nothing to ask of {archive.root}{told}; name files as hits show them.")
    found = _ask(searcher, [truth for truth in known if truth.query])
    return Evaluation(
        generation=searcher.generation.manifest.generation,
        groups=_groups(found),
        answers=tuple(found),
        labels=labels(searcher.generation, known),
        words=words(searcher.generation, known),
        n_skipped=read.n_skipped,
        missing=missing,
        seconds=time.perf_counter() - began,
    )


def _known(rows: Iterable[Truth], generation: Generation) -> tuple[list[Truth], dict[str, int]]:
    """Return the rows whose file the generation has, and the files that it lacks, with the number of their rows."""
    known: list[Truth] = []
    missing: Counter[str] = Counter()
    for row in rows:
        if generation.rows_of(row.place.file):
            known.append(row)
        else:
            missing[row.place.file] += 1
    return known, dict(missing)


def _as_shown(place: Place, generation: Generation) -> Place:
    """Return a place by the name that hits have for its file: the same file may lie in several."""
    assets = generation.rows_of(place.file)
    if len(assets) != 1:  # several sources have a file of this name, and each is right
        return place
    return replace(place, file=generation.assets["uris"][assets[0]][0].as_py())


def _ask(searcher: Searcher, truths: Sequence[Truth]) -> list[Answer]:
    """Ask every question once, many at a time; return the answers in the order of the truths."""
    asked: dict[tuple[tuple[str, str], ...], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for n, truth in enumerate(truths):
        asked[truth.narrowed][truth.query].append(n)
    found: dict[int, Answer] = {}
    for narrowed, by_query in asked.items():
        queries = list(by_query)
        for at in range(0, len(queries), AT_ONCE):
            some = queries[at : at + AT_ONCE]
            for query, hits in zip(some, searcher.search_each(some, k=DEPTH, **dict(narrowed)), strict=True):
                found |= {n: _answer(truths[n], hits, searcher.generation) for n in by_query[query]}
    return [found[n] for n in range(len(truths))]


def _answer(truth: Truth, hits: Hits, generation: Generation) -> Answer:
    shown = _as_shown(truth.place, generation)
    right = next((hit for hit in hits if answers(hit, shown)), None)
    rank, score = (right.rank, right.score) if right else (None, 0.0)
    place = truth.place
    return Answer(truth.kind, truth.query, place.file, place.start_seconds, place.stop_seconds, rank, score)


def _groups(found: Sequence[Answer]) -> tuple[Group, ...]:
    kinds = list(dict.fromkeys(answer.kind for answer in found))
    by_kind = [_group(kind, [answer for answer in found if answer.kind == kind]) for kind in kinds if kind]
    return (*by_kind, _group("all", found)) if found else ()


def _group(kind: str, found: Sequence[Answer]) -> Group:
    by_question: dict[tuple[str, str], list[int | None]] = defaultdict(list)
    for answer in found:
        by_question[answer.kind, answer.query].append(answer.rank)
    return Group(
        kind=kind,
        n=len(found),
        recall={k: share([answer.depth <= k for answer in found]) for k in CUTS},
        ndcg=resampled([ndcg(ranks, 10) for ranks in by_question.values()], np.mean),
        median_rank=resampled([answer.depth for answer in found], np.median),
    )


_HEAD = ("kind", "n", *(f"recall@{k}" for k in CUTS), "nDCG@10", "median rank")


def _group_row(group: Group) -> tuple[str, ...]:
    ranks = group.median_rank
    told = [f">{DEPTH}" if rank > DEPTH else f"{rank:g}" for rank in (ranks.value, ranks.low, ranks.high)]
    return (
        harmless(group.kind), str(group.n), *(str(group.recall[k]) for k in CUTS), str(group.ndcg),
        f"{told[0]} [{told[1]}, {told[2]}]",
    )  # fmt: skip


def _group_dict(group: Group) -> dict[str, Any]:
    ranks = [None if rank > DEPTH else rank for rank in group.median_rank.as_list()]
    recall = {f"recall@{k}": group.recall[k].as_list() for k in CUTS}
    return {"n": group.n, **recall, "ndcg@10": group.ndcg.as_list(), "median_rank": ranks}


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(harmless(name) for name in names[:NAMED]) + more
