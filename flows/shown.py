"""How far a run is, in the Prefect UI: one progress artifact, and a line of log for each file that was not indexed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from flows.progress import Tally
from index.hits import harmless
from pipeline.executors.stages import Made
from pipeline.media import Outcome

EVERY_SECONDS = 5.0
"""An update of an artifact costs 50 ms and a row of the server's database."""

MOST_NAMED = 200
"""Files that the log names: each line is a row of the server's database."""


class Shown:
    """A `Watcher` for flows. Remembers which assets are new, and which files could not be used."""

    def __init__(self, name: str) -> None:
        self.fresh: dict[str, str] = {}
        """asset_id → path, of what this run has indexed, wholly or in part."""
        self.refused: list[tuple[str, str, str]] = []
        """Path, state and reason of each file that was not (wholly) indexed."""
        self._name = name
        self._tally = Tally()
        self._artifact: UUID | None = None
        self._told = 0.0
        self._log = get_run_logger()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep a progress artifact of the task run that this is called in up to date."""
        self._tally.began = self._told = time.monotonic()
        self._log = get_run_logger()
        made = create_progress_artifact(progress=0.0, key=f"progress-{self._name}", description=self._tally.told())
        self._artifact = made if isinstance(made, UUID) else None
        try:
            yield
        finally:
            self._tell(now=True)
            self._artifact = None

    def planned(self, n_files: int, n_bytes: int) -> None:
        """See `Watcher`."""
        self._tally.plan(n_files, n_bytes)

    def started(self, asset_id: str, n_bytes: int) -> None:
        """See `Watcher`."""
        self._tally.start(asset_id, n_bytes)

    def made(self, made: Made) -> None:
        """See `Watcher`."""
        self._tally.add(made)
        self._tell()

    def finished(self, asset_id: str, uri: str, state: str, reason: str) -> None:
        """See `Watcher`."""
        self._tally.finish(asset_id)
        if state in (Outcome.INDEXED, Outcome.PARTIAL):
            self.fresh[asset_id] = uri
        if reason:
            self.refused.append((uri, state, reason))
            if len(self.refused) <= MOST_NAMED:
                self._log.warning("%s: %s (%s)", state, harmless(uri), reason)
            elif len(self.refused) == MOST_NAMED + 1:
                self._log.warning("More files could not be used; the table of quarantine has them")
        self._tell()

    def _tell(self, *, now: bool = False) -> None:
        if self._artifact is None or (not now and time.monotonic() - self._told < EVERY_SECONDS):
            return
        self._told = time.monotonic()
        progress = round(100 * self._tally.share(), 1)
        try:
            update_progress_artifact(self._artifact, progress=progress, description=self._tally.told())
        except Exception as error:  # a server that is away for a moment costs a line of log, not the night's work
            self._log.warning("The progress artifact was not updated: %s", error)
