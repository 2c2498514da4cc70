"""In which order a run takes files: those that somebody waits for first, and of each kind the newest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from pipeline.store.discover import Found
from pipeline.store.schemas import AssetRow


def in_order(
    files: Iterable[tuple[Found, AssetRow | None]], patterns: Sequence[str]
) -> list[tuple[Found, AssetRow | None]]:
    """Return files by the first pattern that they match, then by their time, newest first; equal ones stay in order.

    Args:
        files: as `Ledger.plan` returns them.
        patterns: of paths below their source, as in `news/*` (folders below it too) or `news/` (the same); what
            matches none comes last.
    """
    return sorted(files, key=lambda file: (_rank(file[0].place.uri, patterns), -file[0].place.mtime_ns))


def _rank(uri: str, patterns: Sequence[str]) -> int:
    for rank, pattern in enumerate(patterns):
        if fnmatchcase(uri, f"{pattern}*" if pattern.endswith("/") else pattern):
            return rank
    return len(patterns)
