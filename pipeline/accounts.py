"""The accounts of one run: where every asset lies, in which state it is, and what was written of that."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pipeline.archive import Archive
from pipeline.media import Moment, Outcome
from pipeline.parts import Part
from pipeline.report import Report
from pipeline.store.discover import UNREADABLE_FILE, UNREADABLE_FOLDER, Found
from pipeline.store.ledger import Ledger, id_of_place
from pipeline.store.schemas import AssetRow, Location, moment_table
from pipeline.store.tables import Batch, Tables
from pipeline.store.thumbs import write_pack

DEFERRED, UNCHANGED = "deferred", "unchanged"
UNDONE = "?"
"""Stands for the sidecars of a place whose file was seen and not done: the next run sees a difference, and looks."""


class Accounts:
    """Opens the tables, finishes what a killed run had staged, and keeps account from there on."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.tables = Tables(archive.tables)
        self.tables.create()
        self.tables.recover()
        self.ledger = Ledger(self.tables.assets(), self.tables.forgotten)
        self.places: dict[str, set[Location]] = {}  # every asset that was seen, and where
        self.state: dict[str, str] = {}
        self.skipped: list[AssetRow] = []
        self.report = Report()
        self.lock = threading.RLock()  # executors take jobs from threads of their own

    def unchanged(self, asset_id: str, places: Iterable[Location]) -> None:
        """Note an asset that is as it was."""
        self.places.setdefault(asset_id, set()).update(places)
        self.state[asset_id] = UNCHANGED

    def forgotten(self, asset_id: str, places: Iterable[Location] = ()) -> bool:
        """Note an asset, seen at some places, if it was forgotten; tell whether it was."""
        if asset_id not in self.tables.forgotten.ids:
            return False
        self.tables.forgotten.add(asset_id, places)
        self.state[asset_id] = Outcome.FORGOTTEN
        return True

    def skip(self, files: Sequence[Found]) -> None:
        """Note what is not looked into; it is written with the next commit."""
        with self.lock:
            for file in files:
                asset_id = id_of_place(file.place.location)
                if self.forgotten(asset_id, [file.place]):
                    continue
                if file.skip == UNREADABLE_FILE and (known_id := self._keep(file.place.location)):
                    self.state[known_id] = UNCHANGED
                    continue
                if file.skip == UNREADABLE_FOLDER:
                    self._keep_below(file.place.location)
                self.places[asset_id] = {file.place}
                self.state[asset_id] = UNCHANGED
                row = AssetRow(asset_id, Outcome.SKIPPED, file.skip, (file.place,))
                if self.ledger.rows.get(asset_id) != row:
                    self.skipped.append(row)

    def defer(self, found: Found) -> None:
        """Leave a file to the next run."""
        known_id = self._keep(found.place.location)
        self.state[known_id or id_of_place(found.place.location)] = DEFERRED

    def drop(self, asset_id: str, place: Location) -> None:
        """Leave to the next run what is not done of an asset, so that it does not find it done."""
        self.state[asset_id] = DEFERRED
        self.places[asset_id].discard(place)
        if self._keep(place.location) is None:
            self.places[asset_id].add(replace(place, sidecars=UNDONE))

    def _keep(self, location: str) -> str | None:
        """Let what is known from a location stay as it is, since nothing newer is known; return its asset's id."""
        row, place = self.ledger.at(location)
        if row is None or place is None:
            return None
        self.places.setdefault(row.asset_id, set()).add(place)
        return row.asset_id

    def _keep_below(self, folder: str) -> None:
        """Let all that is known from below a folder stay as it is, since nobody can see whether it is still there."""
        for row in self.ledger.rows.values():
            if places := [place for place in row.locations if place.location.startswith(f"{folder}/")]:
                self.unchanged(row.asset_id, places)

    def write(
        self, rows: list[AssetRow], moments: list[Moment], recipes: Mapping[str, Mapping[str, str]],
        replaces: dict[str, frozenset[Part]],
    ) -> None:  # fmt: skip
        """Commit rows, and those of what was skipped; see `Batch`. What `recipes` names was processed, and counts."""
        skipped, self.skipped = self.skipped, []
        news = {*recipes, *(row.asset_id for row in skipped)}
        rows = [*skipped, *rows]
        if not rows:
            return
        began = time.monotonic()
        thumbs = write_pack(self.archive.thumbs, [m.thumb for m in moments])
        self.tables.commit(Batch(rows, moment_table(moments, recipes, thumbs), replaces))
        for row in rows:
            self.ledger.rows[row.asset_id] = row
            self.state[row.asset_id] = row.outcome
            if row.asset_id in recipes and row.facts:
                self.report.media_seconds += row.facts.duration_seconds
            if row.asset_id in news and row.reason:
                self.report.reasons[row.reason.partition(":")[0]] += 1
        self.report.n_moments += len(moments)
        self.report.stage_seconds["commit"] += time.monotonic() - began

    def settle(self) -> None:
        """Write down where assets lie now; one that lies nowhere any more is deleted, with its moments."""
        rows, replaces = [], {}
        for asset_id, row in self.ledger.rows.items():
            if row.outcome in (Outcome.DELETED, Outcome.FORGOTTEN):
                continue
            places = tuple(sorted(self.places.get(asset_id, ())))
            if not places:
                rows.append(AssetRow(asset_id, Outcome.DELETED, facts=row.facts))
                replaces[asset_id] = frozenset(Part)
            elif places != row.locations:
                rows.append(replace(row, locations=places))
        states = {row.asset_id: self.state[row.asset_id] for row in rows if row.asset_id in self.state}
        self.write(rows, [], {}, replaces)
        self.state.update(states)

    def total(self) -> Counter[str]:
        """Return for each state the number of assets in it; some may have been forgotten while this ran."""
        for asset_id in self.state:
            self.forgotten(asset_id)
        return Counter(self.state.values())
