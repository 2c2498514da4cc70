"""How Prefect sees a flow of ours: steps that are named for what they do, and an end that is one plain sentence.

A step is a task run. It is not cached and keeps no result: what it does, it does to the archive, and the next run
looks there. Steps that write are not retried either; the next run is the retry, and finishes what this one began.
"""

from __future__ import annotations

import atexit
import gc
import logging
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Task, runtime
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.exceptions import FailedRun
from prefect.states import Completed, Failed

from flows.names import slug
from flows.plain import is_plain
from pipeline.errors import BusyError

# A process that ends looks through all its objects for what to free: 1.0 s with Prefect, Ray and torch in it.
atexit.register(gc.freeze)

P = ParamSpec("P")
T = TypeVar("T")

SCHEDULED = "auto-scheduled"
"""The tag that Prefect's scheduler gives the runs that it makes."""


def step(told: str, work: Callable[P, T], *given: P.args, **also: P.kwargs) -> T:
    """Do one step of a flow as a task run.

    Args:
        told: what it does, for people: the task run's name.
        work: does it; its name is the task's.
        given: its arguments. Prefect never sees them.
        also: its keyword arguments.
    """
    return _step(told, lambda: work(*given, **also), work.__name__.strip("_"), retries=0)


def patient_step(told: str, work: Callable[P, T], *given: P.args, **also: P.kwargs) -> T:
    """Do one step that only reads, and try twice more: a share is being mounted, a store is out of breath."""
    return _step(told, lambda: work(*given, **also), work.__name__.strip("_"), retries=2)


def plainly(work: Callable[P, Any]) -> Callable[P, Any]:
    """Let a flow end in one sentence: what a person can cause or cure is the message of its state, word for word.

    An ingest that finds the archive held by another ends well, with nothing done: the other does the same work, or the
    next one will. All other flows wait.
    """

    @wraps(work)
    def ended(*given: P.args, **also: P.kwargs) -> Any:
        try:
            return work(*given, **also)
        except BusyError as error:
            return Completed(message=f"Nothing done: {error}")
        except Exception as error:
            if not is_plain(error):
                raise
            logging.getLogger("prefect.flow_runs").addFilter(_is_news)
            return Failed(message=str(error))

    return ended


def named(verb: str) -> Callable[[], str]:
    """Return the function that names a flow's runs when they begin: what is done, to which archive."""

    def name() -> str:
        return f"{verb} {slug(Path(runtime.flow_run.parameters['archive']))}"

    return name


def rename(told: str, *tags: str) -> None:
    """Give the flow run that this is called in a better name, now that more is known of it, and more tags."""
    run = this_run()
    with get_client(sync_client=True) as client:
        client.update_flow_run(run.id, name=told, tags={*run.tags, *tags})


def this_run() -> FlowRun:
    """Return the flow run that this is called in."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RuntimeError("This belongs into a flow run.")
    return context.flow_run


def is_scheduled(run: FlowRun) -> bool:
    """Tell whether a run was made by the nightly schedule, not by a person or an arrival."""
    return SCHEDULED in run.tags


def _is_news(record: logging.LogRecord) -> bool:
    """Tell whether a line of log says more than that a run failed as its state says, with a trace through Prefect."""
    return not (record.exc_info and isinstance(record.exc_info[1], FailedRun))


def _step(told: str, work: Callable[[], T], name: str, retries: int) -> T:
    wrong: list[Exception] = []

    def done() -> Any:
        try:
            return work()
        except Exception as error:
            if not is_plain(error):
                raise
            wrong.append(error)
            return Failed(message=str(error))

    task: Task[[], Any] = Task(
        done, name=name, task_run_name=lambda: told, cache_policy=NO_CACHE, persist_result=False,
        retries=retries, retry_delay_seconds=[5, 30] if retries else None,
    )  # fmt: skip
    outcome: Any = task()
    if isinstance(outcome, State):
        raise wrong[-1]
    return cast(T, outcome)
