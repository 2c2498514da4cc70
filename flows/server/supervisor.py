"""The one process that keeps the parts running: starts them, starts them again, and stops them.

It holds the home's lock for as long as it lives. Killed, it leaves the parts running, which go on with their work; the
next one finds them, takes over those that run as it would start them, and stops the others. `python -m
flows.server.supervisor` is what `rushes up` starts in the background.
"""

from __future__ import annotations

import os
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
from flows.server.home import Home, Place, ServerError, find_home
from flows.server.parts import Part, plan, registrar, url

LOOK_EVERY_SECONDS = 1.0
STEADY_SECONDS = 60.0
"""A part that ran so long starts again after a second; another waits twice as long as the time before."""
LONGEST_WAIT_SECONDS = 60.0
STRAY_SECONDS = 5.0
"""How long what a killed run has left may take to end by itself, as Ray's processes do."""
MOST_LOG_BYTES = 5_000_000
PORTS_TRIED = 100


def start(home: Home) -> subprocess.Popen[bytes]:
    """Start a supervisor in the background."""
    with (home.logs / "supervisor.log").open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.server.supervisor"], env={**os.environ, "RUSHES_HOME": str(home.root)},
            cwd=home.root, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip


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

    def start(self, home: Home) -> None:
        with (home.logs / f"{self.part.name}.log").open("ab") as out:
            self.process = psutil.Popen(
                self.part.command, env=dict(self.part.environment), cwd=home.root,
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        self.started = time.monotonic()

    def alive(self) -> bool:
        if isinstance(self.process, psutil.Popen):
            return self.process.poll() is None
        return self.process is not None and self.process.is_running()

    def due(self) -> bool:
        return self.process is None and time.monotonic() >= self.not_before

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
        self._wanted = home.wanted()
        self._port = 0
        self._kept: dict[str, _Kept] = {}
        self._registrar: _Kept | None = None
        """What tells Prefect of the archives; None: Prefect has been told."""
        self._seen_strays: set[psutil.Process] = set()
        self._look_for_strays_at = 0.0
        self._stopping = False
        self._changed = True
        self._woken, self._wake = socket.socketpair()

    def run(self) -> None:
        """Supervise until SIGTERM or SIGINT; SIGHUP makes it read again what is wanted.

        Raises:
            ServerError: another process supervises this home.
        """
        for end in (self._wake, self._woken):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._heard)  # before it can be found, since a SIGHUP unheard would end it
        with self.home.supervising():
            try:
                while not self._stopping:
                    self._turn()
            finally:
                self._stop()

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        self._stopping |= number in (signal.SIGTERM, signal.SIGINT)
        self._changed |= number == signal.SIGHUP

    def _turn(self) -> None:
        try:
            if self._changed:
                self._changed = False
                self._replan()
            self._look()
            self._look_after_registrar()
            self._look_for_strays()
            self._bound_logs()
        except ServerError as error:
            self.home.write(replace(self.home.registered(), request=self._wanted.request, trouble=(str(error),)))
            self._changed = True  # it is tried again
        except (OSError, psutil.Error) as error:  # a full disk, say, must not end what still runs
            print(error, flush=True)
        select.select([self._woken], [], [], LOOK_EVERY_SECONDS)
        try:
            self._woken.recv(4096)
        except BlockingIOError:
            return

    def _replan(self) -> None:
        """Read what is wanted; keep what runs so, stop what does not."""
        self._wanted = self.home.wanted()
        if not self._wanted.external:
            self._port = self._port_of_ours() or free_port(self._wanted.port)
        before, self._kept = self._kept, {}
        for part in plan(self.home, self._wanted, self._port):
            kept = before.get(part.name)
            if kept is None or kept.part != part:
                found = processes.running(self.home, part)
                kept = _Kept(part, found[0] if found else None, time.monotonic())
            kept.not_before = 0.0
            self._kept[part.name] = kept
        self._registrar = self._new_registrar()
        processes.stop(self._strays())
        self.home.write(Place(url(self._wanted, self._port)))

    def _port_of_ours(self) -> int | None:
        """Return where a server runs already as it would be started; one that an earlier supervisor left counts."""
        told = self.home.place().url.rpartition(":")[2]
        for port in {self._port, int(told) if told.isdecimal() else 0} - {0}:
            if any(processes.running(self.home, p) for p in plan(self.home, self._wanted, port) if p.name == "server"):
                return port
        return None

    def _strays(self) -> set[psutil.Process]:
        kept = [*self._kept.values(), *([self._registrar] if self._registrar else [])]
        return processes.strays(self.home, [each.process for each in kept if each.process])

    def _look_for_strays(self) -> None:
        """Stop what a killed run has left, unless it ends by itself in time.

        The worker takes a run for alive as long as a process that it has started holds the end of its output.
        """
        if time.monotonic() >= self._look_for_strays_at:
            now = self._strays()
            processes.stop(now & self._seen_strays)
            self._seen_strays = now
            self._look_for_strays_at = time.monotonic() + STRAY_SECONDS

    def _look(self) -> None:
        """Start what does not run."""
        ended = [kept for kept in self._kept.values() if kept.process and not kept.alive()]
        for kept in ended:
            print(f"The {kept.part.name} has ended; it is started again.", flush=True)
            kept.ended()
        if self._kept["worker"] in ended:
            self._registrar = self._new_registrar()  # which marks the runs that the worker has left as crashed
        if ended:
            processes.stop(self._strays())  # what it has started must not go on beside what it will start
        answers = self._server_answers()
        server = self._kept.get("server")
        if server and server.due() and free_port(self._port) != self._port:
            self._changed = True  # somebody took the port in the meantime; everything has to know the new one
            return
        for kept in self._kept.values():
            if kept.due() and (answers or not kept.part.waits_for_server):
                kept.start(self.home)

    def _server_answers(self) -> bool:
        if self._wanted.external:
            return True
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def _new_registrar(self) -> _Kept:
        worker = self._kept["worker"].process
        since = worker.create_time() if worker else time.time()
        return _Kept(registrar(self.home, self._wanted, self._port, since))

    def _look_after_registrar(self) -> None:
        kept = self._registrar
        if kept is None:
            return
        if kept.process and not kept.alive():
            if kept.process.wait() == 0:
                print(f"Ready: {self.home.place().url}", flush=True)
                self._registrar = None
                return
            print(*self.home.registered().trouble, flush=True)
            kept.ended()
        if kept.due():
            kept.start(self.home)

    def _bound_logs(self) -> None:
        for log in self.home.logs.glob("*.log"):
            if log.stat().st_size > MOST_LOG_BYTES:
                log.with_suffix(".log.1").write_bytes(log.read_bytes())
                os.truncate(log, 0)  # who writes to it appends

    def _stop(self) -> None:
        """Stop everything, the server last: until then the others can tell it how they ended."""
        server = self._kept.get("server")
        processes.stop(processes.strays(self.home, [server.process] if server and server.process else []))
        processes.stop(processes.marked(self.home))


def main() -> int:
    """Supervise the home of this user."""
    try:
        Supervisor(find_home()).run()
    except ServerError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
