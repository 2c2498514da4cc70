"""What Prefect itself remembers of files: it is asked to forget them as well when an archive does.

Events it does not let go of: they name files for as long as the server keeps events, seven days by default.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from itertools import count
from pathlib import Path
from uuid import UUID

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
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, Log, StateType

from flows.names import slug
from flows.server.deployments import TAG
from flows.steps import this_run
from index.hits import harmless
from pipeline.store.forgotten import Errand

KEYS = ("report", "quarantine", "evaluated", "damage")
"""Artifacts that name files or show pictures."""
AT_ONCE = 200
NAMING = ("ingest", "verify", "evaluate")
"""Flows that make them. The others name no files, and may be waiting for the archive that is held here."""
PATIENCE_SECONDS = 120.0
ENDED = FlowRunFilterStateType(any_=list(TERMINAL_STATES))
RUNNING = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.CANCELLING])


def wipe_from_flow(name: str, errands: Sequence[Errand]) -> int:
    """Do as `wipe`; the flow run that this is called in stays, and says ids where it was given names."""
    run = this_run()
    with get_client(sync_client=True) as client:
        removed = wipe(client, name, errands)
        client.update_flow_run(run.id, parameters={**run.parameters, "what": [each.asset_id for each in errands]})
    return removed


def wipe(client: SyncPrefectClient, name: str, errands: Sequence[Errand]) -> int:
    """Remove an archive's reports, and the earlier runs that name one of the files; return how many things.

    Hold the archive meanwhile: a run that has just let go of it may still be writing its report, which is waited for.

    Args:
        client: of the server.
        name: the archive's name in Prefect.
        errands: the files, with all that they are called.
    """
    names = {called for errand in errands for each in errand.names for called in (each, harmless(each))}
    _let_others_end(client, name)
    return _artifacts(client, name) + _remove_runs(client, name, names)


def _let_others_end(client: SyncPrefectClient, name: str) -> None:
    """Wait until no run that names files is at work, for a while: one that was killed may look as if it were."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and any(
        run.name.partition(" ")[0] in NAMING for run in _runs(client, name, RUNNING)
    ):
        time.sleep(1.0)


def _artifacts(client: SyncPrefectClient, name: str) -> int:
    removed = 0
    keys = ArtifactFilterKey(any_=[f"{key}-{name}" for key in KEYS])
    while found := client.read_artifacts(artifact_filter=ArtifactFilter(key=keys), limit=AT_ONCE):
        for artifact in found:
            client.delete_artifact(artifact.id)
        removed += len(found)
    return removed


def _remove_runs(client: SyncPrefectClient, name: str, names: Collection[str]) -> int:
    """Remove the runs that name a file: Prefect removes logs with their run, and not otherwise."""
    ended = {run.id: run for run in _runs(client, name, ENDED)}
    naming = {run.id for run in ended.values() if _is_told(names, _said(run))}
    naming |= {
        log.flow_run_id for log in _logs(client, list(ended)) if log.flow_run_id and _is_told(names, log.message)
    }
    for run_id in naming:
        client.delete_flow_run(run_id)
    return len(naming)


def _runs(client: SyncPrefectClient, name: str, state: FlowRunFilterStateType) -> Iterator[FlowRun]:
    """Yield the runs over an archive, whoever has registered their deployments."""
    ours = FlowRunFilter(tags=FlowRunFilterTags(all_=[TAG]), state=FlowRunFilterState(type=state))
    for n_runs in count(0, AT_ONCE):
        runs = client.read_flow_runs(flow_run_filter=ours, limit=AT_ONCE, offset=n_runs)
        yield from (run for run in runs if slug(Path(str(run.parameters.get("archive", "")))) == name)
        if len(runs) < AT_ONCE:
            return


def _logs(client: SyncPrefectClient, runs: Sequence[UUID]) -> Iterator[Log]:
    """Yield what runs have logged. (Searching logs for a text is an error on SQLite.)"""
    for first in range(0, len(runs), AT_ONCE):
        of_runs = LogFilter(flow_run_id=LogFilterFlowRunId(any_=list(runs[first : first + AT_ONCE])))
        for n_logs in count(0, AT_ONCE):
            logs = client.read_logs(of_runs, limit=AT_ONCE, offset=n_logs)
            yield from logs
            if len(logs) < AT_ONCE:
                break


def _said(run: FlowRun) -> str:
    """Return what a run was given, and how it ended."""
    return "\n".join([*map(str, run.parameters.get("what") or ()), (run.state and run.state.message) or ""])


def _is_told(names: Collection[str], text: str) -> bool:
    return any(name in text for name in names)
