"""What a generation says is seen, heard and said in its assets, held against the truth."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from index.lists import Generation, MomentList
from index.measures import Interval, resampled, share, word_errors
from index.truths import Place, Truth
from pipeline.media import Modality
from pipeline.passages import TRACK as PASSAGE

LABELLED = (Modality.VISUAL, Modality.AUDIO)
"""Whose labels count where the truth does not say: what is seen, or what is heard where there is nothing to see."""
AMONG = 5


@dataclass(frozen=True)
class Labels:
    """How often the labels are right."""

    n: int
    first: Interval
    """Share of the truths that are the best label."""
    among: Interval
    """Share of the truths that are among the best five."""


@dataclass(frozen=True)
class Words:
    """How well transcripts have what was said."""

    n_files: int
    n_words: int
    rate: Interval
    """Wrong, missing and surplus words for each word that was said; the interval is over files."""


def labels(generation: Generation, truths: Sequence[Truth]) -> Labels | None:
    """Hold the labels of moments against the truths that have one; None: no truth has."""
    ranks = [_rank_of_label(generation, truth) for truth in truths if truth.label]
    if not ranks:
        return None
    return Labels(
        len(ranks), share([rank == 1 for rank in ranks]), share([rank is not None and rank <= AMONG for rank in ranks])
    )


def words(generation: Generation, truths: Sequence[Truth]) -> Words | None:
    """Hold the transcripts against the truths that say what is said; None: none does.

    A file's sentences are taken together, since the truth's intervals need not be theirs: those whose middle lies in
    one count, of the transcript that came with the file, else of what was heard in its main track.
    """
    by_file: dict[str, list[Truth]] = defaultdict(list)
    for truth in truths:
        if truth.text:
            by_file[truth.place.file].append(truth)
    counts = []
    for file, told in by_file.items():
        said = _words(truth.text for truth in sorted(told, key=lambda truth: truth.place.start_seconds))
        heard = _words(_sentences(generation, file, [truth.place for truth in told]))
        if said:
            counts.append((word_errors(said, heard), len(said)))
    if not counts:
        return None
    rate = resampled(np.array(counts, np.float64), _rate)
    return Words(len(counts), sum(n for _, n in counts), rate)


def _rate(counts: Any, axis: int) -> Any:
    errors, n_words = counts.sum(axis=axis)
    return errors / n_words


def _rank_of_label(generation: Generation, truth: Truth) -> int | None:
    named = dict(truth.narrowed).get("modality")
    for modality in (named,) if named else LABELLED:
        best: dict[str, float] = {}
        for moment in _moments(generation, modality, truth.place):
            for label in moment["labels"] or ():
                best[label["name"]] = max(label["score"], best.get(label["name"], 0.0))
        if best:
            ordered = sorted(best, key=lambda name: (-best[name], name))
            return next((rank for rank, name in enumerate(ordered, 1) if _same(name, truth.label)), None)
    return None


def _same(name: str, label: str) -> bool:
    """Tell whether a label is meant; a name may have several words for it, with commas between them."""
    return label.casefold() in {name.casefold(), *(word.strip().casefold() for word in name.split(","))}


def _sentences(generation: Generation, file: str, places: Sequence[Place]) -> list[str]:
    by_track: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for moment in _moments(generation, Modality.SPEECH, Place(file)):
        middle = (moment["start_seconds"] + moment["stop_seconds"]) / 2
        within = any(not p.stop_seconds or p.start_seconds <= middle < p.stop_seconds for p in places)
        if within and not moment["track"].startswith((PASSAGE, "translation:")):
            by_track[moment["track"]].append(moment)
    if not by_track:
        return []
    track = min(by_track, key=lambda name: (name.startswith("speech"), name))  # what came with the file goes first
    return [moment["text"] or "" for moment in sorted(by_track[track], key=lambda moment: moment["start_seconds"])]


def _moments(generation: Generation, modality: str, place: Place) -> Iterable[Mapping[str, Any]]:
    """Yield the moments of a place, as plain values; an asset's rows lie together in a list."""
    assets = set(generation.rows_of(place.file))
    for each in generation.lists:
        if each.entry.modality == modality:
            for asset in assets:
                yield from (moment for moment in _of_asset(each, asset) if _shares(moment, place))


def _of_asset(each: MomentList, asset: int) -> list[Mapping[str, Any]]:
    low, high = np.searchsorted(each.asset_rows, [asset, asset + 1])
    moments: list[Mapping[str, Any]] = each.moments.slice(low, high - low).to_pylist()
    return moments


def _shares(moment: Mapping[str, Any], place: Place) -> bool:
    if not place.stop_seconds:
        return True
    return bool(moment["start_seconds"] < place.stop_seconds and moment["stop_seconds"] > place.start_seconds)


def _words(texts: Iterable[str]) -> list[str]:
    return re.findall(r"[\w']+", " ".join(texts).casefold().replace("’", "'"))
