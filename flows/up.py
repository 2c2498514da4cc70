"""`rushes up` and `rushes down`: archives run by schedule and on arrival, watched in the Prefect UI."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from flows.server.home import Home, ServerError, Wanted, find_home
from pipeline.archive import open_archive

UP_SECONDS = 180.0


def up(options: argparse.Namespace) -> None:
    """Start what is not running, register the archives, and print where the UI is."""
    home = find_home()
    home.make()
    external = os.environ.get("PREFECT_API_URL", "")
    archives = _archives(options.archives, home)
    wanted = Wanted(archives, options.port, external, secrets.token_hex(8))
    if options.foreground:
        from flows.server.supervisor import Supervisor

        home.write(wanted)
        Supervisor(home).run()
        return
    ask(home, wanted)
    _tell(home, wanted, as_json=options.json)


def down(_: argparse.Namespace) -> None:
    """Stop all that `up` has started, and what a killed supervisor has left."""
    home = find_home()
    print("Stopped." if stop(home) else "Nothing was running.", file=sys.stderr)


def ask(home: Home, wanted: Wanted) -> None:
    """Ask the supervisor for something, starting it where there is none; wait until that is done.

    Raises:
        ServerError: it could not be done.
    """
    from flows.server import supervisor

    home.write(wanted)
    started = None
    if pid := home.supervisor():
        os.kill(pid, signal.SIGHUP)
    else:
        started = supervisor.start(home)
    deadline = time.monotonic() + UP_SECONDS
    while home.registered().request != wanted.request:
        if started and started.poll() is not None:
            raise ServerError(_last_words(home, "supervisor"))
        if time.monotonic() > deadline:
            raise ServerError(f"Prefect was not ready within {UP_SECONDS:.0f} s; see {home.logs}.")
        time.sleep(0.1)
    if trouble := home.registered().trouble:
        raise ServerError(" ".join(trouble))


def stop(home: Home) -> bool:
    """Stop everything that was started for a home; tell whether there was something."""
    import psutil

    from flows.server import processes

    found = bool(processes.marked(home)) if home.root.is_dir() else False
    if pid := home.supervisor():
        found = True
        processes.stop([psutil.Process(pid)], grace_seconds=30)
    processes.sweep(home)
    return found


def _archives(given: Sequence[Path], home: Home) -> tuple[str, ...]:
    roots = [open_archive(Path(path)).root for path in given or home.wanted().archives]
    if twice := next((root for root in roots if roots.count(root) > 1), None):
        raise ServerError(f"The archive {twice} is given twice; name it once.")
    return tuple(str(root) for root in roots)


def _tell(home: Home, wanted: Wanted, *, as_json: bool) -> None:
    url = home.place().url
    if as_json:
        told = {"url": url, "auth": None if wanted.external else str(home.auth), "archives": wanted.archives}
        print(json.dumps(told, ensure_ascii=False))
        return
    print(url)
    if not wanted.external:
        print(f"To log in, enter what `cat {home.auth}` shows.", file=sys.stderr)


def _last_words(home: Home, name: str) -> str:
    try:
        lines = (home.logs / f"{name}.log").read_text("utf8", "replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else f"The {name} ended without a word; see {home.logs}."
