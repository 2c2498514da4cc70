"""Takes what object stores send when something was put into a bucket (`listen` in rushes.toml).

    POST /notifications    204 taken · 400 no notification · 401 the secret is wrong · 413 too large

The secret is made by the first start and lies in Rushes' home, readable by its owner only. It comes as `Authorization:
Bearer SECRET` (MinIO: `auth_token`), as `X-Rushes-Secret`, as the password of `https://any:SECRET@host` (SNS), or, for
Pub/Sub, which sends nothing else, as `?secret=SECRET`. There is no TLS here: off this machine, put a proxy in front.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from flows.notifications import NotificationError, Put, puts
from pipeline.errors import RushesError

PATH = "/notifications"
SHORTEST_SECRET = 16
LARGEST_BODY = 1 << 20
"""Bytes. SNS sends at most 256 KiB, before it is quoted."""
MOST_AT_ONCE = 32
"""Connections; more are turned away."""
LONGEST_SECONDS = 15.0
"""Time that one connection has, whatever it does."""
SAY_EVERY_SECONDS = 60.0


def read_secret(file: Path) -> str:
    """Return the secret that senders show, made at first; its file is readable by its owner only.

    Raises:
        ReceiverError: the file holds none.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf8") as made:
            made.write(secrets.token_urlsafe(32) + "\n")
    except FileExistsError:
        file.chmod(0o600)
    secret = file.read_text("utf8").strip()
    if len(secret) < SHORTEST_SECRET:
        raise ReceiverError(
            f"{file} holds no secret of {SHORTEST_SECRET} characters or more; remove it to have one made."
        )
    return secret


class ReceiverError(RushesError):
    """Notifications cannot be taken."""


class Receiver(ThreadingHTTPServer):
    """A server that hands on what was put, until it is closed."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = MOST_AT_ONCE

    def __init__(
        self, endpoint: str, secret: str, take: Callable[[Sequence[Put]], None], say: Callable[[str], None]
    ) -> None:
        """Listen.

        Args:
            endpoint: HOST:PORT.
            secret: what senders have to show; not empty.
            take: is given what was put, from several threads.
            say: takes a sentence for people.

        Raises:
            OSError: the port is taken, or not this machine's.
        """
        host, _, port = endpoint.rpartition(":")
        self.secret, self.take = secret.encode(), take
        self._say, self._saying = say, threading.Lock()
        self._said: dict[str, float] = {}
        self._room = threading.BoundedSemaphore(MOST_AT_ONCE)
        super().__init__((host, int(port)), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, name=f"receiver {endpoint}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()

    def say(self, kind: str, sentence: str) -> None:
        """Tell people, but of one kind of trouble once a minute."""
        with self._saying:
            now = time.monotonic()
            if now - self._said.get(kind, -SAY_EVERY_SECONDS) < SAY_EVERY_SECONDS:
                return
            self._said[kind] = now
        self._say(sentence)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give each connection a thread and a time, and turn away what is too much."""
        if not self._room.acquire(blocking=False):
            self.say("full", f"More than {MOST_AT_ONCE} senders at once; some are turned away, and will try again.")
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread was to be had
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """End the connection when its time is over, in whatever small steps it sends."""
        timer = threading.Timer(LONGEST_SECONDS, _end, [request])
        timer.daemon = True
        timer.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            timer.cancel()
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as it is called
        """Take no notice of connections that break."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.say("bug", f"A notification could not be handled ({error!r}).")


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    server_version, sys_version = "Rushes", ""
    protocol_version = "HTTP/1.1"
    timeout = LONGEST_SECONDS

    def do_POST(self) -> None:
        if self.path.partition("?")[0].rstrip("/") != PATH:
            self._answer(HTTPStatus.NOT_FOUND, f"Notifications are taken at {PATH}.")
        elif not self._knows_secret():
            self.server.say("secret", f"A sender at {self.client_address[0]} did not show the secret.")
            self._answer(HTTPStatus.UNAUTHORIZED, "Show the secret, as Authorization: Bearer SECRET.")
        else:
            self._take()

    def _take(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            self._answer(HTTPStatus.BAD_REQUEST, "Say how long the body is, with Content-Length.")
            return
        if len(length) > len(str(LARGEST_BODY)) or int(length) > LARGEST_BODY:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body may have {LARGEST_BODY} bytes at most.")
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return
        try:
            self.server.take(puts(body))
        except NotificationError as error:
            self.server.say("body", f"A notification was not taken. {error}")
            self._answer(HTTPStatus.BAD_REQUEST, str(error))
        else:
            self._answer(HTTPStatus.NO_CONTENT)

    def _knows_secret(self) -> bool:
        kind, _, shown = self.headers.get("Authorization", "").partition(" ")
        said = [self.headers.get("X-Rushes-Secret", ""), *parse_qs(self.path.partition("?")[2]).get("secret", [])[:1]]
        if kind.lower() == "bearer":
            said.append(shown.strip())
        elif kind.lower() == "basic":
            said.append(_password(shown))
        return any(hmac.compare_digest(each.encode("utf8", "replace"), self.server.secret) for each in said)

    def _answer(self, status: HTTPStatus, sentence: str = "") -> None:
        """Answer, and be done with the connection."""
        body = f"{sentence}\n".encode() if sentence else b""
        self.send_response(status)
        if status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True
        if status != HTTPStatus.NO_CONTENT:
            self._hear_out()

    def _hear_out(self) -> None:
        """Read what is still being sent: closed over it, the connection would break before the answer is read."""
        self.connection.shutdown(socket.SHUT_WR)
        left = LARGEST_BODY
        while left > 0 and (read := self.connection.recv(1 << 16)):
            left -= len(read)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server calls
        """Log nothing by itself: addresses may hold the secret."""


def _password(shown: str) -> str:
    try:
        return base64.b64decode(shown, validate=True).decode("utf8").partition(":")[2]
    except ValueError:
        return ""


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
