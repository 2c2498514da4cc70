"""How much of an archive each space covers: what the recipe of today has made, and what older ones have left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.media import Modality, Outcome
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
    tables: Tables, rows: Sequence[AssetRow], recipe: Mapping[Modality, str], spaces: frozenset[str]
) -> list[Coverage]:
    """Return what each space holds, those in force first, then by modality and name.

    Args:
        tables: of the archive.
        rows: its ledger.
        recipe: fingerprint of each modality as the profile of today has it; empty: not known.
        spaces: those that the profile's encoders make.
    """
    kept = {row.asset_id: row for row in rows if row.outcome in (Outcome.INDEXED, Outcome.PARTIAL)}
    moments = tables.moments(columns=["asset_id", "modality", "space"])
    counted = moments.group_by(["modality", "space", "asset_id"]).aggregate([([], "count_all")])
    found: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for one in counted.to_pylist():
        found.setdefault((one["modality"], one["space"]), []).append((one["asset_id"], one["count_all"]))
    covered = [
        Coverage(
            modality=modality,
            space=space,
            assets=len(held),
            moments=sum(n for _, n in held),
            current_assets=sum(_is_current(kept.get(asset_id), modality, recipe) for asset_id, _ in held)
            if space in spaces
            else 0,
            in_force=space in spaces,
        )
        for (modality, space), held in found.items()
    ]
    return sorted(covered, key=lambda each: (not each.in_force, each.modality, each.space))


def _is_current(row: AssetRow | None, modality: str, recipe: Mapping[Modality, str]) -> bool:
    known = Modality(modality)
    return row is not None and known in recipe and row.recipe.get(known) == recipe[known]
