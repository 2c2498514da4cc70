"""The fork server: a process with the decoders loaded that forks one child per file.

It runs no hostile byte itself. It is started by `children.py`, is single-threaded, knows its client by one Unix
socket, and goes, taking all children along, when that socket closes. A request is a length, JSON, and three
descriptors: the file, the pipe for the child's answers, and a socket on which the server reports how the child ended
and reads, or sees closed, that it is to be killed.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

from pipeline.decode import sandbox
from pipeline.media import Media

Work = Callable[[dict[str, Any], int, int], None]
STATUS = struct.Struct("<i")
"""What `os.waitpid` said of the child."""
NOT_STARTED = -1
OUT_OF_MEMORY = 3
"""With this a child exits that had no memory left even to say so."""
REQUEST = struct.Struct(">I")
_MEDIA, _ANSWERS = 3, 4


def main(descriptor: int, work: str) -> None:
    """Serve one client until it closes its socket.

    Args:
        descriptor: of the client's socket.
        work: "module:function" that children call with the request and two descriptors.
    """
    module, _, function = work.partition(":")
    loaded = import_module(module)
    if hasattr(loaded, "preload"):
        loaded.preload()
    sandbox.leave_network()
    gc.collect()
    gc.freeze()  # children would otherwise copy every page whose reference marks the collector touches
    client = socket.socket(fileno=descriptor)
    os.dup2(1, 2)  # to /dev/null: nobody listens any more, and a child that floods it would block
    client.sendall(b"+")
    _Server(client, getattr(loaded, function)).serve()


class _Server:
    def __init__(self, client: socket.socket, work: Work) -> None:
        self._client, self._work = client, work
        self._children: dict[int, socket.socket] = {}
        self._pid = os.getpid()
        self._selector = selectors.DefaultSelector()
        self._wake, wake = socket.socketpair()
        for end in (self._wake, wake):
            end.setblocking(False)
        self._waker = wake
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(client, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)

    def serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._wake:
                    with suppress(BlockingIOError):
                        self._wake.recv(4096)
                elif key.fileobj is self._client:
                    if not self._accept():
                        for pid in self._children:
                            _kill(pid)
                        return
                else:  # its client has no more use for this child
                    self._selector.unregister(key.fileobj)
                    _kill(key.data)
            self._reap()

    def _accept(self) -> bool:
        """Take one request and fork a child for it; return False once the client is gone."""
        try:
            head, descriptors, _, _ = socket.recv_fds(self._client, REQUEST.size, 3)
            if len(head) < REQUEST.size or len(descriptors) != 3:
                return False
            body = b""
            (length,) = REQUEST.unpack(head)
            while len(body) < length:
                body += (part := self._client.recv(length - len(body)))
                if not part:
                    return False
        except ConnectionError:
            return False
        media, answers, status = descriptors
        report = socket.socket(fileno=status)
        try:
            pid = os.fork()
        except OSError:
            report.send(STATUS.pack(NOT_STARTED))
            report.close()
            pid = -1
        if pid == 0:
            self._become_child(json.loads(body), media, answers)
        os.close(media)
        os.close(answers)
        if pid > 0:
            self._children[pid] = report
            self._selector.register(report, selectors.EVENT_READ, pid)
        return True

    def _become_child(self, request: dict[str, Any], media: int, answers: int) -> None:
        """Never returns."""
        code, parent = 1, self._pid
        try:
            signal.set_wakeup_fd(-1)
            high = max(media, answers, _ANSWERS) + 1
            os.dup2(media, high)
            os.dup2(answers, high + 1)
            os.dup2(high, _MEDIA, inheritable=False)
            os.dup2(high + 1, _ANSWERS, inheritable=False)
            os.closerange(_ANSWERS + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
            spare = request["media"] != Media.IMAGE  # FFmpeg duplicates its descriptor before it reads a byte
            sandbox.enter(parent, _ANSWERS + 1 + spare, request["limits"]["memory_bytes"], request["cpu_seconds"])
            self._work(request, _MEDIA, _ANSWERS)
            code = 0
        except MemoryError:
            code = OUT_OF_MEMORY
        finally:
            os._exit(code)

    def _reap(self) -> None:
        """Report on the children that have ended."""
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            report = self._children.pop(pid)
            with suppress(KeyError):
                self._selector.unregister(report)
            with suppress(OSError):
                report.send(STATUS.pack(status))
            report.close()


def _kill(pid: int) -> None:
    """Kill a child, which is not reaped yet, so that its number is still its own."""
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
