"""What Prefect itself remembers of files: it is asked to forget them as well when an archive does."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, LogFilter, LogFilterTextSearch
from prefect.exceptions import ObjectNotFound

from flows.steps import this_run
from pipeline.archive import Archive
from pipeline.store.schemas import AssetRow
from pipeline.store.tables import Tables

KEYS = ("report", "quarantine")
"""Artifacts with names of files, and with pictures."""
LONGEST_QUERY = 200
AT_ONCE = 200


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
        removed = _artifacts(client, name) + _runs(client, paths)
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


def _runs(client: SyncPrefectClient, paths: Collection[str]) -> int:
    """Remove the runs whose logs name a file: Prefect removes logs with their run, and not otherwise."""
    own, runs = this_run().id, set()
    for path in paths:
        query = f'"{path[: LONGEST_QUERY - 2]}"'.replace("\\", "")
        logs = client.read_logs(LogFilter(text=LogFilterTextSearch(query=query)), limit=AT_ONCE)
        runs |= {log.flow_run_id for log in logs if log.flow_run_id and log.flow_run_id != own}
    for run in runs:
        try:
            client.delete_flow_run(run)
        except ObjectNotFound:
            continue
    return len(runs)


def _names(row: AssetRow) -> set[str]:
    names = {name for place in row.locations for name in (place.uri, place.location)}
    return {row.asset_id, *names, *(name.removeprefix("file://") for name in names)}
