"""Tests of the server with a fake worker: routes, limits, texts."""

from __future__ import annotations

import importlib
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the extra serve is not installed")
from serve_fakes import FakeWorkerClient
from starlette.testclient import TestClient

from crnet.errors import ConfigError, MissingDependencyError, UsageError
from crnet.serve.job_queue import JobQueue
from crnet.serve.limits import Limits
from crnet.serve.page import make_page
from crnet.serve.server import make_app, serve
from crnet.serve.storage import UPLOADS, Storage

UPLOAD = "/gradio_api/upload"


@pytest.fixture(scope="module")
def job_queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("server")))
        patch.setenv("GRADIO_TEMP_DIR", "")  # make_app sets it: undone at the end
        limits = Limits(max_upload_mb=1)
        storage = Storage(limits)
        yield JobQueue([FakeWorkerClient()], storage, limits)  # type: ignore[list-item]
        storage.close()


@pytest.fixture(scope="module")
def http(job_queue: JobQueue) -> Iterator[TestClient]:
    with TestClient(make_app(job_queue), raise_server_exceptions=False) as client:
        yield client


def send(http: TestClient, content: bytes, name: str = "talk.mp4") -> str:
    return str(http.post(UPLOAD, files={"files": (name, content)}).json()[0])


def ask(http: TestClient, *data: object) -> tuple[str, Any]:
    event = http.post("/gradio_api/call/score", json={"data": data}).json()["event_id"]
    kind, document = http.get(f"/gradio_api/call/score/{event}").text.strip().split("\n\n")[-1].split("\n")
    return kind, json.loads(document.removeprefix("data: "))


def file(path: str, name: str = "talk.mp4") -> dict[str, Any]:
    return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def test_a_video_is_scored_and_its_files_can_be_downloaded(http: TestClient, job_queue: JobQueue) -> None:
    sent = send(http, b"video")
    kind, (answer,) = ask(http, file(sent), "words", True)
    assert kind == "event: complete"
    assert answer["clip"] == "talk.mp4"
    assert set(answer["files"]) == {"prediction.json", "report.html"}
    worker: Any = job_queue._workers[0]
    assert (worker.jobs[-1].transcript, worker.jobs[-1].explain) == ("words", True)
    report = http.get(answer["files"]["report.html"])
    assert report.status_code == 200
    assert report.headers["content-security-policy"].startswith("sandbox;")  # its scripts do not run
    assert report.headers["content-disposition"].startswith("inline")
    saved = http.get(answer["files"]["prediction.json"], params={"download": True})
    assert saved.headers["content-disposition"] == 'attachment; filename="crnet-prediction.json"'
    assert not Path(sent).parent.exists()


def test_a_client_receives_the_reason_of_a_failure(http: TestClient) -> None:
    kind, answer = ask(http, file(send(http, b"bad")), "", False)
    assert kind == "event: error"
    assert answer["error"] == "not a video (try another)"


@pytest.mark.parametrize(
    ("form", "status", "text"),
    [
        ({"files": {"files": ("a.mp4", bytes(1 << 20))}}, 200, "video.mp4"),
        ({"files": {"files": ("a.mp4", bytes((1 << 20) + 1))}}, 413, "larger than 1 MB"),
        ({"files": {"files": ("a.mp4", bytes(3 << 20))}}, 413, "too large"),
        ({"files": {"other": ("a.mp4", b"x")}}, 413, "no video in the request"),
        ({"files": [("files", ("a.mp4", b"x")), ("files", ("b.mp4", b"x"))]}, 413, "one file"),
        ({"data": {"files": "text"}}, 413, "no video in the request"),
        ({"content": b"--x", "headers": {"Content-Type": "multipart/form-data"}}, 413, "one file"),
        ({"json": {}}, 413, "no video in the request"),
    ],
)
def test_an_upload_is_one_file_within_the_limit(
    http: TestClient, job_queue: JobQueue, form: dict[str, Any], status: int, text: str
) -> None:
    before = len(list((job_queue.storage.folder / UPLOADS).iterdir()))
    answer = http.post(UPLOAD, **form)
    assert (answer.status_code, text in answer.text) == (status, True), answer.text
    assert len(list((job_queue.storage.folder / UPLOADS).iterdir())) == before + (status == 200)


