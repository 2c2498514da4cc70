"""One figure of a benchmark, how it is held against its bound, and how figures are printed."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from index.measures import resampled
from tests.benchmarks.processes import load

RESAMPLES = 10_000


@dataclass(frozen=True)
class Figure:
    """One row of the table; exactly these fields are in its JSON."""

    name: str
    value: float | None
    """None: not run here; `quality` says why."""
    unit: str
    floor: float | None = None
    """The bound; a name that ends in "at most" is held from below it."""
    holds: bool | None = None
    """None where there is no bound."""
    contender: str | None = None
    """What it was measured against in the same run."""
    quality: str = ""
    """What one must know to judge the value: how many, how spread, under which load."""

    def as_json(self) -> str:
        """Return one line of JSON."""
        value = None if self.value is None else _rounded(self.value)
        return json.dumps({**asdict(self), "value": value}, ensure_ascii=False)

    def as_cell(self) -> str:
        """Return the value in four digits."""
        return "not run" if self.value is None else f"{_rounded(self.value):g}"


def at_least(name: str, value: float, unit: str, floor: float, **said: str) -> Figure:
    """Return a figure that holds when it reaches its bound."""
    return Figure(name, value, unit, floor, bool(value >= floor), **said)


def at_most(name: str, value: float, unit: str, bound: float, **said: str) -> Figure:
    """Return a figure that holds when it stays within its bound."""
    return Figure(f"{name}, at most", value, unit, bound, bool(value <= bound), **said)


def not_run(name: str, unit: str, why: str, floor: float | None = None) -> Figure:
    """Return a figure for what cannot be measured here."""
    return Figure(name, None, unit, floor, quality=f"not run: {why}")


def interval_of_mean(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the mean: the values are drawn again, with replacement."""
    interval = resampled(values, np.mean, seed)
    return interval.low, interval.high


def interval_of_ratio(above: Sequence[float], below: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the ratio of two medians; pairs, measured in one round, are drawn together.

    Args:
        above: of each round, what stands above the line.
        below: of the same rounds, what stands below it.
    """
    rounds = np.random.default_rng(seed).integers(0, len(above), (RESAMPLES, len(above)))
    ratios = np.median(np.asarray(above)[rounds], axis=1) / np.median(np.asarray(below)[rounds], axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(low), float(high)


def table(figures: Sequence[Figure]) -> str:
    """Return figures as a table in Markdown, which reads well as plain text too."""
    rows = [["name", "value", "unit", "floor", "holds", "contender", "quality"]]
    for f in figures:
        holds = {True: "yes", False: "NO", None: ""}[f.holds]
        floor = "" if f.floor is None else f"{f.floor:g}"
        rows.append([f.name, f.as_cell(), f.unit, floor, holds, f.contender or "", f.quality])
    rows.insert(1, ["---"] * len(rows[0]))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)] + [0]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    )


def report(figures: Iterable[Figure], *, as_json: bool, out: Path | None = None) -> int:
    """Print figures as they come, or in the end as a table with machine and date; return 1 if one does not hold.

    Args:
        figures: measured as they are asked for.
        as_json: one object a line on stdout, and no table.
        out: a file to which the lines are added too, each as soon as it is known.
    """
    seen = []
    for figure in figures:
        seen.append(figure)
        if out:
            with out.open("a", encoding="utf8") as file:
                file.write(f"{figure.as_json()}\n")
        if as_json:
            print(figure.as_json(), flush=True)
        else:
            print(f"{figure.name}: {figure.as_cell()} {figure.unit}", file=sys.stderr, flush=True)
    if not as_json:
        where = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {load()}"
        print(f"{time.strftime('%d %B %Y')}; {where}\n\n{table(seen)}")
    return int(any(figure.holds is False for figure in seen))


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
