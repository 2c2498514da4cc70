"""The one process that keeps the parts running: starts them, starts them again, and stops them.

It holds the home's lock for as long as it lives. Killed, it leaves the parts running, which go on with their work; the
next one finds them, takes over those that run as it would start them, and stops the others. `python -m
flows.server.supervisor` is what `rushes up` starts in the background.
"""

from __future__ import annotations

import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from types import FrameType

import psutil

from flows.server import processes
from flows.server.home import Home, Place, ServerError, Wanted, find_home
from flows.server.parts import Part, plan, registrar, url

LOOK_EVERY_SECONDS = 1.0
STEADY_SECONDS = 60.0
"""A part that ran so long starts again at once; one that did not waits twice as long as the time before."""
LONGEST_WAIT_SECONDS = 60.0
MOST_LOG_BYTES = 5_000_000
PORTS_TRIED = 100


def free_port(first: int) -> int:
    """Return the first port from `first` on where nothing listens on this machine.

    Raises:
        ServerError: there is none within a hundred.
    """
    for port in range(first, min(first + PORTS_TRIED, 65536)):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerError(f"No port from {first} to {first + PORTS_TRIED - 1} is free; name another with --port.")


@dataclass
class _Kept:
    """A part and how it fares."""

    part: Part
    process: psutil.Process | None = None
    started: float = 0.0
    wait_seconds: float = 1.0
    not_before: float = 0.0

    def alive(self) -> bool:
        if self.process is None:
            return False
        if isinstance(self.process, psutil.Popen):
            return self.process.poll() is None
        return self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE

    def ended(self) -> None:
        """Note that it has ended, and when it may start again."""
        now = time.monotonic()
        if now - self.started > STEADY_SECONDS:
            self.wait_seconds = 1.0
        self.not_before = now + self.wait_seconds
        self.wait_seconds = min(self.wait_seconds * 2, LONGEST_WAIT_SECONDS)
        self.process = None


class Supervisor:
    """Keeps the parts of one home running, until it is told to stop."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._wanted = Wanted()
        self._port = 0
        self._kept: dict[str, _Kept] = {}
        self._registrar = _Kept(Part("register", (), {}))
        self._to_register = False
        self._stopping = False
        self._changed = True
        self._wake, self._woken = socket.socketpair()

    def run(self) -> None:
        """Supervise until SIGTERM or SIGINT; SIGHUP makes it read again what is wanted."""
        for end in (self._wake, self._woken):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._heard)
        with self.home.supervising():
            try:
                while not self._stopping:
                    if self._changed:
                        self._changed = False
                        self._replan()
                    self._look()
                    self._bound_logs()
                    self._sleep()
            finally:
                self._stop()

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        self._stopping |= number in (signal.SIGTERM, signal.SIGINT)
        self._changed |= number == signal.SIGHUP

    def _sleep(self) -> None:
        select.select([self._woken], [], [], LOOK_EVERY_SECONDS)
        try:
            while self._woken.recv(4096):
                pass
        except BlockingIOError:
            return

    def _replan(self) -> None:
        """Read what is wanted; keep what runs so, stop what does not."""
        self._wanted = self.home.wanted()
        if not self._server_is_ours():
            self._port = self._wanted.port if self._wanted.external else free_port(self._wanted.port)
        self._follow(plan(self.home, self._wanted, self._port))
        self.home.write(Place(url(self._wanted, self._port)))
        self._to_register = True

    def _server_is_ours(self) -> bool:
        """Tell whether a server runs already, as it would be started; what an earlier supervisor left included."""
        if self._wanted.external:
            return False
        ports = [self._port] if self._port else _ports_told(self.home)
        for port in ports:
            server = plan(self.home, self._wanted, port)[0]
            if processes.running(self.home, server):
                self._port = port
                return True
        return False

    def _follow(self, parts: list[Part]) -> None:
        before = self._kept
        self._kept = {}
        for part in parts:
            kept = before.get(part.name)
            if kept is None or kept.part != part:
                found = processes.running(self.home, part)
                kept = _Kept(part, found[0] if found else None, time.monotonic())
            self._kept[part.name] = kept
        self._sweep()

    def _sweep(self) -> None:
        processes.sweep(self.home, [kept.process for kept in self._kept.values() if kept.process])

    def _look(self) -> None:
        """Start what is not running, as far as its time has come."""
        ended = [kept for kept in self._kept.values() if kept.process and not kept.alive()]
        for kept in ended:
            print(f"{kept.part.name} has ended", flush=True)
            kept.ended()
        if ended:
            self._sweep()  # what it has started must not go on beside what it will start
            self._to_register = True
        up = self._server_answers()
        if not up and self._server_is_down() and free_port(self._port) != self._port:
            self._changed = True  # somebody took the port in the meantime; everything has to know the new one
            return
        for kept in self._kept.values():
            due = time.monotonic() >= kept.not_before and (up or not kept.part.waits_for_server)
            if kept.process is None and due and not self._stopping:
                self._start(kept)
        self._look_after_registering()

    def _server_is_down(self) -> bool:
        return "server" in self._kept and self._kept["server"].process is None

    def _server_answers(self) -> bool:
        if self._wanted.external:
            return True
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def _start(self, kept: _Kept) -> None:
        log = self.home.logs / f"{kept.part.name}.log"
        with log.open("ab") as out:
            kept.process = psutil.Popen(
                kept.part.command, env=dict(kept.part.environment), cwd=self.home.root,
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        kept.started = time.monotonic()

    def _look_after_registering(self) -> None:
        kept = self._registrar
        if kept.process and not kept.alive():
            failed = kept.process.wait() != 0
            kept.ended()
            self._to_register |= failed
        if self._to_register and kept.process is None and time.monotonic() >= kept.not_before:
            self._to_register = False
            self._registrar = replace(kept, part=registrar(self.home, self._wanted, self._port))
            self._start(self._registrar)

    def _bound_logs(self) -> None:
        for log in self.home.logs.glob("*.log"):
            if log.stat().st_size > MOST_LOG_BYTES:
                log.with_suffix(".log.1").write_bytes(log.read_bytes())
                log.open("r+").truncate(0)  # who writes it appends

    def _stop(self) -> None:
        """Stop everything, the server last: until then the others can tell it how they ended."""
        server = self._kept.get("server")
        processes.sweep(self.home, [server.process] if server and server.process else [])
        processes.sweep(self.home)


def _ports_told(home: Home) -> list[int]:
    port = home.place().url.rpartition(":")[2]
    return [int(port)] if port.isdecimal() else []


def start(home: Home) -> subprocess.Popen[bytes]:
    """Start a supervisor in the background."""
    with (home.logs / "supervisor.log").open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.server.supervisor"], cwd=home.root, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=_with_home(home),
        )  # fmt: skip


def _with_home(home: Home) -> dict[str, str]:
    import os

    return {**os.environ, "RUSHES_HOME": str(home.root)}


if __name__ == "__main__":
    Supervisor(find_home()).run()
