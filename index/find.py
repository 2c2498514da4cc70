"""From a question, as vectors, to hits in one generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from encoders.fusion import pool
from index.evidence import Candidate, fold, present
from index.hits import Hits
from index.lists import Generation, MomentList, Scope
from pipeline.errors import QueryError
from pipeline.media import Modality

ALIKE = (Modality.VISUAL, Modality.AUDIO, Modality.SPEECH)
"""In which way moments are alike when nobody says: the first of these that the moment has."""
SPARE = 8
"""Candidates per list for each hit that is wanted: folding needs some to spare."""


@dataclass(frozen=True)
class Question:
    """What is asked, in each space that it can enter."""

    kind: str
    """"words" or "media": which null the scores are held against."""
    vectors: Mapping[str, NDArray[np.float32]]
    """Space → float32 [dim]."""


def scope_in(
    generation: Generation,
    hidden: NDArray[np.bool_] | None,
    media: str | None,
    asset: str | None,
    between: tuple[float, float] | None,
    among: frozenset[str] | None,
) -> Scope:
    """Return which moments of a generation may answer; arguments are those of `Searcher.search`.

    Raises:
        QueryError: there is no such asset, or no such interval.
    """
    if between is not None and not 0 <= between[0] < between[1]:
        raise QueryError(f"between = {between} needs to be a start, 0 or more, and a later stop, in seconds.")
    without = hidden
    if among is not None:
        asked = generation.rows_among(among)
        without = _also(without, np.ones(len(generation.assets), bool) if asked is None else ~asked)
    if asset is not None:
        without = _also(without, np.arange(len(generation.assets)) != _asset(generation, hidden, asset))
    return Scope(media, without, between)


def _also(without: NDArray[np.bool_] | None, more: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return more if without is None else without | more


def find(generation: Generation, scope: Scope, question: Question, kinds: set[str], k: int) -> Hits:
    """Return the k best hits of a question among moments of some modalities.

    Raises:
        QueryError: the question reaches none of them.
    """
    asked = [each for each in generation.lists if each.entry.modality in kinds]
    reached = [each for each in asked if each.entry.space in question.vectors]
    if asked and not reached:
        raise QueryError(_unreached(asked, question.kind))
    candidates = [
        candidate
        for each in reached
        for candidate in _ask(each, question.vectors[each.entry.space], k * SPARE, question.kind, scope)
    ]
    return present(fold(candidates, k), generation)


def find_alike(
    generation: Generation, scope: Scope, like: str, at_seconds: float | None, k: int, modality: str | None
) -> Hits:
    """Return the k best moments of other assets that are like an asset, or like its moment at a time.

    Raises:
        QueryError: there is no such asset or moment.
    """
    seed = _asset(generation, scope.without, like)
    others = replace(scope, without=_also(scope.without, np.arange(len(generation.assets)) == seed))
    for kind in ALIKE if modality is None else (modality,):
        seeds = [
            (each, rows)
            for each in generation.lists
            if each.entry.modality == kind and len(rows := _rows_at(each, seed, at_seconds))
        ]
        if seeds:
            break
    else:
        when = "" if at_seconds is None else f" at {at_seconds:g} seconds"
        raise QueryError(f"{like} has no {modality or 'indexed'} moment{when}; see `rushes search` for its moments.")
    candidates: list[Candidate] = []
    for each, rows in seeds:
        vector = pool(np.asarray(each.vectors[rows], np.float32))
        candidates += _ask(each, vector, k * SPARE, "media", others)
    return present(fold(candidates, k), generation)


def _unreached(asked: Sequence[MomentList], kind: str) -> str:
    what = ", ".join(f"{each.entry.modality} ({each.entry.space})" for each in asked)
    if kind == "words":
        return f"Words do not reach {what}: the profile's encoders have changed; run `rushes ingest` first."
    return f"A picture or a sound alone does not reach {what}; ask in words, or for another modality."


def _ask(each: MomentList, vector: NDArray[np.float32], k: int, kind: str, scope: Scope) -> Sequence[Candidate]:
    found = each.search(vector, k, kind, scope)
    return [Candidate(each, int(row), float(excess)) for row, excess in zip(found.rows, found.excess, strict=True)]


def _asset(generation: Generation, hidden: NDArray[np.bool_] | None, like: str) -> int:
    rows = [row for row in generation.rows_of(like) if hidden is None or not hidden[row]]
    if not rows:
        raise QueryError(f"The index has no file {like}; give its path below its source, as hits show it.")
    if len(rows) > 1:
        places = ", ".join(generation.assets["locations"][row][0].as_py() for row in rows[:3])
        raise QueryError(f"{len(rows)} files are called {like}; give the full path of one: {places}.")
    return rows[0]


def _rows_at(each: MomentList, asset_row: int, at_seconds: float | None) -> NDArray[np.int64]:
    rows = np.flatnonzero(each.asset_rows == asset_row)
    if at_seconds is None or not len(rows):
        return rows
    starts, stops = (times[rows] for times in each.times)
    inside: NDArray[np.int64] = rows[(starts <= at_seconds) & ((at_seconds < stops) | (stops == 0))]
    return inside