def test_progress_of_an_unknown_upload_ends(http: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crnet.serve.uploads.PROGRESS_TIMEOUT_S", 0.05)
    assert http.get("/gradio_api/upload_progress?upload_id=x").text == 'data: {"msg": "done"}\n\n'


@pytest.mark.parametrize(
    "data",
    [
        [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, "", False],
        [{"path": "http://127.0.0.1:1/", "meta": {"_type": "gradio.FileData"}}, "", False],
        [{"url": "http://127.0.0.1:1/", "meta": {"_type": "gradio.FileData"}}, "", False],
        [{"deep": [{"path": "/etc/passwd"}]}, "", False],
        [{"path": "{uploads}/../../etc/passwd"}, "", False],
    ],
)
@pytest.mark.parametrize("route", ["/gradio_api/call/score", "/gradio_api/queue/join"])
def test_a_call_may_reference_uploads_only(http: TestClient, job_queue: JobQueue, route: str, data: list[Any]) -> None:
    text = json.dumps({"data": data, "fn_index": 0, "session_hash": "x"})
    answer = http.post(route, content=text.replace("{uploads}", str(job_queue.storage.folder / UPLOADS)))
    assert answer.status_code == 400
    assert "not on the server" in answer.text


@pytest.mark.parametrize("content", [b"", b"not json", b"[" * 100_000, b"\xff"])
def test_a_call_that_is_not_json_is_refused(http: TestClient, content: bytes) -> None:
    answer = http.post("/gradio_api/call/score", content=content)
    assert 400 <= answer.status_code < 500
    assert "Traceback" not in answer.text


def test_a_call_that_is_too_large_is_refused(http: TestClient) -> None:
    assert http.post("/gradio_api/call/score", content=bytes(2 << 20)).status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=%2Fetc%2Fpasswd",
        "/gradio_api/file=http://127.0.0.1:1/",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/gradio_api/run/score",
        "/gradio_api/vibe-code/",
        "/gradio_api/runs",
        "/gradio_api/mcp/",
        "/monitoring",
        "/login",
        "/docs",
        "/openapi.json",
    ],
)
def test_routes_that_the_page_does_not_need_are_blocked(http: TestClient, path: str) -> None:
    assert http.get(path).status_code == 404


def test_an_upload_is_served_to_its_visitor(http: TestClient) -> None:
    answer = http.get(f"/gradio_api/file={send(http, b'video')}")
    assert answer.content == b"video"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_begins_with_what_the_scores_are_not(http: TestClient) -> None:
    page = http.get("/").text
    assert "Do not use the scores to make decisions about people." in page
    assert "trained on synthetic people" in page
    assert page.index("What they are not") < page.index("Score this video")


@pytest.mark.parametrize("recognises_speech", [True, False])
def test_the_page_mentions_speech_recognition_if_it_is_on(job_queue: JobQueue, recognises_speech: bool) -> None:
    with_asr = JobQueue([FakeWorkerClient(recognises_speech=recognises_speech)], job_queue.storage, job_queue.limits)  # type: ignore[list-item]
    page, _ = make_page(with_asr)
    assert ("transcribed by speech recognition" in json.dumps(page.get_config_file())) is recognises_speech


def test_a_missing_speech_model_is_reported_before_the_page_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Missing:
        def __init__(self, model: str) -> None:
            self.model = model

        def load(self) -> None:
            raise ConfigError("no speech model", path=self.model)

    monkeypatch.setattr("crnet.serve.server.FasterWhisper", Missing)
    with pytest.raises(ConfigError, match="gone: no speech model"):
        serve(tmp_path, port=0, asr="gone")


def test_a_taken_port_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}"):
            serve(tmp_path, port=port)
    with pytest.raises(UsageError, match="cannot listen"):
        serve(tmp_path, port=70_000)


def test_without_gradio_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "crnet.serve.server")
    with pytest.raises(MissingDependencyError, match=r'pip install "crnet\[serve\]"'):
        importlib.import_module("crnet.serve.server")
