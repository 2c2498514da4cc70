"""One run over an archive's sources: list → plan → decode and encode → commit, batch by batch.

Takes no date and no list: it looks for what is new, changed, gone, or made by an older recipe. Every asset ends in one
state, and the states add up (`Report`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from pipeline.archive import Archive, writing
from pipeline.config import Settings
from pipeline.decode.limits import NotMediaError
from pipeline.executors.stages import DECODED, INCOMPLETE, Job, Made, Result
from pipeline.look import Look, is_as_listed, look_at
from pipeline.media import Modality, Moment, Outcome
from pipeline.recipe import MADE_FROM, Models, fingerprints
from pipeline.store.discover import Found, open_source
from pipeline.store.ledger import Ledger, Plan, id_of_place, stale
from pipeline.store.schemas import AssetRow, Location, moment_table
from pipeline.store.stored import stored_moments
from pipeline.store.tables import Batch, Tables
from pipeline.store.thumbs import write_pack

ASSETS_PER_COMMIT = 64
SECONDS_PER_COMMIT = 30.0
"""A killed run loses at most this much work."""
PASSING = frozenset({INCOMPLETE, "vanished", "no_permission", "io_error"})
"""Failures of the moment, not of the file: the next run tries again."""
MADE_OF_WORDS = frozenset({Modality.TEXT, Modality.SPEECH, Modality.SCENE})
"""What a change of the words that came with a file invalidates."""
DEFERRED, UNCHANGED = "deferred", "unchanged"


class Executor(Protocol):
    """Where the stages run: `pipeline.executors.local.run` or `pipeline.executors.ray.run`."""

    def __call__(
        self, jobs: Iterable[Job], settings: Settings, models: Models, watch: Callable[[Made], None]
    ) -> Generator[Result]:
        """Do the jobs; yield a result for each, in any order."""
        ...


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


@dataclass
class Report:
    """How a run ended: for each state the number of assets in it, and why."""

    states: Counter[str] = field(default_factory=Counter)
    """indexed, partial, unchanged, quarantined, skipped, deleted, deferred; their sum is all that was discovered."""
    reasons: Counter[str] = field(default_factory=Counter)
    n_moments: int = 0
    media_seconds: float = 0.0
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def discovered(self) -> int:
        """Return the number of assets that were discovered."""
        return sum(self.states.values())

    @property
    def changed(self) -> bool:
        """Tell whether the tables differ from before."""
        return any(self.states[s] for s in Outcome)


def ingest(archive: Archive, executor: Executor, watcher: Watcher, *, limit: int | None = None) -> Report:
    """Bring the tables of an archive up to date with its sources.

    Args:
        archive: the archive; held for writing while this runs.
        executor: where the stages run.
        watcher: told of progress.
        limit: process at most so many files; the rest is deferred to the next run.

    Raises:
        ArchiveError: another run holds the archive, or a source is not there.
    """
    with writing(archive):
        return _Run(archive, watcher, limit).go(executor)


class _Run:
    """One run's state: the ledger it started from, and the batch that it is filling."""

    def __init__(self, archive: Archive, watcher: Watcher, limit: int | None) -> None:
        self.archive, self.watcher, self.limit = archive, watcher, limit
        self.tables = Tables(archive.tables)
        self.tables.create()
        self.tables.recover()
        self.ledger = Ledger(self.tables.assets())
        self.models = Models.of(archive.settings.profile)
        self.recipe = fingerprints(archive.settings, self.models)
        self.looks: dict[str, Look] = {}  # of assets that are worked on
        self.makes: dict[str, frozenset[Modality]] = {}  # what is made of them
        self.places: dict[str, set[Location]] = {}  # every asset that was seen, and where
        self.state: dict[str, str] = {}
        self.report = Report()
        self.results: list[Result] = []
        self.skipped: list[AssetRow] = []
        self.lock = threading.RLock()  # executors take jobs from threads of their own
        self.committed_at = time.monotonic()

    def go(self, executor: Executor) -> Report:
        """Do it."""
        began = time.monotonic()
        plan = self.ledger.plan(self._listed(), self.recipe)
        for asset_id, places in plan.unchanged.items():
            self.places.setdefault(asset_id, set()).update(places)
            self.state[asset_id] = UNCHANGED
        self._skip(plan.skipped)
        wanted = plan.look[: self.limit]
        self.watcher.planned(len(wanted), sum(found.place.size for found, _ in wanted))
        try:
            stream = executor(self._jobs(plan), self.archive.settings, self.models, self.watcher.made)
            with closing(stream):
                for result in stream:
                    self._take(result)
        except KeyboardInterrupt:
            self.report.interrupted = True
        self._commit()
        if not self.report.interrupted:
            self._settle_places()
        self.report.states = Counter(self.state.values())
        self.report.seconds = time.monotonic() - began
        return self.report

    def _listed(self) -> Iterator[Found]:
        settings = self.archive.settings
        for uri in settings.sources:
            yield from open_source(uri, self.archive.root, follow_links=settings.follow_links).list()

    def _jobs(self, plan: Plan) -> Iterator[Job]:
        """Look at the planned files one after the other; yield a job for each asset that needs work."""
        for n, (found, known) in enumerate(plan.look):
            if self.limit is not None and n >= self.limit:
                self._defer(found)
                continue
            try:
                look = look_at(found, known.asset_id if known else None)
            except NotMediaError as error:
                self._skip([replace(found, skip=error.reason)])
                continue
            except OSError:
                self._defer(found)  # unreadable or gone since it was listed: the next run will see
                continue
            self._skip([Found(_beside(found.place, path), skip=error.reason) for path, error in look.refused])
            with self.lock:
                job = self._job(look)
            if job:
                self.watcher.started(look.asset_id, look.place.size)
                yield job

    def _job(self, look: Look) -> Job | None:
        self.places.setdefault(look.asset_id, set()).add(look.place)
        if look.asset_id in self.looks:  # the same content under another name
            return None
        row = self.ledger.rows.get(look.asset_id)
        makes = stale(row, self.recipe)
        if row is not None and row.words != look.words_hash:
            makes |= MADE_FROM[row.facts.media if row.facts else None] & MADE_OF_WORDS
        if not makes:
            self.state.setdefault(look.asset_id, UNCHANGED)
            return None
        self.looks[look.asset_id] = look
        self.makes[look.asset_id] = makes
        self.state[look.asset_id] = DEFERRED
        kept: tuple[Moment, ...] = ()
        if Modality.SCENE in makes and not makes >= DECODED and row is not None:
            kept = tuple(m for m in stored_moments(self.tables, self.archive.thumbs, look.asset_id, DECODED - makes))
        facts = row.facts if row else None
        return Job(look.asset_id, look.path, makes, look.transcripts, look.words, look.metadata, facts, kept)

    def _take(self, result: Result) -> None:
        look = self.looks[result.asset_id]
        if not is_as_listed(look.path, look.place):
            self._keep(look.place.location)
            return  # it changed while it was read: what was made is of no one file; deferred
        if result.failure is not None and result.failure.reason in PASSING:
            self._keep(look.place.location)
            return  # which says nothing about the file; deferred
        self.results.append(result)
        outcome, reason = _outcome(result)
        self.watcher.finished(look.asset_id, look.place.uri, outcome, reason)
        waited = time.monotonic() - self.committed_at
        if len(self.results) >= ASSETS_PER_COMMIT or waited >= SECONDS_PER_COMMIT:
            self._commit()

    def _commit(self) -> None:
        """Commit what has gathered."""
        with self.lock:
            rows, self.skipped = self.skipped, []
            self._commit_with(rows)

    def _commit_with(self, rows: list[AssetRow]) -> None:
        moments: list[Moment] = []
        recipes: dict[str, Mapping[str, str]] = {}
        replaces: dict[str, frozenset[Modality]] = {}
        for result in self.results:
            row = self._row(result)
            rows.append(row)
            recipes[row.asset_id] = row.recipe
            moments += result.moments
            if row.asset_id in self.ledger.rows:
                # what an asset cannot be any more goes as well: all of it if it failed
                replaces[row.asset_id] = frozenset(Modality) if result.failure else self.makes[row.asset_id]
        self._write(rows, moments, recipes, replaces)
        self.results = []

    def _row(self, result: Result) -> AssetRow:
        before = self.ledger.rows.get(result.asset_id)
        outcome, reason = _outcome(result)
        media = result.facts.media if result.facts else None
        if before and outcome == Outcome.INDEXED and not self.makes[result.asset_id] & DECODED:
            outcome, reason = before.outcome, before.reason  # nothing was decoded, so nothing new is known of damage
        return AssetRow(
            asset_id=result.asset_id,
            outcome=outcome,
            reason=reason,
            locations=tuple(sorted(self.places[result.asset_id])),
            facts=result.facts,
            words=self.looks[result.asset_id].words_hash,
            recipe={m: self.recipe[m] for m in sorted(MADE_FROM[media])},
        )

    def _write(
        self, rows: list[AssetRow], moments: list[Moment], recipes: Mapping[str, Mapping[str, str]],
        replaces: dict[str, frozenset[Modality]],
    ) -> None:  # fmt: skip
        self.committed_at = time.monotonic()
        if not rows:
            return
        thumbs = write_pack(self.archive.thumbs, [m.thumb for m in moments])
        self.tables.commit(Batch(rows, moment_table(moments, recipes, thumbs), replaces))
        for row in rows:
            self.ledger.rows[row.asset_id] = row
            self.state[row.asset_id] = row.outcome
            self.report.media_seconds += row.facts.duration_seconds if row.facts else 0.0
            if row.reason:
                self.report.reasons[row.reason.partition(":")[0]] += 1
        self.report.n_moments += len(moments)

    def _skip(self, files: list[Found]) -> None:
        """Note what is not looked into; it is written with the next commit."""
        with self.lock:
            for file in files:
                asset_id = id_of_place(file.place.location)
                self.places[asset_id] = {file.place}
                self.state[asset_id] = UNCHANGED
                row = AssetRow(asset_id, Outcome.SKIPPED, file.skip, (file.place,))
                if self.ledger.rows.get(asset_id) != row:
                    self.skipped.append(row)

    def _defer(self, found: Found) -> None:
        """Leave a file to the next run."""
        with self.lock:
            known_id = self._keep(found.place.location)
            self.state[known_id or id_of_place(found.place.location)] = DEFERRED

    def _keep(self, location: str) -> str | None:
        """Let what is known from a location stay as it is, since nothing newer is known; return its asset's id."""
        with self.lock:
            row, place = self.ledger.at(location)
            if row is None or place is None:
                return None
            self.places.setdefault(row.asset_id, set()).add(place)
            return row.asset_id

    def _settle_places(self) -> None:
        """Write down where assets lie now; one that lies nowhere any more is deleted, with its moments."""
        rows, replaces = [], {}
        for asset_id, row in self.ledger.rows.items():
            if row.outcome == Outcome.DELETED:
                continue
            places = tuple(sorted(self.places.get(asset_id, ())))
            if not places:
                rows.append(AssetRow(asset_id, Outcome.DELETED, facts=row.facts))
                replaces[asset_id] = frozenset(Modality)
            elif places != row.locations:
                rows.append(replace(row, locations=places))
        states = {row.asset_id: self.state[row.asset_id] for row in rows if row.asset_id in self.state}
        self._write(rows, [], {}, replaces)
        self.state.update(states)


def _outcome(result: Result) -> tuple[Outcome, str]:
    if result.failure is not None:
        is_media = not isinstance(result.failure, NotMediaError)
        return (Outcome.QUARANTINED if is_media else Outcome.SKIPPED), result.failure.reason
    if result.damage is not None:
        return Outcome.PARTIAL, result.damage
    return Outcome.INDEXED, ""


def _beside(place: Location, sidecar: Path) -> Location:
    facts = sidecar.stat()
    uri = str(Path(place.uri).with_name(sidecar.name))
    return Location(uri, sidecar.as_uri(), facts.st_size, facts.st_mtime_ns)
