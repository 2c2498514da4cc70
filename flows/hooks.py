"""What is done for a flow run that has ended otherwise than by itself: its work on a cluster is stopped.

Prefect runs hooks in the worker's process, not in the flow's: nothing of the flow is left by then but its id, and by
that the job is known. Work in the flow's own process needs no hook; it ends with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.logging.loggers import flow_run_logger

from pipeline.archive import open_archive
from pipeline.executors import jobs


def stop_work(flow: Any, flow_run: Any, state: Any) -> None:  # noqa: ARG001 - Prefect passes all three by name
    """Stop the job of a flow run that was cancelled or has crashed; what it has committed stays."""
    address = open_archive(Path(flow_run.parameters["archive"])).settings.ray.address
    if address and jobs.stop(address, str(flow_run.id)):
        flow_run_logger(flow_run).info("Stopped its job on the Ray cluster at %s", address)


def is_over(run_id: str) -> bool:
    """Tell whether a flow run of this server has ended; one that this server does not know belongs to another."""
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(UUID(run_id)).state
        except (ObjectNotFound, ValueError):
            return False
    return state is not None and state.is_final()
