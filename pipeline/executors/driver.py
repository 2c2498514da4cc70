"""The entry point of a job on a cluster: a whole ingest there, told line by line in the job's log.

    RUSHES_ORDER='{"archive": "/archives/news"}' python -m pipeline.executors.driver

What to do comes in a variable, since an entry point is a line for a shell: nothing of an archive's name is in it.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from pipeline.archive import open_archive
from pipeline.budget import Budget
from pipeline.errors import RushesError
from pipeline.executors.ray import run
from pipeline.executors.telling import Telling
from pipeline.ingest import ingest

ORDER = "RUSHES_ORDER"


@dataclass(frozen=True)
class Order:
    """The arguments of an ingest, as they travel to a cluster."""

    archive: str
    """Its folder, absolute, where the cluster sees it."""
    limit: int | None = None
    first: tuple[str, ...] = ()
    stops_at: str | None = None
    """ISO 8601, with an offset."""
    max_gpu_seconds: float | None = None
    stable_seconds: float = 0.0

    def as_text(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Order:
        """Return what `as_text` wrote."""
        said = json.loads(text)
        return cls(**{**said, "first": tuple(said.get("first", ()))})

    @property
    def budget(self) -> Budget:
        """Return where it stops."""
        return Budget(datetime.fromisoformat(self.stops_at) if self.stops_at else None, self.max_gpu_seconds)


def main() -> int:
    """Do what the order says; return 2 when that ended with a sentence for people."""
    order, telling = Order.read(os.environ[ORDER]), Telling()
    try:
        archive = open_archive(Path(order.archive))
        report = ingest(
            archive, run, telling, limit=order.limit, budget=order.budget, first=order.first,
            stable_seconds=order.stable_seconds,
        )  # fmt: skip
    except RushesError as error:
        telling.failed(error)
        return 2
    telling.ended(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
