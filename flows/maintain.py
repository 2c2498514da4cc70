"""The command `rushes maintain`."""

from __future__ import annotations

import argparse
import json

from index.maintain import Maintenance
from index.maintain import maintain as maintain_archive
from pipeline.archive import open_archive


def maintain(options: argparse.Namespace) -> None:
    """Compact the tables, remove what is out of force."""
    done = maintain_archive(open_archive(options.archive), dry_run=options.dry_run)
    print(json.dumps(done.as_dict()) if options.json else as_text(done))


def as_text(done: Maintenance) -> str:
    """Return what was done as a few lines for people."""
    would = "would be " if done.dry_run else ""
    lines = [f"{done.joined} small files of tables {would}joined."] if done.joined else []
    lines += [
        f"{removed.n_files} files ({removed.n_bytes / 1e6:.1f} MB) {would}removed: {kind}."
        for kind, removed in done.removed.items()
        if removed.n_files
    ]
    if done.forgotten:
        lines.append(f"Forgotten for good, as was asked for: {', '.join(done.forgotten.asset_ids)}.")
    return "\n".join(lines) or "Nothing to do."
