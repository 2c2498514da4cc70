"""What an evaluation of an archive's answers has found, and how it is told to people and to programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from index.hits import harmless
from index.measures import Interval
from index.perceived import Labels, Words
from index.thresholds import Threshold

CUTS = (1, 5, 10)
DEPTH = 100
"""Hits that are asked for; an answer that is not among them was not found, and its rank counts as one more."""
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
    curve: tuple[Threshold, ...]
    """What thresholds on the score would do; empty where no row says that nothing answers it."""
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
            "thresholds": [
                {"score": at.score, "false_hits": at.false_hits.as_list(), "lost": at.lost.as_list()}
                for at in self.curve
            ],
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
        if self.curve:
            told = [(f"{at.score:g}", str(at.false_hits), str(at.lost)) for at in self.curve]
            lines += _columns([("score at least", "false hits", "lost answers"), *told])
        if self.labels:
            lines.append(f"labels: {self.labels.n}, the first right {self.labels.first}, of five {self.labels.among}")
        if self.words:
            of = f"{self.words.n_words} words in {self.words.n_files} files"
            lines.append(f"transcripts: word error {self.words.rate}, {of}")
        if self.n_skipped:
            lines.append(f"Skipped: {self.n_skipped} rows without a query, a label or a text.")
        if self.missing:
            lines.append(f"Not in the archive: {some(self.missing)}; {sum(self.missing.values())} rows left out.")
        return "\n".join(lines)


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


def some(names: Iterable[str]) -> str:
    """Return the first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(harmless(name) for name in names[:NAMED]) + more
