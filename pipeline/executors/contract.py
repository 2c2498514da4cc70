"""What a run asks of an executor, wherever that runs the stages."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Protocol

from pipeline.config import Settings
from pipeline.executors.stages import Job, Made, Result
from pipeline.recipe import Models

PULSE_SECONDS = 1.0


@dataclass(frozen=True)
class Pulse:
    """A sign of life between results, one in `PULSE_SECONDS` or more: whoever waits can look at the clock, and stop."""

    n_gpus: float = 0.0
    """How many GPUs are held just now; a part of one counts as that part."""


class Executor(Protocol):
    """Where the stages run: `pipeline.executors.local.run` or `pipeline.executors.ray.run`."""

    def __call__(
        self, jobs: Iterable[Job], settings: Settings, models: Models, watch: Callable[[Made], None]
    ) -> Generator[Result | Pulse]:
        """Do the jobs; yield a result for each, in any order, and a pulse now and then.

        Jobs are taken one by one, as there is room for them, from one thread at a time. Closing the iterator drops
        what is running and leaves no process behind.
        """
        ...
