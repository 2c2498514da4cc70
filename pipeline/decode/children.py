"""Children that decode, seen from the process that wants the result: start one, hear it, end it.

`multiprocessing` is not used: it imports the caller's `__main__` again, which breaks scripts without a guard, and
unpickles what a child sends.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any

from pipeline.decode import wire
from pipeline.decode.server import NOT_STARTED, OUT_OF_MEMORY, REQUEST, STATUS
from pipeline.errors import MediaError

WORK = "pipeline.decode.worker:run"
FAREWELL_SECONDS = 5.0
"""How long a child that closed its pipe may take to end."""
_PIPE_BYTES = 2**20
_STARTUP = "import json, sys; sys.path[:] = json.loads(sys.argv[3]); from pipeline.decode.server import main"
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "PYTHONHOME")
"""What an interpreter may need to start; everything else, credentials first, stays behind."""
_MEMORY_IS_KEPT = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**27)}
"""For glibc: what a frame's buffers took is used for the next frame, not given back. A new page costs a fault, and a
third of the time of scaling a small frame went into them."""


class ForkServer:
    """A fork server and the way to ask it for children. Safe to use from several threads."""

    def __init__(self, work: str = WORK) -> None:
        """Prepare; the server's process starts with the first child.

        Args:
            work: "module:function" that children run; another one than the decoder only in tests of the sandbox.
        """
        self._work, self._lock = work, threading.Lock()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, request: dict[str, Any], media: int, stalled_seconds: float) -> Child:
        """Start a child.

        Args:
            request: what `work` gets; see `worker.run`.
            media: descriptor of the file; stays open here.
            stalled_seconds: for how long in one go the child may be silent while it is waited for.
        """
        heard, answers = os.pipe()
        ours, theirs = socket.socketpair()
        with suppress(AttributeError, OSError):  # a larger pipe, fewer switches between processes
            fcntl.fcntl(heard, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        body = json.dumps(request).encode()
        try:
            with self._lock:
                for attempt in (1, 2):
                    try:
                        server = self._connected()
                        socket.send_fds(server, [REQUEST.pack(len(body))], [media, answers, theirs.fileno()])
                        server.sendall(body)
                        break
                    except (ConnectionError, BrokenPipeError):
                        self._forget()
                        if attempt == 2:
                            raise
        except BaseException:
            os.close(heard)
            ours.close()
            raise
        finally:
            os.close(answers)
            theirs.close()
        return Child(heard, ours, stalled_seconds)

    def close(self) -> None:
        """End the server and all of its children."""
        with self._lock:
            self._forget()

    def forget_after_fork(self) -> None:
        """Leave the server to the process that started it; this one, its fork, gets its own."""
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.returncode = 0  # not our child: nothing to wait for
        self._lock, self._socket, self._process = threading.Lock(), None, None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            ours, theirs = socket.socketpair()
            environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
            environment |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
            environment |= _MEMORY_IS_KEPT
            call = f"{_STARTUP}; main(int(sys.argv[1]), sys.argv[2])"
            arguments = [str(theirs.fileno()), self._work, json.dumps(sys.path)]
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter on our own module
                [sys.executable, "-I", "-c", call, *arguments], pass_fds=[theirs.fileno()], env=environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
            theirs.close()
            self._socket = ours
            if ours.recv(1) != b"+":
                said = self._process.stderr.read(4000).decode("utf-8", "replace") if self._process.stderr else ""
                self._forget()
                raise RuntimeError(f"The decoder's process did not start with {sys.executable}: {said.strip()[-1000:]}")
        return self._socket

    def _forget(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(2)
            if self._process.returncode is None:
                self._process.kill()
                self._process.wait()
            if self._process.stderr:
                self._process.stderr.close()
        self._socket = self._process = None


class Child:
    """One child that decodes one file. Close it; closing kills it where it still runs."""

    def __init__(self, heard: int, report: socket.socket, stalled_seconds: float) -> None:
        self._heard, self._report, self._stalled = heard, report, stalled_seconds
        self._poll = select.poll()
        self._poll.register(heard, select.POLLIN)
        self._open = True
        self.waited_seconds = 0.0
        """For how long it was waited for; while nobody reads, the child's time does not count."""
        self.budget_seconds = float("inf")

    def fileno(self) -> int:
        """Return the descriptor that is readable when the child has said something, for `poll`."""
        return self._heard

    def receive(self) -> wire.Message:
        """Return its next message.

        Raises:
            MediaError: `timeout`, `protocol`, `memory` or `decoder_crash:SIGNAL`; the child is dead then.
        """
        silent = time.monotonic()
        try:
            return wire.read(partial(self._fill, silent))
        except MediaError:
            self.close()
            raise

    def close(self) -> int | None:
        """Kill it if it still runs; return how it ended as `os.waitpid` says, or None if its server died too."""
        if not self._open:
            return None
        self._open = False
        os.close(self._heard)  # it cannot write any more, even before the kill
        with self._report:
            with suppress(OSError):
                self._report.shutdown(socket.SHUT_WR)
            return self._ended()

    def _ended(self) -> int | None:
        self._report.settimeout(30)
        with suppress(OSError):
            status = self._report.recv(STATUS.size)
            if len(status) == STATUS.size:
                return int(STATUS.unpack(status)[0])
        return None

    def _fill(self, silent: float, buffer: memoryview) -> None:
        """Fill the buffer from the pipe, or say why it stays empty."""
        view = buffer.cast("B")
        while len(view):
            began = time.monotonic()
            left = min(self._stalled - (began - silent), self.budget_seconds - self.waited_seconds)
            ready = left > 0 and self._poll.poll(left * 1000)
            self.waited_seconds += time.monotonic() - began
            if not ready:
                raise MediaError("timeout", f"the decoder did not get on for {self._stalled:.0f} s or used up its time")
            n = os.readv(self._heard, [view])
            if n == 0:
                raise self._death()
            view = view[n:]

    def _death(self) -> MediaError:
        """Return what became of a child that stopped talking."""
        self._report.settimeout(FAREWELL_SECONDS)  # a child that closes its pipe and stays alive is killed by `close`
        try:
            status = self._report.recv(STATUS.size)
        except OSError:
            return MediaError("protocol", "the decoder closed its pipe and went on")
        if len(status) < STATUS.size:
            return MediaError("decoder_crash:lost", "the fork server died with it")
        (code,) = STATUS.unpack(status)
        return death(code)


def death(status: int) -> MediaError:
    """Return the error for a child that ended before its last message, from its status as of `os.waitpid`."""
    if status == NOT_STARTED:
        return MediaError("memory", "the system could not start another process")
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == OUT_OF_MEMORY:
        return MediaError("memory", "the decoder had no memory left")
    if os.WIFEXITED(status):
        return MediaError(f"decoder_crash:exit_{os.WEXITSTATUS(status)}", "it ended without an answer")
    number = os.WTERMSIG(status)
    if number == signal.SIGXCPU:
        return MediaError("timeout", "the decoder used up its processor time")
    if number == signal.SIGKILL:
        return MediaError("memory", "the system killed the decoder, most likely for want of memory")
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal_{number}"
    return MediaError(f"decoder_crash:{name}", "the decoder crashed on this file")


_decoders = ForkServer()


def decoders() -> ForkServer:
    """Return this process's fork server for decoding."""
    return _decoders


os.register_at_fork(after_in_child=_decoders.forget_after_fork)
atexit.register(_decoders.close)
