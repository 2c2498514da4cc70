"""What is kept running: the Prefect server, a worker, and the watcher, each a command with its environment."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname

from flows.server.home import Home, Wanted
from pipeline.archive import open_archive
from pipeline.errors import RushesError

WORK_POOL = "rushes"
MARK, SPEC = "RUSHES_UP", "RUSHES_UP_PART"
"""Variables in the environment of all that is started here, by which it is found again."""

KEPT = ("PREFECT_LOGGING_", "PREFECT_SERVER_LOGGING_")
"""Of a person's own settings for Prefect, what is heeded. An API key, say, would break our server's authentication."""
DATABASE = ("PREFECT_API_DATABASE_", "PREFECT_SERVER_DATABASE_")
"""What only the server is told: a password may be in it."""


@dataclass(frozen=True)
class Part:
    """A process that is started again when it ends."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    waits_for_server: bool = True


def plan(home: Home, wanted: Wanted, port: int) -> list[Part]:
    """Return the parts that are to run, in the order in which they start."""
    environment = _environment(home, wanted, port)
    parts = []
    started: tuple[str, ...]
    if not wanted.external:
        started = ("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
        database = {key: value for key, value in os.environ.items() if key.startswith(DATABASE)}
        parts.append(_part("server", environment | database, *started, waits_for_server=False))
    started = ("prefect", "worker", "start", "--pool", WORK_POOL, "--type", "process", "--name", worker_name())
    parts.append(_part("worker", environment, *started, "--install-policy", "never"))
    if watched := _watched(wanted):
        parts.append(_part("watch", environment, "flows.cli", "watch", *watched, says="".join(watched.values())))
    return parts


def registrar(home: Home, wanted: Wanted, port: int, since: float) -> Part:
    """Return the process that tells Prefect what there is, and ends.

    Args:
        home: of all this.
        wanted: what is to be told.
        port: of our server.
        since: when the worker was started, in seconds since 1970.
    """
    return _part("register", _environment(home, wanted, port), "flows.server.register", f"{since:.3f}")


def url(wanted: Wanted, port: int) -> str:
    """Return the address of the UI."""
    return wanted.external.removesuffix("/").removesuffix("/api") if wanted.external else f"http://127.0.0.1:{port}"


def worker_name() -> str:
    """Return how this machine's worker is called in Prefect."""
    return f"rushes-{gethostname()}"


def _part(
    name: str, environment: Mapping[str, str], *module: str, waits_for_server: bool = True, says: str = ""
) -> Part:
    command = (sys.executable, "-m", *module)
    # The same part under other settings is another part: what runs by the old ones is found, and replaced.
    settings = {key: value for key, value in environment.items() if key.startswith("PREFECT")}
    said = json.dumps([name, command, settings, says], sort_keys=True)
    spec = hashlib.blake2b(said.encode("utf8", "surrogateescape"), digest_size=8).hexdigest()
    return Part(name, command, {**environment, SPEC: spec}, waits_for_server)


def _watched(wanted: Wanted) -> dict[str, str]:
    """Return the archives whose arrivals are looked for, each with what its rushes.toml says."""
    found = {}
    for root in wanted.archives:
        try:
            archive = open_archive(Path(root))
            if archive.settings.arrivals.watch or archive.settings.arrivals.listen:
                found[root] = (archive.root / "rushes.toml").read_text("utf8")
        except (RushesError, OSError):  # on a disk that comes later, say: `register` says so, and `watch` looks again
            found[root] = ""
    return found


def _environment(home: Home, wanted: Wanted, port: int) -> dict[str, str]:
    own = dict(os.environ) if wanted.external else {k: v for k, v in os.environ.items() if _is_kept(k)}
    scripts = str(Path(sys.executable).parent)
    environment = {
        **own,
        "RUSHES_HOME": str(home.root),
        MARK: str(home.root),
        "PATH": os.pathsep.join([scripts, os.environ.get("PATH", os.defpath)]),  # runs begin as `python -m …`
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
        "PREFECT_HOME": str(home.prefect),
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",  # the default unpickles what lies in the store
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }
    return environment if wanted.external else environment | _ours(home, port)


def _ours(home: Home, port: int) -> dict[str, str]:
    """Return the settings of a server that nobody but this user on this machine reaches."""
    origins = [f"http://{host}:{port}" for host in ("127.0.0.1", "localhost")]
    return {
        "PREFECT_API_URL": f"{origins[0]}/api",
        "PREFECT_API_AUTH_STRING": home.secret(),
        "PREFECT_SERVER_API_AUTH_STRING": home.secret(),
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins),
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home.prefect / "ui"),
    }


def _is_kept(name: str) -> bool:
    return not name.startswith("PREFECT_") or name.startswith(KEPT)
