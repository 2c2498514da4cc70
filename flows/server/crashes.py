"""Runs that a killed worker has left: nobody else would say that they are over."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import psutil

from flows.server.home import Home
from flows.server.parts import WORK_POOL
from flows.server.processes import marked

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

RUN_ID = "PREFECT__FLOW_RUN_ID"


def mark_crashed(client: SyncPrefectClient, home: Home, before: datetime) -> int:
    """Mark as Crashed what a worker of this home had begun and of which no process is left; return how many that were.

    Otherwise such a run would keep the next one from starting until the zombie automation finds it, and one that was
    killed before its first heartbeat for ever.

    Args:
        client: of a server that has no other workers than this home's.
        home: whose processes are looked at.
        before: only runs that have been in their state since then; later ones belong to a worker that lives.
    """
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )  # fmt: skip
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    begun = FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
    active = FlowRunFilter(state=FlowRunFilterState(type=begun))
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[WORK_POOL]))
    alive = living(home)
    n_crashed = 0
    for run in client.read_flow_runs(flow_run_filter=active, work_pool_filter=pool):
        if str(run.id) in alive or run.state is None or run.state.timestamp >= before:
            continue
        told = "Its process was killed, and the worker with it. The next run goes on from there."
        client.set_flow_run_state(run.id, Crashed(message=told), force=True)
        n_crashed += 1
    return n_crashed


def living(home: Home) -> set[str]:
    """Return the ids of the flow runs that have a process."""
    found = set()
    for process in marked(home):
        try:
            found.add(process.environ().get(RUN_ID, ""))
        except psutil.Error:  # it has ended in the meantime
            continue
    return found
