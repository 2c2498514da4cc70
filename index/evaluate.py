"""How well an archive answers questions whose answers are known, as its users ask them.

Every truth counts by itself: a question that two files answer is two truths, and the file that comes second cannot be
first. A hit is the answer if it is of the same file and, where the truth has an interval, shares at least half of the
shorter of the two with it; words about a whole film (its name, its title) are no answer to when.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from index.evaluation import CUTS, DEPTH, Answer, Evaluation, Group, some
from index.generation import current
from index.hits import Hits
from index.lists import Generation
from index.measures import ndcg, resampled, share
from index.perceived import labels, words
from index.searcher import Searcher
from index.thresholds import curve
from index.truths import Narrowed, Place, Truth, Unanswerable, answers, read_truths
from pipeline.archive import Archive
from pipeline.errors import ConfigError

AT_ONCE = 64


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
    if not known and not read.unanswerable:
        told = f"; it names {some(missing)}" if missing else ""
        raise ConfigError(f"{truths} has nothing to ask of {archive.root}{told}; name files as hits show them.")
    found = _ask(searcher, [truth for truth in known if truth.query])
    return Evaluation(
        generation=searcher.generation.manifest.generation,
        groups=_groups(found),
        answers=tuple(found),
        curve=curve(
            _best_scores(searcher, read.unanswerable), [each.score for each in found if each.depth <= max(CUTS)]
        ),
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
    """Return the answers in the order of the truths."""
    found: dict[int, Answer] = {}
    for rows, hits in _hits(searcher, truths, DEPTH):
        found |= {n: _answer(truths[n], hits, searcher.generation) for n in rows}
    return [found[n] for n in range(len(truths))]


def _best_scores(searcher: Searcher, questions: Sequence[Unanswerable]) -> list[float]:
    """Return the score of the best hit of each question; 0 where there is none."""
    return [hits[0].score if hits else 0.0 for rows, hits in _hits(searcher, questions, 1) for _ in rows]


def _hits(searcher: Searcher, questions: Sequence[Truth | Unanswerable], k: int) -> Iterator[tuple[list[int], Hits]]:
    """Ask each question once, many at a time; yield the rows that ask it, and its hits."""
    asked: dict[Narrowed, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for n, question in enumerate(questions):
        asked[question.narrowed][question.query].append(n)
    for narrowed, by_query in asked.items():
        queries = list(by_query)
        for at in range(0, len(queries), AT_ONCE):
            some = queries[at : at + AT_ONCE]
            found = searcher.search_each(some, k=k, **dict(narrowed))
            yield from ((by_query[query], hits) for query, hits in zip(some, found, strict=True))


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
