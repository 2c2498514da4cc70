"""What a run tells: before it works, while it works, and in the end."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.executors.stages import Made
from pipeline.media import Outcome


class Watcher(Protocol):
    """Who is told how far a run is."""

    def planned(self, n_files: int, n_bytes: int) -> None:
        """So many files of so many bytes in all will be looked at."""

    def started(self, asset_id: str, n_bytes: int) -> None:
        """Work on an asset has begun."""

    def made(self, made: Made) -> None:
        """A piece of an asset went through the encoders."""

    def finished(self, asset_id: str, uri: str, state: str, reason: str) -> None:
        """An asset has ended in a state."""


@dataclass(frozen=True)
class Planned:
    """What a listing of the sources leaves to do, in numbers."""

    n_unchanged: int
    """Files that are as they were."""
    n_skipped: int
    """What is not looked into: links out of the source, folders that cannot be read."""
    n_files: int
    """Files that will be looked at."""
    n_bytes: int
    """The size of those."""
    n_beyond_limit: int
    """Files that wait for the next run because of `limit`."""


@dataclass
class Report:
    """How a run ended: for each state the number of assets in it, and why."""

    states: Counter[str] = field(default_factory=Counter)
    """indexed, partial, unchanged, quarantined, skipped, deleted, forgotten (it still lies in a source, and is left
    alone), deferred; their sum is all that was discovered."""
    reasons: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    """What speech and caption readers wrote that looks invented, by the reason not to believe it."""
    n_moments: int = 0
    media_seconds: float = 0.0
    seconds: float = 0.0
    stage_seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """list, look (read and hash), decode, encode, commit; of what runs in parallel the sum over its workers."""
    gpu_seconds: float = 0.0
    """Wall time of processing × GPUs that the encoders held."""
    interrupted: bool = False
    stopped: str = ""
    """Why the budget ended it early; empty: it did not."""
    n_left: int = 0
    """Files that wait for the next run."""
    left_bytes: int = 0
    nights_left: int | None = None
    """About how many windows like the schedule's the rest needs, at the speed of this run; None: nothing to tell."""

    @property
    def doubts(self) -> str:
        """Return what was left out as invented, for people: "3 repetition, 1 silence"; empty: nothing."""
        return ", ".join(f"{n} {reason}" for reason, n in self.left_out.most_common())

    @property
    def discovered(self) -> int:
        """Return the number of assets that were discovered."""
        return sum(self.states.values())

    @property
    def changed(self) -> bool:
        """Tell whether the tables differ from before."""
        return any(self.states[s] for s in Outcome if s != Outcome.FORGOTTEN)
