"""The ledger: which asset was processed under which recipe with which outcome, and what that leaves to do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.media import Outcome
from pipeline.parts import DECODED, MADE_FROM, Part
from pipeline.store.discover import Found
from pipeline.store.forgotten import Forgotten
from pipeline.store.schemas import AssetRow, Location


@dataclass
class Plan:
    """What a listing of the sources leaves to do, before any file has been opened."""

    look: list[tuple[Found, AssetRow | None]] = field(default_factory=list)
    """Files to look at; with the asset that they are known as, where only recipe or sidecars are out of date."""
    skipped: list[Found] = field(default_factory=list)
    unchanged: dict[str, list[Location]] = field(default_factory=dict)
    """asset_id → its locations that are as they were."""
    forgotten: set[str] = field(default_factory=set)
    """Ids of forgotten assets that still lie there."""


class Ledger:
    """What the table assets says, by asset and by location."""

    def __init__(self, rows: Iterable[AssetRow], forgotten: Forgotten | None = None) -> None:
        self.rows = {row.asset_id: row for row in rows}
        self._forgotten = forgotten
        self._by_place = {
            place.location: (row, place) for row in self.rows.values() for place in row.locations
        }  # fmt: skip

    def at(self, location: str) -> tuple[AssetRow, Location] | tuple[None, None]:
        """Return the asset that lay at a location when it was last looked at, and how it lay there."""
        return self._by_place.get(location, (None, None))

    def plan(self, found: Iterable[Found], recipe: Mapping[Part, str]) -> Plan:
        """Sort what was found into what is done and what is to do. Opens no file."""
        plan = Plan()
        for file in found:
            if self._forgotten and (forgotten := self._forgotten.at(file.place)):
                plan.forgotten.add(forgotten)
                continue
            if file.skip:
                plan.skipped.append(file)
                continue
            row, place = self.at(file.place.location)
            if row is None or place is None or (place.size, place.mtime_ns) != (file.place.size, file.place.mtime_ns):
                plan.look.append((file, None))
            elif place.sidecars != file.place.sidecars or place.uri != file.place.uri or stale(row, recipe):
                plan.look.append((file, row))
            else:
                plan.unchanged.setdefault(row.asset_id, []).append(file.place)
        return plan


def stale(row: AssetRow | None, recipe: Mapping[Part, str]) -> frozenset[Part]:
    """Return the parts that the recipe of today would make otherwise, or not at all, or that were never made."""
    media = row.facts.media if row and row.facts else None
    if row is None or row.outcome == Outcome.DELETED:
        return frozenset(Part)
    if row.outcome in (Outcome.SKIPPED, Outcome.FORGOTTEN):
        return frozenset()
    changed = frozenset(part for part in MADE_FROM[media] if row.recipe.get(part) != recipe.get(part))
    if row.outcome == Outcome.QUARANTINED and changed & DECODED & recipe.keys():
        return MADE_FROM[media]  # nothing of it is stored
    return changed


def asset_id_of(blocks: Iterable[bytes]) -> str:
    """Return the hash of a file's content: BLAKE2b, 128 bits, in hex."""
    digest = hashlib.blake2b(digest_size=16)
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def id_of_place(location: str) -> str:
    """Return the id of something that has no content to hash, such as a dangling link: the hash of where it lies."""
    return hashlib.blake2b(b"location:" + location.encode("utf8", "surrogateescape"), digest_size=16).hexdigest()
