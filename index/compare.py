"""Two generations that were asked the same truths: what has become better, and which questions got worse."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from index.evaluation import Answer, Evaluation
from index.hits import harmless
from index.measures import Interval, resampled


@dataclass(frozen=True)
class Comparison:
    """What changed between two generations, for the truths that both were asked."""

    before: str
    now: str
    recall: Interval
    """By how much recall@10 has grown, over all."""
    n_better: int
    worse: tuple[tuple[Answer, Answer], ...]
    """Before and now, where the answer now comes later or is lost; those that fell furthest first."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        worse = [{**asdict(now), "rank_before": before.rank} for before, now in self.worse]
        return {"before": self.before, "recall@10": self.recall.as_list(), "better": self.n_better, "worse": worse}

    def as_text(self) -> str:
        """Return it for people, with each question that got worse."""
        grown = f"{self.recall.value:+.3f} [{self.recall.low:+.3f}, {self.recall.high:+.3f}]"
        counts = f"{self.n_better} better, {len(self.worse)} worse{':' if self.worse else '.'}"
        lines = [f"Against {self.before}: recall@10 {grown}; {counts}"]
        for before, now in self.worse:
            at = f" at {now.start_seconds:g} s" if now.stop_seconds else ""
            ranks = f"{before.rank} → {now.rank or 'lost'}"
            lines.append(f"  {ranks}  {harmless(now.query)}  ({harmless(now.file)}{at})")
        return "\n".join(lines)


def compare(before: Evaluation, now: Evaluation) -> Comparison:
    """Compare two generations that were asked the same truths."""
    earlier = {_key(answer): answer for answer in before.answers}
    pairs = [(earlier[_key(answer)], answer) for answer in now.answers if _key(answer) in earlier]
    grown = [float(b.depth <= 10) - float(a.depth <= 10) for a, b in pairs]
    worse = [(a, b) for a, b in pairs if b.depth > a.depth]
    return Comparison(
        before=before.generation,
        now=now.generation,
        recall=resampled(grown, np.mean) if grown else Interval(0.0, 0.0, 0.0),
        n_better=sum(b.depth < a.depth for a, b in pairs),
        worse=tuple(sorted(worse, key=lambda pair: (pair[0].depth - pair[1].depth, pair[0].depth))),
    )


def _key(answer: Answer) -> Answer:
    return replace(answer, rank=None, score=0.0)
