"""The command `rushes forget`."""

from __future__ import annotations

import argparse
import json
import sys

from index.forget import Receipt
from index.forget import forget as forget_assets
from pipeline.archive import open_archive


def forget(options: argparse.Namespace) -> None:
    """Remove files from an archive, for good."""
    receipt = forget_assets(open_archive(options.archive), options.what, _tell_waiting)
    if options.json:
        print(json.dumps(receipt.as_dict()))
    else:
        print(as_text(receipt))


def as_text(receipt: Receipt) -> str:
    """Return a receipt as a few lines for people."""
    lines = [f"Forgotten: {', '.join(receipt.asset_ids)}."]
    lines.append(f"Unfindable since {receipt.asked_at}; every byte removed by {receipt.removed_at}.")
    lines.append(
        f"Removed: {receipt.n_moments} moments with their vectors and {receipt.n_pictures} small pictures; "
        f"{receipt.n_files} files, {receipt.n_bytes} bytes."
    )
    if receipt.generation:
        lines.append(f"Published {receipt.generation}, and removed all that were before it.")
    return "\n".join(lines)


def _tell_waiting(process: str) -> None:
    print(
        f"Unfindable from now on. The bytes go when process {process} has finished with the archive; if you stop this "
        "command, `rushes maintain` removes them.",
        file=sys.stderr,
    )
