"""How an archive's answers have fared from night to night: one line a night, kept in the archive, drawn in the UI."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from flows.chart import chart
from index.evaluation import Evaluation
from pipeline.archive import Archive

FILE = "evaluations.jsonl"
"""Lies in the archive. Figures only: no question and no file is named in it."""
MOST_NIGHTS = 120
DRAWN = ("recall@1", "recall@10", "nDCG@10", "labels", "word error")

Row = dict[str, Any]


def note(archive: Archive, evaluation: Evaluation) -> list[Row]:
    """Add an evaluation to the history; return what is shown of it, the newest first."""
    with (archive.root / FILE).open("a", encoding="utf8") as file:
        file.write(json.dumps(_row(evaluation)) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return history(archive)


def history(archive: Archive) -> list[Row]:
    """Return the evaluations so far, the newest first; a line that a killed run left unfinished is passed over."""
    try:
        lines = (archive.root / FILE).read_text("utf8").splitlines()
    except FileNotFoundError:
        return []
    rows = []
    for line in lines[-MOST_NIGHTS:]:
        try:
            rows.append(dict(json.loads(line)))
        except ValueError:
            continue
    return rows[::-1]


def drawn(rows: Sequence[Row]) -> str:
    """Return a drawing of the figures over time, as a data: URI."""
    nights = rows[::-1]
    lines = {name: [night.get(name) for night in nights] for name in DRAWN}
    return chart({name: line for name, line in lines.items() if any(value is not None for value in line)})


def _row(evaluation: Evaluation) -> Row:
    figures: dict[str, float] = {}
    if evaluation.groups:
        everything = evaluation.groups[-1]
        figures |= {f"recall@{k}": each.value for k, each in everything.recall.items()}
        figures["nDCG@10"] = everything.ndcg.value
    if evaluation.labels:
        figures["labels"] = evaluation.labels.first.value
    if evaluation.words:
        figures["word error"] = evaluation.words.rate.value
    return {
        "evaluated": datetime.now(UTC).isoformat(timespec="minutes"),
        "generation": evaluation.generation,
        "questions": len(evaluation.answers),
        **{name: round(value, 4) for name, value in figures.items()},
        "seconds": round(evaluation.seconds, 1),
    }
