"""A real `rushes up` for tests: a Prefect server, a worker and what belongs to them, stopped in the end.

    @pytest.fixture(scope="module")
    def served(tmp_path_factory):
        with serving(tmp_path_factory.mktemp("home"), archive.root) as served:
            yield served

`served.client()` is Prefect's own client, logged in; `served.environment` is for what a test starts by itself.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from flows.server import processes
from flows.server.home import Home

_T = TypeVar("_T")
ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class Served:
    """What runs, and how to reach it."""

    home: Home
    environment: Mapping[str, str]
    url: str

    @contextmanager
    def client(self) -> Iterator["SyncPrefectClient"]:  # noqa: F821
        """Yield Prefect's client, logged in; inside, `emit_event` and `run_deployment` reach this server as well."""
        from prefect import settings
        from prefect.client.orchestration import get_client
        from prefect.settings import temporary_settings

        there = {
            settings.PREFECT_API_URL: f"{self.url}/api",
            settings.PREFECT_API_AUTH_STRING: self.home.secret(),
            settings.PREFECT_HOME: self.home.prefect,
        }
        with temporary_settings(there), get_client(sync_client=True) as client:
            yield client

    def part(self, name: str) -> psutil.Process:
        """Return the process of `server`, `worker` or `watch`, once there is one."""
        return until(lambda: next(iter(self.parts(name)), None))

    def parts(self, name: str) -> list[psutil.Process]:
        return [process for process in processes.marked(self.home) if name in _words(process)[2:4]]

    def up(self, *arguments: str, code: int = 0) -> str:
        """Run `rushes up` again; return what it printed, or what it complained of."""
        done = rushes(self.environment, "up", *arguments, code=code)
        return done.stderr if code else done.stdout

    def down(self) -> str:
        return rushes(self.environment, "down").stderr


@contextmanager
def serving(root: Path, *archives: Path, environment: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Run `rushes up ARCHIVES` with a home of its own, on a free port."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    # A run of the tests' own flows finds them, as it finds what is installed.
    env |= {"RUSHES_HOME": str(root), "PYTHONPATH": str(ROOT), **(environment or {})}
    try:
        told = rushes(env, "up", *map(str, archives), "--port", str(free_port()), "--json")
        yield Served(Home(root), env, json.loads(told.stdout)["url"])
    finally:
        rushes(env, "down")


def rushes(env: Mapping[str, str], *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run a command of Rushes; its exit code has to be as said, if any is."""
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments], env=dict(env), capture_output=True, text=True, check=False,
        timeout=PATIENCE_SECONDS, cwd=ROOT,
    )  # fmt: skip
    assert code is None or done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def until(look: Callable[[], _T], seconds: float = PATIENCE_SECONDS) -> _T:
    """Look again and again until there is something to see; return it."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, "It did not happen."
        time.sleep(0.2)
    return seen


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
