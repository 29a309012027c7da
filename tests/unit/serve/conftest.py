"""A service with a fake worker, for the tests of its routes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serve_fakes import FakeWorkerClient

pytest.importorskip("fastapi", reason="the extra serve is not installed")
from serve_client import HOST, Client, StartService

from crnet.serve.access import AccessPolicy
from crnet.serve.api import Service
from crnet.serve.app import make_app
from crnet.serve.job_queue import JobQueue
from crnet.serve.limits import Limits
from crnet.serve.storage import Storage
from crnet.serve.uploads import Uploads


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    storage = Storage()
    yield storage
    storage.close()
    assert not storage.folder.exists()


@pytest.fixture
def start_service(storage: Storage) -> Iterator[StartService]:
    """A function that starts a service with one fake worker and returns its client."""
    clients: list[Client] = []

    def start(
        limits: Limits | None = None,
        policy: AccessPolicy | None = None,
        worker: FakeWorkerClient | None = None,
        video_folder: Path | None = None,
        client: tuple[str, int] = ("testclient", 50_000),
    ) -> Client:
        limits, worker = limits or Limits(max_upload_mb=1), worker or FakeWorkerClient()
        queue = JobQueue([worker], storage, limits)  # type: ignore[list-item]
        service = Service(queue, Uploads(storage, limits), video_folder)
        app = make_app(service, policy or AccessPolicy())
        http = Client(app, HOST, raise_server_exceptions=False, client=client)
        http.service, http.worker = service, worker
        clients.append(http.__enter__())  # type: ignore[arg-type]
        return http

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def http(start_service: StartService) -> Client:
    return start_service()
