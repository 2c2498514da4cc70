"""Commands run to their end in processes of their own: how long they took, and how much memory all of them held."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLED_EVERY_SECONDS = 0.5
RUSHES = (sys.executable, "-m", "flows.cli")
PROC = Path("/proc")


@dataclass(frozen=True)
class Ran:
    """How a command went."""

    seconds: float
    peak_bytes: int
    """The most that all its processes together held at one time: each page by its share (PSS), files included."""
    peak_private_bytes: int
    """The same without pages of files, which the system can drop at any time. Both 0 where there is no /proc."""
    output: str


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Ran:
    """Run a command and everything that it starts; memory is sampled while it runs.

    Raises:
        subprocess.CalledProcessError: it did not exit with 0; what it said is on stderr already.
    """
    began = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True, env=environment)
    peaks = [(0, 0)]
    done = threading.Event()
    sampler = threading.Thread(target=_sample, args=(process.pid, peaks, done))
    sampler.start()
    output, _ = process.communicate()
    seconds = time.perf_counter() - began
    done.set()
    sampler.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return Ran(seconds, max(total for total, _ in peaks), max(private for _, private in peaks), output)


def repeated(command: Sequence[str | Path], times: int) -> tuple[float, float]:
    """Return the least and the median of how many seconds a command takes."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - began)
    return min(seconds), statistics.median(seconds)


def load() -> str:
    """Return how busy the machine has been, to be told beside a time."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def memory_of(pid: int) -> tuple[int, int]:
    """Return bytes that a process and all its descendants hold, by share: all pages, and those of no file."""
    total = private = 0
    for each in _family(pid):
        try:
            lines = (PROC / str(each) / "smaps_rollup").read_text().splitlines()
        except OSError:  # ended meanwhile
            continue
        kb = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:] if line.endswith("kB")}
        total += kb["Pss"] * 1024
        private += (kb.get("Pss_Anon", kb["Pss"]) + kb.get("Pss_Shmem", 0)) * 1024
    return total, private


def family_seconds(pid: int) -> float:
    """Return core-seconds that a process, its descendants and those of them that have ended have used; 0 without /proc.

    Descendants whose parent has not waited for them when they ended are missing.
    """
    if not PROC.is_dir():
        return 0.0
    ticks = 0
    for each in _family(pid):
        try:
            after_name = (PROC / str(each) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(int(field) for field in after_name[11:15])  # own user and system time, then that of the ended
    return ticks / os.sysconf("SC_CLK_TCK")


def grandchildren(pid: int) -> list[int]:
    """Return the children of a process's children."""
    parents = _parents()
    near = {each for each, parent in parents.items() if parent == pid}
    return [each for each, parent in parents.items() if parent in near]


def peak_of(pid: int) -> int:
    """Return the most bytes that a process has held at one time, pages that it shares included; 0 once it ended."""
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def _sample(pid: int, peaks: list[tuple[int, int]], done: threading.Event) -> None:
    while PROC.is_dir() and not done.wait(SAMPLED_EVERY_SECONDS):
        peaks.append(memory_of(pid))


def _parents() -> dict[int, int]:
    """Return the parent of each process that there is."""
    parents = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(after_name[1])
    return parents


def _family(pid: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for each, parent in _parents().items():
        children.setdefault(parent, []).append(each)
    left = [pid]
    while left:
        each = left.pop()
        yield each
        left += children.get(each, [])
