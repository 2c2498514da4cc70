"""The middle of a run: look at files, have them decoded and encoded, and commit what comes back, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from threading import Event

from pipeline.accounts import DEFERRED, UNCHANGED, Accounts
from pipeline.budget import Meter
from pipeline.decode.limits import NotMediaError
from pipeline.errors import StoreError
from pipeline.executors.contract import Executor, Pulse
from pipeline.executors.stages import INCOMPLETE, Job, Made, Result
from pipeline.look import Look, is_as_listed, look_at
from pipeline.media import Moment, Outcome
from pipeline.parts import DECODED, MADE_FROM, PERCEIVED, Part
from pipeline.recipe import Models, fingerprints
from pipeline.report import Watcher
from pipeline.store.discover import Found, is_local
from pipeline.store.ledger import id_of_place, stale
from pipeline.store.schemas import AssetRow, Location
from pipeline.store.spool import discard
from pipeline.store.stored import stored_moments

ASSETS_PER_COMMIT = 64
SECONDS_PER_COMMIT = 30.0
"""A killed run loses at most this much work."""
PASSING = frozenset({INCOMPLETE, "vanished", "no_permission", "io_error"})
"""Failures of the moment, not of the file: the next run tries again."""
MADE_OF_WORDS = frozenset({Part.TEXT, Part.SPEECH, Part.SCENE})
"""What a change of the words that came with a file invalidates."""


class Processing:
    """Files on their way through an executor, and the batch that gathers for the next commit."""

    def __init__(self, accounts: Accounts, watcher: Watcher, meter: Meter, stable_seconds: float) -> None:
        self.accounts, self.watcher, self.meter = accounts, watcher, meter
        self.settings = accounts.archive.settings
        self.models = Models.of(self.settings.profile)
        self.recipe = fingerprints(self.settings, self.models)
        self.wanted: list[tuple[Found, AssetRow | None]] = []
        """What to look at, in this order; with the asset that it is known as."""
        self.waiting: dict[str, Found] = {}
        """Location → what is not done, of that and of what is left to the next run."""
        self.seconds, self.done_bytes = 0.0, 0
        self._stable_seconds = stable_seconds
        self._looks: dict[str, Look] = {}  # of assets that are worked on
        self._makes: dict[str, frozenset[Part]] = {}  # what is made of them, or only taken away
        self._results: list[Result] = []
        self._committed_at = time.monotonic()
        self._over = Event()

    def run(self, executor: Executor) -> None:
        """Do what is wanted, as far as budget and people let it."""
        began = time.monotonic()
        stream = executor(self._jobs(), self.settings, self.models, self._watch)
        try:
            with closing(stream):
                try:
                    for ended in stream:
                        self.meter.beat(ended.n_gpus if isinstance(ended, Pulse) else None)
                        if isinstance(ended, Result):
                            self._take(ended)
                        if self.meter.must_end():
                            break
                finally:
                    self._over.set()
        except KeyboardInterrupt:
            self.accounts.report.interrupted = True
        self.meter.beat(0.0)
        self._commit()
        self.seconds += time.monotonic() - began

    def defer_rest(self) -> None:
        """Leave what is not done to the next run."""
        begun = {look.place.location: asset_id for asset_id, look in self._looks.items()}
        for location, found in self.waiting.items():
            if location in begun:
                self.accounts.drop(begun[location], found.place)
            else:
                self.accounts.defer(found)

    def wait_seconds(self, place: Location) -> float:
        """Return how long a file is not to be looked at yet; a time in the future says nothing."""
        age = time.time() - place.mtime_ns / 1e9
        return max(self._stable_seconds - age, 0.0) if age >= 0 else 0.0

    def _jobs(self) -> Iterator[Job]:
        """Look at the wanted files one after the other; yield a job for each asset that needs work."""
        for found, known in self.wanted:
            if self._stable_seconds:
                self._over.wait(self.wait_seconds(found.place))
                if not is_as_listed(found.place):
                    continue  # somebody goes on writing it
            if self._over.is_set() or not self.meter.may_begin():
                return
            look = self._look(found, known)
            job = self._job(look) if look else None
            if job:
                self.watcher.started(job.asset_id, found.place.size)
                yield job
            elif look:
                discard(look.path)

    def _look(self, found: Found, known: AssetRow | None) -> Look | None:
        began = time.monotonic()
        look, refused, failed = None, None, None
        try:
            look = look_at(found, known.asset_id if known else None)
        except NotMediaError as error:
            refused = error
        except StoreError as error:
            failed = error
        except OSError:
            return None  # unreadable or gone since it was listed: the next run will see
        if self._over.is_set():
            if look:
                discard(look.path)
            return None  # nobody waited for it
        self.accounts.report.stage_seconds["look"] += time.monotonic() - began
        if refused:
            self.accounts.skip([replace(found, skip=refused.reason)])
            self._done(found.place)
        elif failed:
            self._wait(found.place, failed)
        elif look and self.accounts.forgotten(look.asset_id, [look.place]):
            self._done(found.place)
            discard(look.path)
            return None
        elif look:
            self.accounts.skip([Found(place, skip=error.reason) for place, error in look.refused])
        return look

    def _wait(self, place: Location, error: StoreError) -> None:
        """Say why an object is left to the next run."""
        self.accounts.report.reasons[error.reason] += 1
        self.watcher.finished(id_of_place(place.location), place.uri, DEFERRED, str(error))

    def _job(self, look: Look) -> Job | None:
        accounts = self.accounts
        with accounts.lock:
            accounts.places.setdefault(look.asset_id, set()).add(look.place)
            if look.asset_id in self._looks:  # the same content under another name
                self._done(look.place)
                return None
            row = accounts.ledger.rows.get(look.asset_id)
            makes = stale(row, self.recipe)
            if row is not None and row.words != look.words_hash:
                makes |= MADE_FROM[row.facts.media if row.facts else None] & MADE_OF_WORDS
            if not makes:
                accounts.state.setdefault(look.asset_id, UNCHANGED)
                self._done(look.place)
                return None
            self._looks[look.asset_id] = look
            self._makes[look.asset_id] = makes
            accounts.state[look.asset_id] = DEFERRED
            kept: tuple[Moment, ...] = ()
            if Part.SCENE in makes and not makes >= PERCEIVED and row is not None:
                thumbs = accounts.archive.thumbs
                kept = tuple(stored_moments(accounts.tables, thumbs, look.asset_id, PERCEIVED - makes))
            facts = row.facts if row else None
        place = None if is_local(look.place) else look.place
        makes &= frozenset(self.recipe)  # what the profile does not have any more only goes
        return Job(look.asset_id, look.path, makes, look.transcripts, look.words, look.metadata, facts, kept, place)

    def _watch(self, made: Made) -> None:
        spent = self.accounts.report.stage_seconds
        spent["decode"] += made.decode_seconds
        spent["encode"] += made.encode_seconds
        self.accounts.report.left_out.update(made.left_out)
        self.watcher.made(made)

    def _take(self, result: Result) -> None:
        look = self._looks[result.asset_id]
        discard(look.path)
        if isinstance(result.failure, StoreError):
            self._wait(look.place, result.failure)
            return
        if not is_as_listed(look.place):
            return  # it changed while it was read: what was made is of no one file
        if result.failure is not None and result.failure.reason in PASSING:
            return  # which says nothing about the file
        self._results.append(result)
        self.accounts.report.reasons.update(f"{each.track}_unread" for each in result.unread)
        self._done(look.place)
        outcome, reason = _outcome(result)
        self.watcher.finished(look.asset_id, look.place.uri, outcome, reason)
        waited = time.monotonic() - self._committed_at
        if len(self._results) >= ASSETS_PER_COMMIT or waited >= SECONDS_PER_COMMIT:
            self._commit()

    def _done(self, place: Location) -> None:
        if self.waiting.pop(place.location, None):
            self.done_bytes += place.size

    def _commit(self) -> None:
        """Commit what has gathered; what an interruption leaves of it is recovered, not committed a second time."""
        results, self._results = self._results, []
        rows: list[AssetRow] = []
        moments: list[Moment] = []
        recipes: dict[str, Mapping[str, str]] = {}
        replaces: dict[str, frozenset[Part]] = {}
        with self.accounts.lock:
            for result in results:
                row = self._row(result)
                rows.append(row)
                recipes[row.asset_id] = row.recipe
                moments += result.moments
                if row.asset_id in self.accounts.ledger.rows:
                    # what an asset cannot be any more goes as well: all of it if it failed
                    replaces[row.asset_id] = frozenset(Part) if result.failure else self._makes[row.asset_id]
            self.accounts.write(rows, moments, recipes, replaces)
        self._committed_at = time.monotonic()

    def _row(self, result: Result) -> AssetRow:
        before = self.accounts.ledger.rows.get(result.asset_id)
        outcome, reason = _outcome(result)
        media = result.facts.media if result.facts else None
        if before and outcome == Outcome.INDEXED and not self._makes[result.asset_id] & DECODED & self.recipe.keys():
            outcome, reason = before.outcome, before.reason  # nothing was decoded, so nothing new is known of damage
        return AssetRow(
            asset_id=result.asset_id,
            outcome=outcome,
            reason=reason,
            locations=tuple(sorted(self.accounts.places[result.asset_id])),
            facts=result.facts,
            words=self._looks[result.asset_id].words_hash,
            recipe={part: self.recipe[part] for part in sorted(MADE_FROM[media] & self.recipe.keys())},
        )


def _outcome(result: Result) -> tuple[Outcome, str]:
    if result.failure is not None:
        is_media = not isinstance(result.failure, NotMediaError)
        return (Outcome.QUARANTINED if is_media else Outcome.SKIPPED), result.failure.reason
    if result.damage is not None:
        return Outcome.PARTIAL, result.damage
    return Outcome.INDEXED, ""
