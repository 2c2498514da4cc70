"""The command `rushes forget`."""

from __future__ import annotations

import argparse
import json
import sys

from flows.names import slug
from flows.server.home import find_home
from index.forget import Receipt, complete, hide
from pipeline.archive import Archive, open_archive, writing
from pipeline.store.tables import Tables


def forget(options: argparse.Namespace) -> None:
    """Remove files from an archive, for good, and from the Prefect of `rushes up` where that is running."""
    place = open_archive(options.archive)
    hide(place, options.what)
    with writing(place, _tell_waiting):
        _wipe_from_prefect(place)  # before the archive has forgotten what they are called
        receipt = complete(place)
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


def _wipe_from_prefect(place: Archive) -> None:
    """Remove runs, logs and reports that name the files; say so where that cannot be done now."""
    home = find_home()
    if not home.place().url:
        return  # there has never been one
    kept = f"Prefect may name the files in its logs and reports, which lie in {home.prefect}"
    if home.supervisor() is None:
        print(f"{kept}: it is not running, and they stay there.", file=sys.stderr)
        return
    from flows.server.client import logged_in
    from flows.traces import wipe

    try:
        with logged_in(home) as client:
            wipe(client, slug(place.root), Tables(place.tables).forgotten.errands())
    except Exception as error:  # whatever a server away or another's may do: the archive forgets all the same
        print(f"{kept}: it did not do as it was asked ({type(error).__name__}: {error}).", file=sys.stderr)
        return
    print("Removed from Prefect as well, but for its events, which it keeps for seven days.", file=sys.stderr)


def _tell_waiting(process: str) -> None:
    print(
        f"Unfindable from now on. The bytes go when process {process} has finished with the archive; if you stop this "
        "command, `rushes maintain` removes them.",
        file=sys.stderr,
    )
