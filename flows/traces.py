"""What Prefect itself remembers of files: it is asked to forget them as well when an archive does."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import count

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import TERMINAL_STATES, Log

from flows.steps import this_run
from index.hits import harmless
from pipeline.archive import Archive
from pipeline.store.schemas import AssetRow
from pipeline.store.tables import Tables

KEYS = ("report", "quarantine", "evaluated", "damage")
"""Artifacts that name files or show pictures."""
AT_ONCE = 200
ENDED = FlowRunFilterStateType(any_=list(TERMINAL_STATES))


def called(archive: Archive, what: Sequence[str]) -> tuple[set[str], set[str]]:
    """Return ids and paths of the assets that are meant by a path, a location or an id."""
    rows = [row for row in Tables(archive.tables).assets() if _names(row) & set(what)]
    return {row.asset_id for row in rows}, {place.uri for row in rows for place in row.locations}


def wipe(name: str, ids: Collection[str], paths: Collection[str]) -> int:
    """Remove an archive's reports, and the earlier runs whose logs name one of the files; return how many things.

    The flow run that this is called in stays, and says ids where it was given names.

    Args:
        name: the archive's name in Prefect.
        ids: of the assets.
        paths: their paths, as logs name them.
    """
    run = this_run()
    with get_client(sync_client=True) as client:
        removed = _artifacts(client, name) + _runs(client, name, paths)
        client.update_flow_run(run.id, parameters={**run.parameters, "what": sorted(ids)})
    return removed


def _artifacts(client: SyncPrefectClient, name: str) -> int:
    removed = 0
    keys = ArtifactFilterKey(any_=[f"{key}-{name}" for key in KEYS])
    while found := client.read_artifacts(artifact_filter=ArtifactFilter(key=keys), limit=AT_ONCE):
        for artifact in found:
            client.delete_artifact(artifact.id)
        removed += len(found)
    return removed


def _runs(client: SyncPrefectClient, name: str, paths: Collection[str]) -> int:
    """Remove the runs whose logs name a file: Prefect removes logs with their run, and not otherwise."""
    told = {harmless(path) for path in paths}
    naming = {log.flow_run_id for log in _logs(client, name) if any(path in log.message for path in told)}
    for run in naming:
        if run is not None:
            client.delete_flow_run(run)
    return len(naming)


def _logs(client: SyncPrefectClient, name: str) -> Iterator[Log]:
    """Yield what the earlier runs over an archive have logged. (Searching logs for a text is an error on SQLite.)"""
    of_archive = FlowRunFilter(tags=FlowRunFilterTags(all_=[name]), state=FlowRunFilterState(type=ENDED))
    for n_runs in count(0, AT_ONCE):
        runs = client.read_flow_runs(flow_run_filter=of_archive, limit=AT_ONCE, offset=n_runs)
        if not runs:
            return
        of_runs = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id for run in runs]))
        for n_logs in count(0, AT_ONCE):
            logs = client.read_logs(of_runs, limit=AT_ONCE, offset=n_logs)
            yield from logs
            if len(logs) < AT_ONCE:
                break


def _names(row: AssetRow) -> set[str]:
    names = {name for place in row.locations for name in (place.uri, place.location)}
    return {row.asset_id, *names, *(name.removeprefix("file://") for name in names)}
