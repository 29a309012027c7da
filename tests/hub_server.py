"""A stand-in for the HTTP API of the Hugging Face Hub on the loopback interface: uploads and downloads."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT_HEADER = "X-Repo-Commit"


class HubServer(ThreadingHTTPServer):
    """Repositories in memory.

    Attributes:
        commits: For each repository, its commits from the first on: hash and files.
        private: Whether each repository is private.
        objects: Large files by their SHA-256, as Git LFS stores them.
        requests: Method and path of every request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.commits: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.private: dict[str, bool] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []

    @property
    def endpoint(self) -> str:
        """The address for `HF_ENDPOINT`."""
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, repository: str, files: dict[str, bytes]) -> str:
        """Add a commit with these files changed and return its hash."""
        earlier = self.commits.setdefault(repository, [])
        whole = {**(earlier[-1][1] if earlier else {}), **files}
        names = "".join(f"{name}{hashlib.sha256(content).hexdigest()}" for name, content in sorted(whole.items()))
        commit = hashlib.sha1(f"{len(earlier)}{names}".encode(), usedforsecurity=False).hexdigest()
        earlier.append((commit, whole))
        return commit


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self._resolve()

    def do_GET(self) -> None:
        self._resolve()

    def do_PUT(self) -> None:
        content, path = self._content(), self._path()
        self.server.objects[path.rpartition("/")[2]] = content
        self._send(200, {})

    def do_POST(self) -> None:
        content, path = self._content(), self._path()
        if path == "/api/repos/create":
            request = json.loads(content)
            name = f"{request['organization']}/{request['name']}"
            exists = name in self.server.commits
            self.server.commits.setdefault(name, [])
            self.server.private.setdefault(name, request.get("visibility") == "private")
            self._send(409 if exists else 200, {"url": f"{self.server.endpoint}/{name}"})
        elif path == "/api/validate-yaml":
            self._send(200, {"errors": [], "warnings": []})
        elif "/preupload/" in path:
            self._send(200, {"files": [_upload_mode(file["path"]) for file in json.loads(content)["files"]]})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(content)["objects"]
            self._send(200, {"transfer": "basic", "objects": [self._upload_action(o) for o in objects]})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            files = dict(self._committed(json.loads(line)) for line in content.splitlines()[1:])
            commit = self.server.commit(match[1], files)
            url = f"{self.server.endpoint}/{match[1]}/commit/{commit}"
            self._send(200, {"commitOid": commit, "commitUrl": url})
        else:
            self._send(404, {"error": "unknown request"})

    def _path(self) -> str:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path))
        return path

    def _content(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _upload_action(self, item: dict[str, Any]) -> dict[str, Any]:
        href = f"{self.server.endpoint}/lfs/{item['oid']}"
        return {"oid": item["oid"], "size": item["size"], "actions": {"upload": {"href": href}}}

    def _committed(self, line: dict[str, Any]) -> tuple[str, bytes]:
        value = line["value"]
        if line["key"] == "lfsFile":
            return value["path"], self.server.objects[value["oid"]]
        return value["path"], base64.b64decode(value["content"])

    def _resolve(self) -> None:
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._path())
        if match is None:
            return self._send(404, {"error": "unknown request"})
        commits = self.server.commits.get(match[1])
        if commits is None:
            return self._send(401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        found = [c for c in commits if c[0] == match[2]] if match[2] != "main" else commits[-1:]
        if not found:
            return self._send(404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
        commit, files = found[0]
        if match[3] not in files:
            headers = {"X-Error-Code": "EntryNotFound", COMMIT_HEADER: commit}
            return self._send(404, {"error": "Entry not found"}, headers)
        content = files[match[3]]
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        return self._send(200, content, {COMMIT_HEADER: commit, "ETag": etag})

    def _send(self, status: int, body: dict[str, Any] | bytes, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _upload_mode(path: str) -> dict[str, Any]:
    mode = "lfs" if path.endswith(".safetensors") else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": None}


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """Run a server in a thread."""
    with HubServer() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
