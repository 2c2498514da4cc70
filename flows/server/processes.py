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
    mark = str(home.root)
    every = (p for p in psutil.process_iter(["environ"]) if p.info["environ"] and p.pid != os.getpid())
    return [process for process in every if process.info["environ"].get(MARK) == mark and _lives(process)]


def running(home: Home, part: Part) -> list[psutil.Process]:
    """Return the processes that are this very part, with these very settings; more than one is one too many."""
    return [process for process in marked(home) if _is(process, part)]


def names(home: Home) -> list[str]:
    """Return what runs, as people call it."""
    words = {"server": "server", "worker": "worker", "watch": "watcher", "prefect.engine": "flow run"}
    said = [words[word] for process in marked(home) for word in _command(process)[2:4] if word in words]
    return sorted(set(said))


def strays(home: Home, spare: Iterable[psutil.Process] = ()) -> set[psutil.Process]:
    """Return what is marked but for these and their descendants: what a killed part, run or supervisor has left."""
    found = {process.pid: process for process in marked(home)}
    kept = {process.pid for process in spare}
    return {process for process in found.values() if kept.isdisjoint(_line(process, found))}


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


def _line(process: psutil.Process, among: Mapping[int, psutil.Process]) -> set[int]:
    """Return the numbers of a process and of its ancestors, as far as they are among these."""
    line: set[int] = set()
    found: psutil.Process | None = process
    while found is not None and found.pid not in line:
        line.add(found.pid)
        try:
            found = among.get(found.ppid())
        except psutil.NoSuchProcess:
            break
    return line


def _is(process: psutil.Process, part: Part) -> bool:
    said: Mapping[str, str] = process.info["environ"]
    return said.get(SPEC) == part.environment[SPEC] and tuple(_command(process)) == part.command


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:  # it has ended in the meantime
        return []
