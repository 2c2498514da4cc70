"""Forget assets: unfindable at once, then every byte of them out of the archive, with a receipt.

The tombstones are written first, without waiting for anybody. All else needs the archive to be held for writing, and is
the same sequence whether it is begun or gone on with: each step finds out for itself what is left to do.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from index.build import build, is_current
from index.generation import POINTER, all_but_current, current, discard, unfinished
from pipeline.archive import Archive, writing
from pipeline.errors import QueryError
from pipeline.media import Outcome
from pipeline.store import cleaning
from pipeline.store.discover import belongs, local_path, without_endpoint
from pipeline.store.files import Removed, remove, sizes_below
from pipeline.store.forgotten import Errand
from pipeline.store.schemas import AssetRow
from pipeline.store.tables import Tables
from pipeline.store.thumbs import blank

RECEIPTS = "receipts.jsonl"
"""Lies in the archive; one receipt a line. They name nothing but ids."""


@dataclass(frozen=True)
class Receipt:
    """What was removed of some assets, and when."""

    asset_ids: tuple[str, ...]
    """Sidecars that were refused count as assets of their own."""
    n_moments: int
    """Rows of the table moments, each with its vector."""
    n_pictures: int
    n_files: int
    """Files taken off the disk: of tables, logs, generations and packs; what they held of others was written anew."""
    n_bytes: int
    generation: str
    """The index that holds nothing of them; empty: there is no index."""
    asked_at: str
    """When they became unfindable, the first of them; ISO 8601, UTC."""
    removed_at: str

    def as_dict(self) -> dict[str, Any]:
        """Return the receipt as plain values, ready for JSON."""
        return asdict(self)


def forget(archive: Archive, what: Sequence[str], waiting: Callable[[str], None] | None = None) -> Receipt:
    """Forget assets, by whatever name, for good. Killed anywhere, running it again completes it.

    They are unfindable before this waits for anything, and a run that holds the archive does not commit them any more.

    Args:
        archive: the archive.
        what: path below the source, full path, location, or asset_id of each.
        waiting: told which process holds the archive, before this waits for that to end; None: do not wait.

    Raises:
        QueryError: a name is not known, or several assets have it; nothing was done.
        ArchiveError: another process holds the archive, and this does not wait; they are unfindable all the same.
    """
    hide(archive, what)
    with writing(archive, waiting):
        return complete(archive)


def hide(archive: Archive, what: Sequence[str]) -> None:
    """Make assets unfindable, and note that their bytes are to be removed. Does not need the archive for itself.

    Raises:
        QueryError: a name is not known, or several assets have it; nothing was done.
    """
    tables = Tables(archive.tables)
    rows = {row.asset_id: row for row in tables.stored_assets()}
    begun = {errand.asset_id: errand for errand in tables.forgotten.errands()}
    for asset_id in _meant(what, rows.values(), begun.values(), tables.forgotten.ids):
        row = rows.get(asset_id, AssetRow(asset_id, Outcome.FORGOTTEN))
        if asset_id not in begun:
            tables.forgotten.begin(Errand(asset_id, tuple(sorted(_names(row))), _now()))
        tables.forgotten.add(asset_id, row.locations)


def complete(archive: Archive) -> Receipt:
    """Remove every byte of what was forgotten and is still there. Hold the archive for writing meanwhile."""
    tables = Tables(archive.tables)
    tables.recover()
    errands = [_counted(tables, errand) for errand in tables.forgotten.errands()]
    for errand in errands:
        tables.forgotten.add(errand.asset_id, ())  # whoever noted it may not have come so far
    cleaning.erase(tables, [errand.asset_id for errand in errands])
    removed = blank(archive.thumbs, cleaning.named_pictures(tables))
    removed += cleaning.vacuum(tables, 0)
    removed += cleaning.trim_logs(tables, 0)
    generation, of_index = _renew_index(archive)
    removed += of_index
    receipt = Receipt(
        asset_ids=tuple(errand.asset_id for errand in errands),
        n_moments=sum(errand.n_moments for errand in errands),
        n_pictures=sum(errand.n_pictures for errand in errands),
        n_files=removed.n_files,
        n_bytes=removed.n_bytes,
        generation=generation,
        asked_at=min((errand.began for errand in errands), default=_now()),
        removed_at=_now(),
    )
    if errands:
        _keep(archive.root / RECEIPTS, receipt)
        tables.forgotten.finish(errands)
    return receipt


def _meant(
    what: Sequence[str], rows: Iterable[AssetRow], begun: Iterable[Errand], forgotten: Collection[str]
) -> list[str]:
    """Return the ids of what is named, and of refused sidecars beside it."""
    called: dict[str, set[str]] = defaultdict(set)
    for asset_id in forgotten:
        called[asset_id].add(asset_id)
    for errand in begun:
        for name in (errand.asset_id, *errand.names):
            called[name].add(errand.asset_id)
    places = {}
    for row in rows:
        for name in (row.asset_id, *_names(row)):
            called[name].add(row.asset_id)
        places[row.asset_id] = row
    meant: list[str] = []
    for name in what:
        match sorted(called.get(name, ())):
            case []:
                raise QueryError(
                    f"The archive knows no file {name}; give its path below its source as hits show it, its full path, "
                    "or its asset_id. Nothing was forgotten."
                )
            case [asset_id]:
                meant.append(asset_id)
            case several:
                told = ", ".join(_called(places[asset_id]) if asset_id in places else asset_id for asset_id in several)
                raise QueryError(
                    f"{len(several)} files are called {name}; give the full path or asset_id of one: {told}. "
                    "Nothing was forgotten."
                )
    lie = [place.location for asset_id in meant if asset_id in places for place in places[asset_id].locations]
    beside = [row.asset_id for row in places.values() if row.outcome == Outcome.SKIPPED and _lies_beside(row, lie)]
    return list(dict.fromkeys([*meant, *beside]))


def _names(row: AssetRow) -> set[str]:
    """Return what an asset can be called by, apart from its id."""
    names = {name for p in row.locations for name in (p.uri, p.location, without_endpoint(p.location))}
    return names | {str(local_path(place.location)) for place in row.locations if place.location.startswith("file://")}


def _called(row: AssetRow) -> str:
    return row.locations[0].location.removeprefix("file://") if row.locations else row.asset_id


def _lies_beside(row: AssetRow, locations: Iterable[str]) -> bool:
    """Tell whether a row is that of a refused sidecar of something that lies at one of the locations."""
    own = {tuple(without_endpoint(place.location).rpartition("/")[::2]) for place in row.locations}
    for location in locations:
        folder, _, name = without_endpoint(location).rpartition("/")
        if any(folder == where and name != sidecar and belongs(sidecar, name) for where, sidecar in own):
            return True
    return False


def _counted(tables: Tables, errand: Errand) -> Errand:
    """Return an errand that knows how much there is to remove; noted, since it cannot be counted afterwards."""
    if errand.n_moments >= 0:
        return errand
    n_moments, n_pictures = cleaning.count(tables, errand.asset_id)
    counted = replace(errand, n_moments=n_moments, n_pictures=n_pictures)
    tables.forgotten.begin(counted)
    return counted


def _renew_index(archive: Archive) -> tuple[str, Removed]:
    """Build a generation from the tables as they are, unless there is no index, and remove all others."""
    before = sizes_below(archive.index)
    remove(unfinished(archive.index))
    name = ""
    if (archive.index / POINTER).exists():
        name = current(archive.index).name if is_current(archive) else build(archive)
        discard(all_but_current(archive.index))
    gone = before.keys() - sizes_below(archive.index).keys()
    return name, Removed(len(gone), sum(before[path] for path in gone))


def _keep(path: Path, receipt: Receipt) -> None:
    with path.open("a", encoding="utf8") as file:
        file.write(json.dumps(receipt.as_dict()) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
