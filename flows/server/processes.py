"""Find and stop what `rushes up` has started, by a mark in the environment that every descendant inherits.

Neither a number that the system has given to another process since, nor a parent that was killed, misleads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress

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


def names(home: Home) -> list[str]:
    """Return what runs, as people call it."""
    words = {"server": "server", "worker": "worker", "watch": "watcher", "prefect.engine": "flow run"}
    said = [words[word] for process in marked(home) for word in _command(process)[2:4] if word in words]
    return sorted(set(said))


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
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(asked, grace_seconds)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, GRACE_SECONDS)


def sweep(home: Home, spare: Iterable[psutil.Process] = ()) -> None:
    """Stop all that is marked, but for these and their families: what a killed part, or supervisor, has left."""
    kept = family(spare)
    stop(process for process in marked(home) if process not in kept)


def _is(process: psutil.Process, part: Part) -> bool:
    said: Mapping[str, str] = process.info["environ"]
    return said.get(SPEC) == part.environment[SPEC] and tuple(_command(process)) == part.command


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:  # it has ended in the meantime
        return []
