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


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
            self.tree(*found.groups())
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            self.described(*found.groups())
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.file(*found.groups())
        else:
            self.say(404, b"{}")

    def tree(self, repository: str, commit: str) -> None:
        files = self.hub.repositories[repository][commit]
        listed = [
            {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
            | ({"lfs": lfs(body)} if is_large(name) else {})
            for name, body in files.items()
        ]
        self.say(200, json.dumps(listed).encode())

    def described(self, repository: str, revision: str | None) -> None:
        commits = self.hub.repositories.get(repository, {})
        commit = next((c for c in commits if revision and c.startswith(revision)), None)
        if revision in (None, "main") and commits:
            commit = list(commits)[-1]
        if commit is None:
            self.say(404, b"{}", {"X-Error-Code": "RevisionNotFound" if commits else "RepoNotFound"})
            return
        siblings = [
            {"rfilename": name, "size": len(body)} | ({"lfs": lfs(body)} if is_large(name) else {})
            for name, body in commits[commit].items()
        ]
        said = {"id": repository, "modelId": repository, "sha": commit, "siblings": siblings, "tags": []}
        self.say(200, json.dumps(said | {"cardData": {"license": "mit"}}).encode())

    def file(self, repository: str, commit: str, name: str) -> None:
        content = self.hub.repositories.get(repository, {}).get(commit, {}).get(name)
        if content is None:
            self.say(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        if name in self.hub.lies:
            content = content[:-1] + b"!"
        self.say(200, content, headers, sent=len(content) // 2 if name in self.hub.broken else None)

    def say(self, status: int, content: bytes, headers: dict[str, str] | None = None, sent: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[:sent])
            self.close_connection = sent is not None

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """Serve it; yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".onnx"))


def lfs(body: bytes) -> dict[str, object]:
    sha256 = hashlib.sha256(body).hexdigest()
    return {"sha256": sha256, "oid": sha256, "size": len(body), "pointerSize": 130}
