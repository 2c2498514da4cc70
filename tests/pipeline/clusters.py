"""A real Ray cluster on this machine for tests: a head and, if wanted, a second raylet, on ports of their own."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import requests

ROOT = Path(__file__).parent.parent.parent
TOYED = ROOT / "tests/flows/toyed"
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Cluster:
    """What runs, and how to reach it."""

    address: str
    """Of the Jobs API."""
    gcs: str
    """Where raylets and drivers connect to."""
    token: str
    environment: Mapping[str, str]
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def processes(self, *names: str) -> list[psutil.Process]:
        """Return what runs in the cluster under one of these names, and all below it."""
        below = [p for node in self.nodes for p in _below(node.pid)]
        named = [p for p in below if any(name in _command(p) for name in names)]
        return [*named, *(child for p in named for child in _below(p.pid))]


@contextmanager
def cluster(n_nodes: int = 1) -> Iterator[Cluster]:
    """Start a cluster, wait until its Jobs API answers, and end all of it."""
    home = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: the names of sockets have to fit
    gcs, dashboard = f"127.0.0.1:{free_port()}", free_port()
    token = secrets.token_hex(16)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PYTHONPATH": f"{TOYED}:{ROOT}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_task_oom_retries": "3",
        "HOME": str(home),
    }
    started = Cluster(f"http://127.0.0.1:{dashboard}", gcs, token, environment)
    head = ["--head", f"--port={gcs.partition(':')[2]}", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1",
            f"--ray-client-server-port={free_port()}", f"--temp-dir={home}"]  # fmt: skip
    try:
        started.nodes.append(_node(head, environment))
        until(lambda: _answers(started))
        for _ in range(n_nodes - 1):
            started.nodes.append(_node([f"--address={gcs}"], environment))
        yield started
    finally:
        left = [
            p for node in started.nodes for p in [psutil.Process(node.pid), *_below(node.pid)] if node.poll() is None
        ]
        for node in started.nodes:
            node.send_signal(signal.SIGTERM)
        psutil.wait_procs(left, timeout=10)
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for node in started.nodes:
            node.wait()
        shutil.rmtree(home, ignore_errors=True)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def until(holds, patience: float = PATIENCE_SECONDS):
    """Wait until something holds; return it."""
    ends = time.monotonic() + patience
    while not (found := holds()):
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.1)
    return found


def _node(arguments: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    common = ["--num-cpus=2", f"--object-store-memory={128 << 20}", f"--dashboard-agent-listen-port={free_port()}",
              "--node-ip-address=127.0.0.1", "--block"]  # fmt: skip
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments, *common]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd=ROOT)


def _answers(started: Cluster) -> bool:
    headers = {"Authorization": f"Bearer {started.token}"}
    with suppress(requests.RequestException):
        return requests.get(f"{started.address}/api/jobs/", headers=headers, timeout=5).status_code == 200
    return False


def _below(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""
