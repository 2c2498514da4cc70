"""A small hub on 127.0.0.1: what the hub's own client asks for, answered from memory."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT, NEWER = "a" * 40, "b" * 40


class Hub:
    """Repositories with their commits; the last is `main`."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.asked: list[str] = []
        """Method and path of every request."""
        self.broken: set[str] = set()
        """Files whose content breaks off half-way."""
        self.lies: set[str] = set()
        """Files that come with other bytes than the hub says, as many."""

    def publish(self, repository: str, files: dict[str, bytes], commit: str = COMMIT) -> None:
        self.repositories.setdefault(repository, {})[commit] = files

    def fetched(self) -> set[str]:
        return {path.rsplit("/", 1)[-1] for path in self.asked if path.startswith("GET /") and "/resolve/" in path}


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """Serve it; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            path = self.path.partition("?")[0]
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
                return self.described(*found.groups())
            if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                return self.file(*found.groups(), body=body)
            return self.say(404, b"{}")

        def described(self, repository: str, revision: str | None) -> None:
            commits = hub.repositories.get(repository, {})
            commit = next((c for c in commits if revision and c.startswith(revision)), None)
            if revision in (None, "main") and commits:
                commit = list(commits)[-1]
            if commit is None:
                what = "RevisionNotFound" if commits else "RepoNotFound"
                return self.say(404, b'{"error": "not here"}', {"X-Error-Code": what})
            siblings = [
                {"rfilename": name, "size": len(body)} | ({"lfs": lfs(body)} if is_large(name) else {})
                for name, body in commits[commit].items()
            ]
            said = {"id": repository, "modelId": repository, "sha": commit, "siblings": siblings, "tags": []}
            return self.say(200, json.dumps(said | {"cardData": {"license": "mit"}}).encode())

        def file(self, repository: str, commit: str, name: str, *, body: bool) -> None:
            content = hub.repositories.get(repository, {}).get(commit, {}).get(name)
            if content is None:
                return self.say(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
            if name in hub.lies:
                content = content[:-1] + b"!"
            if name in hub.broken and body:
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                for key, value in headers.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
                return None
            return self.say(200, content, headers)

        def say(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".onnx"))


def lfs(body: bytes) -> dict[str, object]:
    return {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 130}
