"""`rushes doctor`: what is wrong with this machine, its Prefect server or an archive, and the cure."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flows.checks import archive as of_archive
from flows.checks import machine, server
from flows.server.client import logged_in
from flows.server.home import Home, find_home
from index.hits import harmless
from pipeline.archive import Archive, open_archive
from pipeline.errors import RushesError

Check = Callable[[], Iterator[str]]
"""Yields a sentence, with its cure, for each thing that is off."""

NOTES = {"sandbox", "time zone"}
"""Checks whose sentences are for information: what they find may be meant, or cannot be helped on this machine."""

MACHINE: Mapping[str, Check] = {
    "packages": machine.packages,
    "ffmpeg": machine.ffmpeg,
    "sandbox": machine.sandbox,
    "RAY_ADDRESS": machine.ray_address,
    "Ray's token": machine.ray_token,
    "shared memory": machine.shared_memory,
    "scratch": machine.scratch,
    "clock": machine.clock,
}
ARCHIVE: Mapping[str, Callable[[Archive], Iterator[str]]] = {
    "storage": of_archive.storage,
    "sources": of_archive.sources,
    "weights": of_archive.weights,
    "tables": of_archive.tables,
    "time zone": of_archive.time_zone,
}


@dataclass(frozen=True)
class Finding:
    """How a check ended."""

    check: str
    wrong: tuple[str, ...]

    @property
    def grade(self) -> str:
        """`ok`, `note`, or `off`."""
        return "ok" if not self.wrong else "note" if self.check.partition(" of ")[0] in NOTES else "off"


def doctor(options: argparse.Namespace) -> int:
    """Print a line for each check; return 1 if something is off."""
    found = []
    for finding in examine(options.archives, find_home()):
        found.append(finding)
        if options.json:
            said = {"check": finding.check, "grade": finding.grade, "wrong": finding.wrong}
            print(json.dumps(said, ensure_ascii=False), flush=True)
        else:
            for sentence in finding.wrong or ("",):
                print(f"{finding.grade:5} {finding.check}{': ' if sentence else ''}{harmless(sentence)}", flush=True)
    return int(any(finding.grade == "off" for finding in found))


def examine(given: list[Path], home: Home) -> Iterator[Finding]:
    """Yield how each check of the machine, the server and the archives ends.

    Args:
        given: archives; none: those that `rushes up` runs.
        home: of `rushes up`; its server is looked at if there was one.
    """
    for name, check in MACHINE.items():
        yield _finding(name, check)
    archives = []
    for root in given or [Path(root) for root in home.wanted().archives]:
        try:
            archives.append(open_archive(root))
        except RushesError as error:
            yield Finding(f"archive of {root}", (str(error),))
    for archive in archives:
        for name, look in ARCHIVE.items():
            yield _finding(f"{name} of {archive.root}", partial(look, archive))
    if home.place().url:
        yield from _of_server(home, [a for a in archives if str(a.root) in home.wanted().archives])


def _of_server(home: Home, archives: list[Archive]) -> Iterator[Finding]:
    runs = _finding("server", partial(server.running, home))
    yield runs
    if runs.wrong:
        return
    yield _finding("log-in", partial(server.guarded, home))
    with logged_in(home) as client:
        yield _finding("worker", partial(server.worker, client))
        yield _finding("zombie runs", partial(server.zombies, client))
        for archive in archives:
            yield _finding(f"schedule of {archive.root}", partial(server.scheduled, client, archive))


def _finding(name: str, check: Check) -> Finding:
    try:
        return Finding(name, tuple(check()))
    except Exception as error:  # a check that cannot be made is a finding too, and the others go on
        return Finding(name, (f"It could not be looked at ({type(error).__name__}: {error}).",))
