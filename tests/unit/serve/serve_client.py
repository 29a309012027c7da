"""Client of a service with a fake worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from serve_fakes import FakeWorkerClient
from starlette.testclient import TestClient

from crnet.serve.api import Service

HOST = "http://127.0.0.1"


class Client(TestClient):
    """Sends requests to a service, and knows the service."""

    service: Service
    worker: FakeWorkerClient

    def upload(self, content: bytes = b"video", name: str = "talk.mp4") -> str:
        """Upload a video; return its id."""
        upload_id = self.post("/v1/uploads", json={"name": name, "size": len(content)}).json()["id"]
        assert self.patch(f"/v1/uploads/{upload_id}", content=content).json()["offset"] == len(content)
        return str(upload_id)

    def submit(self, content: bytes = b"video", *, name: str = "talk.mp4", **more: Any) -> str:
        """Upload a video and create its job; return the job's id."""
        response = self.post("/v1/jobs", json={"upload": self.upload(content, name), **more})
        assert response.status_code == 202, response.text
        return str(response.json()["id"])

    def wait(self, job_id: str) -> dict[str, Any]:
        """Follow a job to its end; return its last state."""
        assert self.get(f"/v1/jobs/{job_id}/events").status_code == 200
        return dict(self.get(f"/v1/jobs/{job_id}").json())


def http_scope(method: str, path: str) -> dict[str, Any]:
    """Return an ASGI scope, for requests that `Client` cannot send."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("10.0.0.1", 1),
        "server": ("localhost", 80),
        "scheme": "http",
        "http_version": "1.1",
        "root_path": "",
    }


StartService = Callable[..., Client]
