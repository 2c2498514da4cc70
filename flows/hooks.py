"""What stops the work of a flow run that is cancelled, or has ended otherwise than by itself.

Prefect runs hooks in the worker's process, not in the flow's: nothing of the flow is left by then but its id, and by
that the job on a cluster is known. Work in the flow's own process needs no hook; it ends with it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect._internal import control_listener
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
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


@contextmanager
def stoppable() -> Iterator[None]:
    """Let Prefect cancel what is done meanwhile on a Ray of this process.

    Ray takes SIGTERM for itself when it starts, and raises SystemExit, which Prefect would take for a crash. Prefect's
    own exception cannot get through Ray's compiled code: it is raised here, in the place of the other. And Prefect's
    runner, which first asks the process whether it knows that it is cancelled, got no answer while Ray had the signal:
    the server is asked instead, or the run would end as crashed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    meant = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:
        if _is_cancelling():
            control_listener._set_intent("cancel")
        if callable(meant):
            meant(signal.SIGTERM, None)
        raise
    finally:
        signal.signal(signal.SIGTERM, meant)


def _is_cancelling() -> bool:
    """Tell whether somebody cancels the flow run of this process; a server that does not answer tells nothing."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return False
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(context.flow_run.id).state
    except Exception:  # whatever a server that is gone makes its client raise
        return False
    return state is not None and state.is_cancelling()
