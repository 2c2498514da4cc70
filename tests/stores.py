"""An S3 server on this machine, and a proxy before it that breaks what one asks it to."""

import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SECRET = "canary-of-a-secret-key"
ANSWER = "HTTP/1.1 {0}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Objects:
    """A bucket, filled and emptied as a camera crew would."""

    def __init__(self, endpoint: str, name: str) -> None:
        import boto3

        self.endpoint, self.name = endpoint, name
        self.client: Any = boto3.client(
            "s3", endpoint_url=f"http://{endpoint}", region_name="us-east-1", aws_access_key_id="someone",
            aws_secret_access_key=SECRET,
        )  # fmt: skip
        self.client.create_bucket(Bucket=name)

    def uri(self, prefix: str = "", endpoint: str = "") -> str:
        return f"s3://{self.name}{prefix}?endpoint_override={endpoint or self.endpoint}&scheme=http"

    def put(self, key: str, body: bytes = b"x") -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def put_many(self, keys: Sequence[str]) -> None:
        """Put small objects past HTTP: the server is a thread of this process."""
        from moto.s3.models import s3_backends

        for key in keys:
            s3_backends["123456789012"]["aws"].put_object(self.name, key, b"x")

    def put_folder(self, folder: Path, prefix: str = "") -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(prefix + path.relative_to(folder).as_posix(), path.read_bytes())

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)


@contextmanager
def s3_server() -> Iterator[str]:
    """Serve S3 from memory on a free port of this machine; yield HOST:PORT."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"{host}:{port}"
    finally:
        server.stop()


class Proxy:
    """Passes connections on to a server, but for the fault that is set.

    pass · refuse (nobody listens) · drop (accepts and hangs up) · silent (accepts and never answers) · cut (resets the
    connection inside the answer) · slow (0.2 s before each piece) · "503 Slow Down" or any other answer of HTTP.
    """

    def __init__(self, endpoint: str) -> None:
        host, port = endpoint.rsplit(":", 1)
        self._server = (host, int(port))
        self.fault = "pass"
        self.n_faults = -1
        """How many connections the fault is for; -1: all."""
        self.n_connections = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def break_with(self, fault: str, n_faults: int = -1) -> None:
        """Break connections from now on, and those that are open."""
        self.n_faults, self.fault = n_faults, fault
        for each in self._open:
            _reset(each)
        self._open.clear()

    def close(self) -> None:
        self.break_with("drop")
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.n_connections += 1
                fault = self.fault if self.n_faults else "pass"
                if fault != "pass" and self.n_faults > 0:
                    self.n_faults -= 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection, fault), daemon=True).start()

    def _serve(self, connection: socket.socket, fault: str) -> None:
        with suppress(OSError):
            if fault == "drop":
                _reset(connection)
            elif fault == "silent":
                return
            elif fault[0].isdigit():
                connection.recv(1 << 16)
                connection.sendall(ANSWER.format(fault).encode())
                connection.close()
            else:
                upstream = socket.create_connection(self._server)
                threading.Thread(target=_pump, args=(connection, upstream, "pass"), daemon=True).start()
                _pump(upstream, connection, fault)


def _pump(source: socket.socket, sink: socket.socket, fault: str) -> None:
    with suppress(OSError):
        n_bytes = 0
        while piece := source.recv(1 << 16):
            if fault == "slow":
                time.sleep(0.2)
            n_bytes += len(piece)
            if fault == "cut" and n_bytes > 2000:
                sink.sendall(piece[:1000])
                break
            sink.sendall(piece)
    for each in (source, sink):
        _reset(each)


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
