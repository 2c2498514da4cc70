"""What a job tells in its log is heard as it was said, and a cluster that is lost becomes a sentence."""

import io
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipeline.errors import ArchiveError, BusyError
from pipeline.executors import jobs
from pipeline.executors.telling import Telling, hear
from tests.pipeline.test_ingest import Silent


class Slow(io.StringIO):
    """A log between whose writes other threads get on."""

    def write(self, text):
        written = super().write(text)
        threading.Event().wait(0.001)
        return written


def test_lines_of_several_threads_do_not_run_into_one_another(monkeypatch):
    monkeypatch.setattr(sys, "stdout", log := Slow())
    telling = Telling()
    threads = [threading.Thread(target=lambda: [telling.started("a", n) for n in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(json.loads(line)["n_bytes"] for line in log.getvalue().splitlines()) == sorted([*range(20)] * 4)


def test_a_name_that_is_no_utf8_is_told_too(monkeypatch):
    monkeypatch.setattr(sys, "stdout", log := io.TextIOWrapper(io.BytesIO(), "utf8"))
    Telling().failed(BusyError("/archives/\udcff is being written."))
    with pytest.raises(BusyError, match="\udcff"):
        hear(log.buffer.getvalue().decode(), Silent())


class Lost(BaseHTTPRequestHandler):
    """Says its version, as Ray does, and fails at anything else."""

    def do_GET(self):
        body = json.dumps({"version": "4", "ray_version": "2.60.0", "session_name": "s"}).encode()
        self.send_response(200 if self.path == "/api/version" else 500)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_): ...


def test_a_cluster_that_answers_no_question_is_a_sentence():
    with HTTPServer(("127.0.0.1", 0), Lost) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        for asked in (lambda: jobs.stop(address, "x"), lambda: jobs.reap(address, lambda _: True)):
            with pytest.raises(ArchiveError, match="does not answer"):
                asked()
        server.shutdown()
