"""`rushes status`: what is in an archive, and how much of it each space covers."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from flows.output import print_json, print_table
from index.hits import clock, harmless
from pipeline.archive import Archive, open_archive
from pipeline.media import Outcome
from pipeline.store.schemas import AssetRow
from pipeline.store.tables import Tables


def status(options: argparse.Namespace) -> None:
    """Print what is in an archive."""
    archive = open_archive(options.archive)
    facts = _facts(archive)
    if options.json:
        print_json([facts])
    else:
        _print(facts)


def _facts(archive: Archive) -> dict[str, Any]:
    from index.build import is_current
    from index.generation import current, read_manifest, rolled_back

    tables = Tables(archive.tables)
    rows = tables.assets()
    manifest = read_manifest(current(archive.index), check_files=False)
    moments: Counter[str] = Counter()
    for entry in manifest.lists:
        moments[entry.modality] += entry.n_moments
    covered, unknown = _coverage(archive, tables, rows)
    return {
        "archive": str(archive.root),
        "sources": list(archive.settings.sources),
        "profile": archive.settings.profile.name,
        "assets": dict(Counter(str(row.outcome) for row in rows)),
        "media": dict(Counter(str(row.facts.media) for row in _indexed(rows) if row.facts)),
        "media_seconds": round(sum(row.facts.duration_seconds for row in _indexed(rows) if row.facts), 3),
        "moments": dict(moments),
        "spaces": {entry.modality: entry.space for entry in manifest.lists},
        "generation": manifest.generation,
        "generation_is_current": is_current(archive),
        "rolled_back_from": bad.name if (bad := rolled_back(archive.index)) else None,
        "recall": {e.modality: min((r.share for r in e.recalls.values()), default=None) for e in manifest.lists},
        "coverage": covered,
        "models_missing": unknown,
    }


def _coverage(archive: Archive, tables: Tables, rows: Sequence[AssetRow]) -> tuple[list[dict[str, Any]], str | None]:
    """Return what each space covers; and why the profile's models cannot say which of them is in force, if so."""
    from encoders.registry import REFUSALS
    from index.query import Questioner
    from pipeline.coverage import coverage
    from pipeline.recipe import Models, fingerprints

    try:
        models = Models.of(archive.settings.profile)
        recipe = fingerprints(archive.settings, models)
        spaces = Questioner(models, archive.settings.fusion).spaces()
    except REFUSALS as exc:
        return [asdict(each) for each in coverage(tables, rows, {}, frozenset())], str(exc)
    return [asdict(each) for each in coverage(tables, rows, recipe, spaces)], None


def _print(facts: Mapping[str, Any]) -> None:
    print(f"{harmless(facts['archive'])}, profile {facts['profile']}")
    print(f"sources     {', '.join(harmless(s) for s in facts['sources'])}")
    print(f"assets      {_counts(facts['assets'])}")
    print(f"indexed     {_counts(facts['media'])}; {clock(facts['media_seconds'])} of film and sound")
    print(f"moments     {_counts(facts['moments'])}")
    behind = "" if facts["generation_is_current"] else " (older than the tables: run `rushes ingest`)"
    if bad := facts["rolled_back_from"]:
        behind = f" (put back in place of {bad}, until there is something new)"
    print(f"generation  {facts['generation']}{behind}")
    measured = {modality: share for modality, share in facts["recall"].items() if share is not None}
    print(f"recall@10   {', '.join(f'{share:.3f} {name}' for name, share in measured.items()) or 'not measured'}")
    _print_coverage(facts)


def _print_coverage(facts: Mapping[str, Any]) -> None:
    """Print a line for each space: of how many files it holds moments, and whether they are those of today."""
    missing = facts["models_missing"]
    shown = []
    for each in facts["coverage"]:
        behind = each["assets"] - each["current_assets"]
        if missing:
            state = "not known"
        elif not each["in_force"]:
            state = "an older model's: not searched, redone by `rushes ingest`"
        else:
            state = f"{behind} to redo" if behind else "current"
        shown.append((each["modality"], str(each["assets"]), str(each["moments"]), state, each["space"]))
    if shown:
        print_table(("modality", "files", "moments", "state", "space"), shown)
    if missing:
        print(f"The models are not all here: {missing}")


def _indexed(rows: Iterable[AssetRow]) -> list[AssetRow]:
    return [row for row in rows if row.outcome in (Outcome.INDEXED, Outcome.PARTIAL)]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items(), key=lambda item: -item[1])) or "none"
