"""From candidates of several lists to hits: one for each moment of an asset, with all that speaks for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from encoders.spec import Label
from index.calibrate import score
from index.hits import Hit, Hits, harmless
from index.lists import Generation, MomentList
from pipeline.parts import Part, part_of

LEAST_SHARED = 0.5
"""Two moments of one asset are the same when they share this much of the shorter one."""
SPEAKS_FOR_IT = 0.0
"""A candidate below it did no better than an unrelated question's best, and is no evidence."""
QUOTED = 120
_OTHER_TRACK = re.compile(r"(?:speech|translation:[^:]+):(a:\d+)$")
N_LABELS = 3


@dataclass(frozen=True)
class Candidate:
    """One row of one list, and by how much it beats an unrelated question's best hit."""

    source: MomentList
    row: int
    excess: float

    @cached_property
    def moment(self) -> Mapping[str, Any]:
        """Return what the row is."""
        return self.source.row(self.row)

    @property
    def modality(self) -> str:
        """Return the list's modality."""
        return self.source.entry.modality

    @cached_property
    def part(self) -> Part:
        """Return which part of its asset the row belongs to."""
        return part_of(self.modality, self.moment["track"])


@dataclass
class Folded:
    """The best candidate for a moment, and the others that speak for it."""

    best: Candidate
    others: list[Candidate] = field(default_factory=list)


def fold(candidates: Sequence[Candidate], k: int) -> list[Folded]:
    """Return the k best moments; candidates of the same asset and time, in whatever modality, become one."""
    folded: list[Folded] = []
    by_asset: dict[int, list[Folded]] = {}
    for candidate in sorted(candidates, key=lambda c: (-c.excess, c.modality, c.row)):
        asset = int(candidate.source.asset_rows[candidate.row])
        same = next((f for f in by_asset.get(asset, ()) if _same(f.best, candidate)), None)
        if same is not None:
            told = {c.part for c in (same.best, *same.others)}
            if candidate.part not in told and candidate.excess >= SPEAKS_FOR_IT:
                same.others.append(candidate)
        elif len(folded) < k:
            folded.append(Folded(candidate))
            by_asset.setdefault(asset, []).append(folded[-1])
    return folded


def _same(a: Candidate, b: Candidate) -> bool:
    first, second = a.moment, b.moment
    if not (first["stop_seconds"] and second["stop_seconds"]):
        return True  # a still picture has no other moments
    if (a.part == Part.TEXT) != (b.part == Part.TEXT):
        return False  # a title speaks for the whole film, and would swallow each of its moments
    shared = min(first["stop_seconds"], second["stop_seconds"]) - max(first["start_seconds"], second["start_seconds"])
    shorter = min(m["stop_seconds"] - m["start_seconds"] for m in (first, second))
    return bool(shared > 0 and shared >= LEAST_SHARED * shorter)


def present(folded: Sequence[Folded], generation: Generation) -> Hits:
    """Return folded candidates as hits, ranked from 1."""
    hits = [_hit(rank, each, generation) for rank, each in enumerate(folded, 1)]
    return Hits(hits, generation.manifest.generation)


def _hit(rank: int, each: Folded, generation: Generation) -> Hit:
    moment = each.best.moment
    asset = generation.assets.slice(moment["asset_row"], 1).to_pylist()[0]
    thumb = next((c.moment["thumb"] for c in (each.best, *each.others) if _has_thumb(c)), None)
    return Hit(
        rank=rank,
        score=score(each.best.excess),
        why="; ".join(dict.fromkeys(_why(c) for c in (each.best, *each.others))),
        uri=asset["uris"][0] if asset["uris"] else "",
        asset_id=asset["asset_id"],
        moment_id=moment["moment_id"],
        modality=each.best.modality,
        start_seconds=moment["start_seconds"],
        stop_seconds=moment["stop_seconds"],
        text=moment["text"] or "",
        language=moment["language"] or "",
        labels=_labels(moment),
        thumb=f"thumbs/{thumb['pack']}#{thumb['offset']}+{thumb['length']}" if thumb else "",
        space=each.best.source.entry.space,
        track=moment["track"],
    )


def _has_thumb(candidate: Candidate) -> bool:
    thumb = candidate.moment["thumb"]
    return bool(thumb and thumb["pack"])


def _labels(moment: Mapping[str, Any]) -> tuple[Label, ...]:
    return tuple(Label(label["name"], round(label["score"], 4)) for label in moment["labels"] or ())


def _where(track: str) -> str:
    """Return in which words' track something is said, where it is not the one that a player plays."""
    told = ["translated"] if "translation:" in track else []
    told += [f"sound track {found[1]}"] if (found := _OTHER_TRACK.search(track)) else []
    return f" ({', '.join(told)})" if told else ""


def _why(candidate: Candidate) -> str:
    moment = candidate.moment
    seen = ", ".join(f"{label.name} {label.score:.0%}" for label in _labels(moment)[:N_LABELS])
    said = harmless(moment["text"] or "")
    quoted = f'"{said[:QUOTED]}…"' if len(said) > QUOTED else f'"{said}"'
    match candidate.part:
        case Part.VISUAL:
            return f"looks like {seen}" if seen else "by its looks"
        case Part.CLIPS:
            return f"happens: {seen}" if seen else "by what happens in it"
        case Part.AUDIO:
            return f"sounds like {seen}" if seen else "by its sound"
        case Part.SPEECH:
            return f"says {quoted}{_where(moment['track'])}"
        case Part.CAPTIONS:
            return f"caption says {quoted}"
        case Part.WRITING:
            return f"on screen {quoted}"
        case Part.TEXT:
            return f"{moment['track']}: {quoted}"
        case _:
            return "; ".join(
                part for part in (f"shows {seen}" if seen else "", f"says {quoted}" if said else "") if part
            )
