"""A connection to Ray: this machine's own, started for a run, or a cluster that is there; and what to ask of it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ArchiveError

OBJECT_STORE_BYTES = 512 << 20
SAID_BEFORE = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_task_oom_retries": "3",  # for ever otherwise
}
"""What Ray reads from the environment when it is imported."""
UNNEEDED = ("start_monitor", "start_log_monitor", "start_api_server")
"""Of what Ray starts on this machine: its autoscaler, which has no machine to add, what passes on the workers' output,
which nobody reads, and the dashboard's process, which it starts without a dashboard as well, and waits for. They take
2.0 of the 5.9 s of CPU time, and 270 of the 855 MB, that Ray's start takes; it has no setting for them."""
REACH_SECONDS = 10.0
STARTS = 3
"""On a busy machine Ray takes longer to start than it waits for itself, which is half a minute."""
ENCODER_CPUS, LANE_CPUS = 0.5, 0.75
"""Decoders wait for encoders and encoders for decoders: a whole core each would leave small machines idle."""
CPUS_PER_ENCODER = 4


@dataclass(frozen=True)
class Demands:
    """How much of a cluster a run takes."""

    n_encoders: int
    n_lanes: int
    """Decode tasks at once."""
    gpu_share: float
    """Of one GPU, for each encoder; 0 without one."""
    lane_cpus: float
    """Of each decoder; less than usual where the encoders leave no whole share."""

    @classmethod
    def on(cls, n_cpus: float, n_gpus: float, gpu_share: float) -> Demands:
        """Return what suits a cluster: an encoder for every four cores, at least one for every GPU, the rest decodes.

        Args:
            n_cpus: of the whole cluster.
            n_gpus: likewise.
            gpu_share: what one set of the profile's encoders needs of a GPU; 0: it uses none.
        """
        n_encoders = max(1, int(n_cpus) // CPUS_PER_ENCODER)
        share = gpu_share if n_gpus >= 1 else 0.0
        if share:
            n_encoders = max(int(n_gpus), min(n_encoders, int(n_gpus / share)))
        left = n_cpus - n_encoders * ENCODER_CPUS
        return cls(n_encoders, max(1, int(left / LANE_CPUS)), share, max(0.0, min(LANE_CPUS, left)))


@contextmanager
def connected() -> Iterator[Any]:
    """Yield Ray, connected to the cluster that RAY_ADDRESS names or that this process is connected to already.

    Where there is none, one is started on this machine, for nobody else, and stopped in the end.

    Raises:
        ArchiveError: RAY_ADDRESS is a Ray Client address, or there is no cluster where it leads.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://"):
        raise ArchiveError(
            f"RAY_ADDRESS = {address} is a Ray Client address, which breaks with the connection; "
            "run `rushes ingest` on the cluster's head node, or without RAY_ADDRESS."
        )
    variables = {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": str(_threads()), "OPENBLAS_NUM_THREADS": "1"}
    for name, value in SAID_BEFORE.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield ray
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "configure_logging": False}
    if address:
        options["runtime_env"] = {"env_vars": variables}
    else:
        options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    for attempt in range(1, STARTS + 1):
        try:
            _reach(address)
            with environment({} if address else variables), _without(() if address else UNNEEDED):
                ray.init(**options)
            break
        except Exception as exc:  # what Ray raises where it cannot start has no common root
            ray.shutdown()
            if attempt == STARTS or address:
                where = f"the cluster at RAY_ADDRESS = {address}" if address else "Ray on this machine"
                raise ArchiveError(f"Cannot reach {where} ({exc}); start it, or ingest with `--engine local`.") from exc
    try:
        keep_token_private()
        with redirect_stdout(sys.stderr):  # Ray tells there of workers that die, in the midst of what programs read
            yield ray
    finally:
        ray.shutdown()


@contextmanager
def _without(parts: Sequence[str]) -> Iterator[None]:
    """Let Ray start some of its processes not at all; where it has come to call them otherwise, it starts them."""
    from ray._private.node import Node

    meant = {name: getattr(Node, name) for name in parts if hasattr(Node, name)}
    for name in meant:
        setattr(Node, name, _start_nothing)
    try:
        yield
    finally:
        for name, method in meant.items():
            setattr(Node, name, method)


def _start_nothing(node: Any, **_: Any) -> None:
    node._webui_url = None  # the address that the dashboard would have


def _reach(address: str) -> None:
    """Raise OSError where nobody listens: Ray would try for minutes."""
    host, separator, port = address.rpartition(":")
    if separator and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()


def keep_token_private() -> None:
    """Let nobody else read Ray's token, which lets run anything on the cluster: Ray writes it for all to read."""
    with suppress(OSError):
        (Path.home() / ".ray" / "auth_token").chmod(0o600)


def _threads() -> int:
    """Return how many threads an encoder may have: Ray would give it one."""
    n_cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(n_cpus, CPUS_PER_ENCODER)


@contextmanager
def environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables (None: take them away) for what is started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    _set(variables)
    try:
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
