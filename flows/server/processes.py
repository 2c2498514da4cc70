"""Find and stop what `rushes up` has started, by a mark in the environment that every descendant inherits.

Neither a number that the system has given to another process since, nor a parent that was killed, misleads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import psutil

from flows.server.home import Home
from flows.server.parts import MARK, SPEC, Part

GRACE_SECONDS = 5.0


def marked(home: Home) -> list[psutil.Process]:
    """Return all processes that this home's supervisor, or an earlier one, has started, and their descendants."""
    found = []
    for process in psutil.process_iter(["environ", "status"]):
        environment, status = process.info["environ"], process.info["status"]
        if environment and environment.get(MARK) == str(home.root) and status != psutil.STATUS_ZOMBIE:
            found.append(process)
    return [process for process in found if process.pid != os.getpid()]


def running(home: Home, part: Part) -> list[psutil.Process]:
    """Return the processes that are this very part, with these very settings; more than one is one too many."""
    return [process for process in marked(home) if _is(process, part)]


def family(processes: Iterable[psutil.Process]) -> set[psutil.Process]:
    """Return these processes and all that descend from them."""
    found = set(processes)
    for process in list(found):
        try:
            found |= set(process.children(recursive=True))
        except psutil.NoSuchProcess:
            found.discard(process)
    return found


def stop(processes: Iterable[psutil.Process], grace_seconds: float = GRACE_SECONDS) -> None:
    """Ask processes to end, and end those that do not."""
    asked = list(processes)
    for process in asked:
        _signal(process.terminate)
    _, left = psutil.wait_procs(asked, grace_seconds)
    for process in left:
        _signal(process.kill)
    psutil.wait_procs(left, GRACE_SECONDS)


def sweep(home: Home, spare: Iterable[psutil.Process] = ()) -> None:
    """Stop all that is marked, but for these and their families: what a killed part, or supervisor, has left."""
    kept = family(spare)
    stop(process for process in marked(home) if process not in kept)


def _is(process: psutil.Process, part: Part) -> bool:
    try:
        return (
            tuple(process.cmdline()) == part.command
            and process.environ().get(SPEC) == part.environment[SPEC]
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.Error:
        return False


def _signal(send: object) -> None:
    try:
        send()  # type: ignore[operator]
    except psutil.NoSuchProcess:
        return
