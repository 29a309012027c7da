"""Tests of the REST API with a fake worker: jobs, events, results."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI
from serve_client import Client, StartService, http_scope
from serve_fakes import FakeWorkerClient

from crnet.serve import api
from crnet.serve.access import AccessPolicy
from crnet.serve.api import MAX_FOLLOWERS
from crnet.serve.jobs import Job
from crnet.serve.limits import Limits
from crnet.serve.schemas import JobState, Result

EXAMPLE = Path(__file__).parents[3] / "examples" / "score_video.py"


def test_a_video_is_scored_and_deleted(http: Client) -> None:
    job_id = http.submit(transcript="words", explain=True, name="../../secret/talk.mp4")
    job = http.wait(job_id)
    assert (job["state"], job["name"], job["has_scores"], job["error"]) == ("done", "talk.mp4", True, None)
    assert job["progress"] == {"task": "", "note": "", "scores": 1.0, "explanation": 1.0}
    assert [file["name"] for file in job["files"]] == [
        "explanation.json",
        "gradcam_interview.png",
        "prediction.json",
        "report.html",
    ]
    assert (http.worker.jobs[-1].transcript, http.worker.jobs[-1].explain) == ("words", True)
    result = http.get(f"/v1/jobs/{job_id}/result")
    assert result.headers["cache-control"] == "no-store"
    assert Result(**result.json()).clip == "talk.mp4"
    folder = http.service.job_queue.storage.job_folder(job_id)
    assert [path.name for path in folder.iterdir()] == ["out"]
    assert not list(http.service.job_queue.storage.uploads.iterdir())


def test_events_follow_a_job_to_its_end(http: Client) -> None:
    events = http.get(f"/v1/jobs/{http.submit(explain=True)}/events")
    assert events.headers["content-type"].startswith("text/event-stream")
    states = [JobState(**json.loads(line[6:])) for line in events.text.splitlines() if line.startswith("data: ")]
    assert states[-1].state == "done"
    assert events.text.count("event: job") == len(states)


def test_no_job_takes_every_connection(http: Client) -> None:
    job = http.service.job_queue.get(http.submit())
    job.followers = MAX_FOLLOWERS
    refused = http.get(f"/v1/jobs/{job.id}/events")
    assert (refused.status_code, refused.json()["code"]) == (429, "too-many-followers")
    job.followers -= 1
    assert http.get(f"/v1/jobs/{job.id}/events").status_code == 200
    assert job.followers == MAX_FOLLOWERS - 1


def test_clients_that_follow_a_job_at_the_same_time_all_count(start_service: StartService) -> None:
    http = start_service(worker=FakeWorkerClient(seconds=60))
    job = http.service.job_queue.get(http.submit(explain=True))
    assert http.portal is not None
    statuses = http.portal.call(follow_at_once, http, job, MAX_FOLLOWERS + 2)
    assert sorted(statuses) == [200] * MAX_FOLLOWERS + [429] * 2
    assert job.followers == 0


async def follow_at_once(http: Client, job: Job, count: int) -> list[int]:
    """Let clients follow a job, cancel it once all have an answer, and return the statuses."""
    statuses: list[int] = []
    answered = asyncio.Event()

    async def receive() -> Any:
        await asyncio.Event().wait()  # the clients stay

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
        if len(statuses) == count:
            answered.set()

    scope = http_scope("GET", f"/v1/jobs/{job.id}/events")
    clients = [asyncio.ensure_future(http.app(dict(scope), receive, send)) for _ in range(count)]  # type: ignore[arg-type]
    await answered.wait()
    await http.service.job_queue.cancel(job)
    await asyncio.gather(*clients)
    return statuses


def test_scores_can_be_read_before_the_explanation_is_done(start_service: StartService) -> None:
    http = start_service(worker=FakeWorkerClient(seconds=60))
    job_id = http.submit(explain=True)
    job = http.get(f"/v1/jobs/{job_id}").json()
    assert (job["state"], job["has_scores"]) == ("running", True)
    assert job["progress"]["explanation"] == pytest.approx(0.5 / 7)  # half of the first of seven tasks
    assert http.get(f"/v1/jobs/{job_id}/result").status_code == 200
    early = http.get(f"/v1/jobs/{job_id}/files/report.html")
    assert (early.status_code, early.json()["code"]) == (409, "not-ready")
    assert http.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    assert http.worker.cancelled == 1
    assert http.get(f"/v1/jobs/{job_id}/result").status_code == 200  # the scores stay
    assert http.delete(f"/v1/jobs/{job_id}").status_code == 204
    for path in ("", "/result", "/events", "/files/prediction.json"):
        assert http.get(f"/v1/jobs/{job_id}{path}").status_code == 404
    assert not http.service.job_queue.storage.job_folder(job_id).exists()


def test_a_waiting_job_knows_its_place_and_can_be_cancelled(start_service: StartService) -> None:
    http = start_service(worker=FakeWorkerClient(seconds=60))
    first, second, third = (http.submit() for _ in range(3))
    assert [http.get(f"/v1/jobs/{job}").json()["videos_ahead"] for job in (first, second, third)] == [0, 1, 2]
    assert http.post(f"/v1/jobs/{second}/cancel").json()["state"] == "cancelled"
    assert http.get(f"/v1/jobs/{third}").json()["videos_ahead"] == 1
    assert not http.service.job_queue.storage.job_folder(second).exists()


def test_a_bad_video_fails_with_a_sentence(http: Client) -> None:
    job_id = http.submit(b"bad")
    job = http.wait(job_id)
    assert (job["state"], job["error"]) == ("failed", "not a video (try another)")
    assert http.get(f"/v1/jobs/{job_id}/result").status_code == 404
    assert not http.service.job_queue.storage.job_folder(job_id).exists()


def test_a_full_queue_answers_503_with_the_time_to_wait(start_service: StartService) -> None:
    http = start_service(Limits(max_waiting=0), worker=FakeWorkerClient(seconds=60))
    http.submit()
    upload = http.upload()
    full = http.post("/v1/jobs", json={"upload": upload})
    assert (full.status_code, full.json()["code"], full.headers["retry-after"]) == (503, "queue-full", "10")
    assert http.get(f"/v1/uploads/{upload}").status_code == 200  # it can be tried again without sending the file


def test_files_are_shown_in_the_browser_or_saved(http: Client) -> None:
    job_id = http.submit(explain=True)
    http.wait(job_id)
    report = http.get(f"/v1/jobs/{job_id}/files/report.html")
    assert report.headers["content-security-policy"].startswith("sandbox;")  # its scripts do not run
    assert report.headers["content-disposition"].startswith("inline")
    assert http.get(f"/v1/jobs/{job_id}/files/gradcam_interview.png").headers["content-type"] == "image/png"
    saved = http.get(f"/v1/jobs/{job_id}/files/prediction.json", params={"download": True})
    assert saved.headers["content-disposition"] == 'attachment; filename="crnet-prediction.json"'


def test_a_result_that_is_deleted_while_it_is_sent_arrives(http: Client) -> None:
    job_id = http.submit()
    http.wait(job_id)
    response = api._file(http.service.job_queue, job_id, "prediction.json")
    http.service.job_queue.storage.remove_job(job_id)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await asyncio.Event().wait()

    asyncio.run(response(http_scope("GET", "/"), receive, send))
    assert sent[0]["status"] == 200
    assert Result(**json.loads(b"".join(message["body"] for message in sent[1:]))).clip == "talk.mp4"


def test_a_video_of_the_operator_is_scored_and_stays(start_service: StartService, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    (folder / "day").mkdir(parents=True)
    (folder / "day" / "talk.mp4").write_bytes(b"video")
    http = start_service(video_folder=folder)
    job = http.post("/v1/jobs", json={"path": "day/talk.mp4"}).json()
    assert http.wait(job["id"])["state"] == "done"
    assert job["name"] == "talk.mp4"
    assert (folder / "day" / "talk.mp4").read_bytes() == b"video"


def test_only_files_in_the_operators_folder_can_be_named(start_service: StartService, tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes(b"video")
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    http = start_service(video_folder=folder)
    for path in ("../secret.mp4", str(tmp_path / "secret.mp4"), "link.mp4", "", ".", "gone.mp4", "a\0b", "/dev/zero"):
        refused = http.post("/v1/jobs", json={"path": path})
        assert (refused.status_code, refused.json()["code"]) == (404, "not-found"), path
    http = start_service()
    assert http.post("/v1/jobs", json={"path": "talk.mp4"}).json()["code"] == "no-video-folder"


def test_the_openapi_document_is_valid_and_describes_problems(http: Client) -> None:
    document = http.get("/openapi.json").json()
    OpenAPI.model_validate(document)
    assert "itemSchema" not in json.dumps(document)  # a key of OpenAPI 3.2
    assert document["components"]["schemas"]["NewUpload"]["properties"]["size"]["maximum"] == 1 << 20
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["description"], path
            for status, response in operation["responses"].items():
                if status >= "4":
                    assert list(response["content"]) == ["application/problem+json"], path
            assert path == "/healthz" or {"401", "429", "503"} < set(operation["responses"]), path


def test_generated_clients_get_short_names_every_field_and_the_key(start_service: StartService) -> None:
    documents = [start_service(policy=AccessPolicy(keys=keys)).get("/openapi.json").json() for keys in ((), (b"hash",))]
    for document in documents:
        names = [method["operationId"] for methods in document["paths"].values() for method in methods.values()]
        assert len(set(names)) == len(names)
        assert {"create_upload", "append_to_upload", "create_job", "follow_job", "read_result_file"} < set(names)
        for name, video in (("UploadJob", "upload"), ("FolderJob", "path")):
            job = document["components"]["schemas"][name]
            assert (set(job["properties"]), job["required"]) == ({video, "transcript", "explain"}, [video])
    without, with_keys = documents
    assert "security" not in without
    assert with_keys["components"]["securitySchemes"]["key"] == {"type": "http", "scheme": "bearer"}
    assert with_keys["security"] == [{"key": []}]
    assert with_keys["paths"]["/healthz"]["get"]["security"] == []


@pytest.mark.parametrize("job", [{}, {"upload": "a", "path": "b"}, {"explain": True}, [], "a"])
def test_a_job_names_one_video(http: Client, job: Any) -> None:
    refused = http.post("/v1/jobs", json=job)
    assert refused.status_code == 422
    assert "a job needs either an upload or a path" in refused.json()["detail"]


def test_a_document_without_its_content_type_is_told_to_name_it(http: Client) -> None:
    """Curl's option -d says that it sends a form."""
    for path in ("/v1/uploads", "/v1/jobs"):
        refused = http.post(path, content=b'{"size": 1}', headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert (refused.status_code, "Content-Type: application/json" in refused.json()["detail"]) == (422, True)
    refused = http.post("/v1/uploads", json={"name": "a", "size": 0})
    assert refused.json()["detail"] == "body.size: Input should be greater than or equal to 1"


def test_what_no_route_takes_is_refused_in_a_sentence(http: Client) -> None:
    for method, path, detail in (
        ("GET", "/nothing", "there is nothing at this address (see /docs)"),
        ("PUT", "/v1/jobs", "this address does not take this method (the header Allow names those it takes)"),
    ):
        assert http.request(method, path).json()["detail"] == detail
    chunks = (bytes(1 << 20) for _ in range(4))
    for content in (bytes(4 << 20), chunks):  # with and without the header Content-Length
        large = http.post("/v1/jobs", content=content, headers={"Content-Type": "application/json"})
        assert (large.status_code, large.json()["detail"]) == (413, "the request is larger than the server accepts")
        assert large.headers["cache-control"] == "no-store"
    job_id = http.submit()
    http.wait(job_id)
    for asked, status in (("bytes=9-1", 400), ("bytes=99999-", 416)):
        refused = http.get(f"/v1/jobs/{job_id}/result", headers={"Range": asked})
        assert (refused.status_code, refused.json()["status"]) == (status, status)


def test_a_wrong_method_is_told_the_right_ones(http: Client) -> None:
    refused = http.put("/v1/jobs/0")
    assert (refused.status_code, refused.headers["allow"]) == (405, "DELETE, GET")


def test_the_example_client_waits_when_it_is_told_to(tmp_path: Path) -> None:
    """A server with --rate-limit or a full queue is no error."""
    asked: list[str] = []

    class Busy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(413 if len(asked) == 3 else 503)
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(b'{"detail": "the file is too large"}')

        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "talk.mp4").write_bytes(b"video")
    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [sys.executable, str(EXAMPLE), f"http://127.0.0.1:{server.server_port}", str(tmp_path / "talk.mp4")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        server.shutdown()
    assert (done.returncode, asked) == (1, ["/v1/uploads"] * 3)
    assert done.stderr == 'status 413: {"detail": "the file is too large"}\n'


def test_the_example_client_is_short_and_says_how_to_use_it() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 60
    shown = subprocess.run([sys.executable, str(EXAMPLE), "--help"], capture_output=True, text=True, check=True)
    assert "--transcript" in shown.stdout
