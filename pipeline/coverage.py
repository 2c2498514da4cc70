"""How much of an archive each space covers: what the recipe of today has made, and what older ones have left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.media import Outcome
from pipeline.parts import Part, part_of
from pipeline.store.schemas import AssetRow
from pipeline.store.tables import Tables


@dataclass(frozen=True)
class Coverage:
    """What a space holds of one modality."""

    modality: str
    space: str
    assets: int
    """That have a moment in it."""
    moments: int
    current_assets: int
    """Of the assets those whose moments the recipe of today would make the same; the next run redoes the others."""
    in_force: bool
    """The profile's encoders make and search this space; False: an older model's, which no question enters."""


def coverage(
    tables: Tables, rows: Sequence[AssetRow], recipe: Mapping[Part, str], spaces: frozenset[str]
) -> list[Coverage]:
    """Return what each space holds, those in force first, then by modality and name.

    Args:
        tables: of the archive.
        rows: its ledger.
        recipe: fingerprint of each part as the profile of today has it; empty: not known.
        spaces: those that the profile's encoders make.
    """
    kept = {row.asset_id: row for row in rows if row.outcome in (Outcome.INDEXED, Outcome.PARTIAL)}
    moments = tables.moments(columns=["asset_id", "modality", "track", "space"])
    counted = moments.group_by(["modality", "track", "space", "asset_id"]).aggregate([([], "count_all")])
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in counted.to_pylist():
        found.setdefault((one["modality"], one["space"]), []).append(one)
    covered = []
    for (modality, space), held in found.items():
        assets = {one["asset_id"] for one in held}
        old = {one["asset_id"] for one in held if not _is_current(kept.get(one["asset_id"]), one, recipe)}
        n_current = len(assets - old) if space in spaces else 0
        covered.append(
            Coverage(modality, space, len(assets), sum(one["count_all"] for one in held), n_current, space in spaces)
        )
    return sorted(covered, key=lambda each: (not each.in_force, each.modality, each.space))


def _is_current(row: AssetRow | None, moments: Mapping[str, Any], recipe: Mapping[Part, str]) -> bool:
    part = part_of(moments["modality"], moments["track"])
    return row is not None and part in recipe and row.recipe.get(part) == recipe[part]
