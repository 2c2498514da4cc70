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

UP_SECONDS = 300.0


def up(options: argparse.Namespace) -> None:
    """Start what does not run, register the archives, and print where the UI is."""
    from flows.server.pins import SERVER, wrong_pins

    if wrong := list(wrong_pins(SERVER)):
        raise ServerError(". ".join(wrong))
    home = find_home()
    home.make()
    if options.port > 65535:
        raise ServerError(f"--port {options.port} is no port; name one below 65536.")
    wanted = Wanted(_archives(options.archives, home), options.port, _external(home), secrets.token_hex(8))
    if options.foreground:
        from flows.server.supervisor import Supervisor

        if pid := home.supervisor():
            raise ServerError(f"Rushes is up already (process {pid}); run `rushes down` first.")
        home.write(wanted)
        Supervisor(home).run()
        return
    ask(home, wanted)
    _tell(home, wanted, as_json=options.json)


def down(_: argparse.Namespace) -> None:
    """Stop all that `up` has started, and what a killed supervisor has left."""
    names = stop(find_home())
    print(f"Stopped: {', '.join(names)}." if names else "Nothing was running.", file=sys.stderr)


def ask(home: Home, wanted: Wanted) -> None:
    """Ask the supervisor for something, starting it where there is none; wait until that is done.

    Raises:
        ServerError: it could not be done.
    """
    from flows.server import supervisor

    home.write(wanted)
    pid = home.supervisor()
    started = None if pid else supervisor.start(home)
    if pid:
        os.kill(pid, signal.SIGHUP)
    deadline = time.monotonic() + UP_SECONDS
    while home.registered().request != home.wanted().request:  # of another `up` in the meantime, if there was one
        if started and started.poll() is not None:
            pid = home.supervisor()
            if pid is None:
                raise ServerError(_last_line(home.logs / "supervisor.log"))
            started = None
            os.kill(pid, signal.SIGHUP)  # two were started at once; this one has to read what is wanted now
        if time.monotonic() > deadline:
            raise ServerError(f"Prefect was not ready within {UP_SECONDS:.0f} s; see {home.logs}.")
        time.sleep(0.1)
    if trouble := home.registered().trouble:
        raise ServerError(" ".join(trouble))


def stop(home: Home) -> list[str]:
    """Stop everything that was started for a home; return what that was."""
    import psutil

    from flows.server import processes

    names = processes.names(home)
    if pid := home.supervisor():
        names.append("supervisor")
        processes.stop([psutil.Process(pid)], grace_seconds=30)
    processes.stop(processes.marked(home))
    return names


def _archives(given: Sequence[Path], home: Home) -> tuple[str, ...]:
    roots = [open_archive(Path(path)).root for path in given or home.wanted().archives]
    if twice := next((root for root in roots if roots.count(root) > 1), None):
        raise ServerError(f"The archive {twice} is given twice; name it once.")
    return tuple(str(root) for root in roots)


def _external(home: Home) -> str:
    """Return the address of somebody else's server, which the environment names; empty: there is none.

    Raises:
        ServerError: what the environment says of it cannot be.
    """
    url = os.environ.get("PREFECT_API_URL", "").removesuffix("/")
    if not home.wanted().external and url == f"{home.place().url}/api":  # for the command `prefect`, say
        return ""
    if url and not url.startswith(("http://", "https://")):
        raise ServerError(f"PREFECT_API_URL = {url!r} is no address; write it as http://HOST:4200/api, or unset it.")
    if url and os.environ.get("PREFECT_API_KEY") and os.environ.get("PREFECT_API_AUTH_STRING"):
        raise ServerError("PREFECT_API_KEY hides PREFECT_API_AUTH_STRING; unset what this server does not ask for.")
    return url


def _tell(home: Home, wanted: Wanted, *, as_json: bool) -> None:
    url = home.place().url
    if as_json:
        told = {"url": url, "auth": None if wanted.external else str(home.auth), "archives": wanted.archives}
        print(json.dumps(told, ensure_ascii=False))
        return
    print(url)
    if wanted.external:
        print("PREFECT_API_URL is set: that server is used, and none was started.", file=sys.stderr)
    else:
        print(f"To log in, enter what `cat {home.auth}` shows.", file=sys.stderr)
    if not wanted.archives:
        print("No archive is run; name them: rushes up ARCHIVE …", file=sys.stderr)


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text("utf8", "replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else f"The supervisor has ended without a word; see {log}."
