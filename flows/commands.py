"""What each command does: read options, call the room that knows, print."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from flows.output import print_json, print_table
from index.hits import Hits, harmless
from pipeline.archive import create_archive, open_archive
from pipeline.budget import Budget
from pipeline.config import Settings
from pipeline.errors import ConfigError, QueryError
from pipeline.media import Outcome
from pipeline.store.tables import Tables

if TYPE_CHECKING:
    from index.generation import Recall
    from index.searcher import Searcher

NOT_INDEXED = (Outcome.QUARANTINED, Outcome.SKIPPED, Outcome.PARTIAL)


def init(options: argparse.Namespace) -> None:
    """Make an archive."""
    archive = create_archive(options.archive, options.source, options.profile)
    print(f"Made {archive.root}. Next: rushes ingest {options.archive}", file=sys.stderr)


def ingest(options: argparse.Namespace) -> int:
    """Process what is new or changed, then index and publish."""
    from flows.progress import watching
    from flows.run import executor, ingest_and_publish

    archive = open_archive(options.archive)
    with watching(as_json=options.json) as watcher:
        report = ingest_and_publish(
            archive, executor(options.engine), watcher, limit=options.limit, budget=_budget(options, archive.settings),
            first=options.first,
        )  # fmt: skip
    if options.json:
        print_json([{"event": "report", **report.as_dict()}])
    else:
        print(report.as_text(), file=sys.stderr)
    if report.ingested.interrupted:
        raise KeyboardInterrupt
    return int(options.strict and report.ingested.states[Outcome.QUARANTINED] > 0)


def _budget(options: argparse.Namespace, settings: Settings) -> Budget:
    """Return what --stop-at and --max-gpu-hours say; the time of day is one of the archive's time zone."""
    try:
        asked = replace(settings.schedule, stop_at=options.stop_at or "", max_gpu_hours=options.max_gpu_hours)
    except ValueError as exc:
        raise ConfigError(str(exc)) from exc
    return Budget.of(asked, datetime.now(UTC))


def search(options: argparse.Namespace) -> None:
    """Find moments."""
    archive = _opened(options.archive)
    found = archive.search(
        options.words, image=options.image, audio=options.audio, k=options.k,
        modality=options.modality, media=options.media, asset=options.asset,
        between=tuple(options.between) if options.between else None,
    )  # fmt: skip
    _print_hits(found, as_json=options.json)


def recommend(options: argparse.Namespace) -> None:
    """Find moments that are like one of the archive's."""
    like, at_seconds = _moment(options.like)
    found = _opened(options.archive).recommend(
        like, at_seconds=at_seconds, k=options.k, modality=options.modality, media=options.media
    )
    _print_hits(found, as_json=options.json)


def quarantine(options: argparse.Namespace) -> None:
    """List all that was not indexed, and why."""
    rows = [row for row in Tables(open_archive(options.archive).tables).assets() if row.outcome in NOT_INDEXED]
    listed = sorted(
        ({"uri": p.uri, "outcome": str(r.outcome), "reason": r.reason} for r in rows for p in r.locations),
        key=lambda one: (one["outcome"], one["uri"]),
    )
    if options.json:
        print_json(listed)
    elif not listed:
        print("Everything was indexed.")
    else:
        print_table(("outcome", "reason", "file"), [(o["outcome"], o["reason"], o["uri"]) for o in listed])


def verify(options: argparse.Namespace) -> int:
    """Check tables, index and pictures against each other."""
    from index.verify import damages

    found = list(damages(open_archive(options.archive)))
    if options.json:
        print_json({"damage": sentence} for sentence in found)
    else:
        print("\n".join(harmless(sentence) for sentence in found) or "All is well: tables, index and pictures agree.")
    return int(bool(found))


def index(options: argparse.Namespace) -> None:
    """Print which generation is in force; make it again from the tables, or put the one before it back."""
    from index.build import build
    from index.generation import current, read_manifest, roll_back
    from pipeline.archive import writing

    archive = open_archive(options.archive)
    if options.rebuild:
        with writing(archive):
            Tables(archive.tables).recover()
            build(archive)
    if options.rollback:
        with writing(archive):
            roll_back(archive.index)
    manifest = read_manifest(current(archive.index))
    lists = [
        {
            "modality": e.modality, "space": e.space, "moments": e.n_moments, "dim": e.dim, "plan": e.plan,
            "recall": {kind: asdict(recall) for kind, recall in e.recalls.items()},
            "tried": [asdict(each) for each in e.tried],
        }
        for e in manifest.lists
    ]  # fmt: skip
    if options.json:
        print_json([{"generation": manifest.generation, "tables": dict(manifest.tables), "lists": lists}])
        return
    print(f"{manifest.generation}, from {', '.join(f'{name} version {v}' for name, v in manifest.tables.items())}")
    columns = ("modality", "space", "moments", "dim", "plan", "recall@10")
    shown = [(e.modality, e.space, str(e.n_moments), str(e.dim), e.plan, _recalls(e.recalls)) for e in manifest.lists]
    print_table(columns, shown)


def _recalls(recalls: Mapping[str, Recall]) -> str:
    return ", ".join(f"{recall.share:.3f} {kind}" for kind, recall in recalls.items()) or "not measured"


def _opened(path: Path) -> Searcher:
    import index

    archive = index.open(path)
    if missing := archive.out_of_reach():
        print(
            f"Not searched: {', '.join(missing)} moments, since the encoders have changed; run `rushes ingest {path}`.",
            file=sys.stderr,
        )
    return archive


def _moment(like: str) -> tuple[str, float | None]:
    """Split URI[@SECONDS]; a file name may hold an @ of its own."""
    uri, at, seconds = like.rpartition("@")
    if not at:
        return like, None
    try:
        at_seconds = float(seconds)
    except ValueError:
        return like, None
    if not 0 <= at_seconds < float("inf"):
        raise QueryError(f"--like {like}: the time {seconds} needs to be seconds, 0 or more.")
    return uri, at_seconds


def _print_hits(hits: Hits, *, as_json: bool) -> None:
    if as_json:
        print_json(hit.as_dict() for hit in hits)
    else:
        print(hits)
