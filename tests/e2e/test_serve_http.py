"""Tests of the REST API as programs use it, and of the server under bad input and load."""

from __future__ import annotations

import html
import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crnet.demo import DemoResult
from crnet.types import TARGETS
from grey_video import write_grey_video

if TYPE_CHECKING:
    from conftest import Served

httpx = pytest.importorskip("httpx2", reason="httpx2 is not installed")
pytestmark = pytest.mark.slow

GOOD, BROKEN, AT_ONCE = 6, 4, 5
EXAMPLE = Path(__file__).parents[2] / "examples" / "score_video.py"


@pytest.fixture(scope="module")
def http(served: Served) -> Iterator[Any]:
    with httpx.Client(base_url=served.url, timeout=180) as client:
        yield client


def score(http: Any, content: bytes, **more: Any) -> dict[str, Any]:
    """Score a video; return the state of the job at its end."""
    upload = http.post("/v1/uploads", json={"name": "talk.mp4", "size": len(content)}).json()["id"]
    http.patch(f"/v1/uploads/{upload}", content=content)
    job = http.post("/v1/jobs", json={"upload": upload, **more}).json()["id"]
    lines = [line for line in http.get(f"/v1/jobs/{job}/events").text.splitlines() if line.startswith("data: ")]
    return dict(json.loads(lines[-1].removeprefix("data: ")))


def result(http: Any, job: dict[str, Any]) -> dict[str, Any]:
    return dict(http.get(f"/v1/jobs/{job['id']}/result").json())


BAD = {
    "text": (lambda _: b"this is text", "not a video"),
    "headless": (lambda content: content[len(content) // 3 :], "not a video"),
    "noise": (lambda _: bytes(range(256)) * 400, "not a video"),
    "playlist": (lambda _: b"#EXTM3U\n#EXTINF:3,\n/etc/hostname\n", "not a video"),
}


def test_the_transcript_changes_the_audio_text_score(http: Any, demo: DemoResult) -> None:
    content = demo.video.read_bytes()
    silent = result(http, score(http, content))
    subtitles = "1\n00:00:00,000 --> 00:00:02,000\nI love a party with friends\n"
    spoken = result(http, score(http, content, transcript=subtitles))
    assert silent["streams"]["audio-text"] != spoken["streams"]["audio-text"]
    assert silent["streams"]["scene"] == spoken["streams"]["scene"]
    assert list(silent["scores"]) == list(TARGETS)
    assert silent["clip"] == "talk.mp4"


def test_the_example_client_works(served: Served, demo: DemoResult, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    command = [sys.executable, str(EXAMPLE), served.url, str(demo.video), "--report", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    assert set(json.loads(done.stdout)["scores"]) == set(TARGETS)
    assert "What drove the scores" in report.read_text(encoding="utf-8")
    broken = subprocess.run([*command[:3], str(EXAMPLE)], capture_output=True, text=True, timeout=180, check=False)
    assert (broken.returncode, "not a video" in broken.stderr) == (1, True)


def test_the_commands_on_the_page_work(http: Any, demo: DemoResult, tmp_path: Path) -> None:
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("curl or bash is missing")
    curl, python = (
        html.unescape(code)
        for code in re.findall(r"<code>([^<]*SERVER=.*?|import json.*?)</code>", http.get("/docs").text, re.DOTALL)
    )
    shutil.copy(demo.video, tmp_path / "talk.mp4")
    for command in (["bash", "-euc", curl], [sys.executable, "-c", python]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=True)
        assert "interview" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("kind_of_file", BAD)
def test_a_broken_file_gets_one_sentence(http: Any, demo: DemoResult, kind_of_file: str) -> None:
    make, reason = BAD[kind_of_file]
    job = score(http, make(demo.video.read_bytes()))
    assert job["state"] == "failed"
    assert reason in job["error"]
    assert "/" not in job["error"], "a path of the server"
    assert len(job["error"].splitlines()) == 1


def test_too_long_a_video_is_refused(http: Any, tmp_path: Path) -> None:
    job = score(http, write_grey_video(tmp_path / "long.mp4", seconds=25).read_bytes())
    assert job["error"] == "the video is 25.0 s long; this server accepts at most 20 s (shorten it)"


def test_formula_cells_of_the_table_are_neutral(http: Any, demo: DemoResult) -> None:
    upload = http.post("/v1/uploads", json={"name": "=HYPERLINK(1).mp4", "size": demo.video.stat().st_size}).json()[
        "id"
    ]
    http.patch(f"/v1/uploads/{upload}", content=demo.video.read_bytes())
    job = http.post("/v1/jobs", json={"upload": upload}).json()["id"]
    http.get(f"/v1/jobs/{job}/events")
    table = http.get(f"/v1/jobs/{job}/files/prediction.csv").text
    assert table.splitlines()[1].startswith("'=HYPERLINK(1).mp4,")


def test_bytes_that_are_no_http_leave_no_traceback(http: Any, served: Served) -> None:
    address = (httpx.URL(served.url).host, httpx.URL(served.url).port)
    for content in (
        b"\0" * 100,
        b"GET /\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ):
        with socket.create_connection(address) as connection:
            connection.sendall(content)
            connection.settimeout(10)
            assert connection.recv(10) in (b"", b"HTTP/1.1 4")
    assert http.get("/healthz").json() == {"status": "ok"}
    assert "Traceback" not in served.log.read_text()


def test_many_requests_with_broken_ones_need_bounded_memory(http: Any, served: Served, demo: DemoResult) -> None:
    """Small version of the benchmark serve_load."""
    video = demo.video.read_bytes()
    score(http, video)  # loads what is loaded only once
    before_kb = memory_kb(served.process.pid)
    jobs = [video if number < GOOD else b"broken" for number in range(GOOD + BROKEN)]
    with ThreadPoolExecutor(AT_ONCE) as visitors:
        states = list(visitors.map(lambda content: score(http, content)["state"], jobs))
    assert states == ["done"] * GOOD + ["failed"] * BROKEN
    assert memory_kb(served.process.pid) < 1.3 * before_kb
    assert "Traceback" not in served.log.read_text()
    assert not list(served.folder.glob("crnet-serve-*/uploads/*"))
    assert not list(served.folder.glob("crnet-serve-*/jobs/*/video*"))


def memory_kb(pid: int) -> int:
    """Return the resident memory of a process and its children."""
    status = Path(f"/proc/{pid}/status")
    if not status.is_file():
        pytest.skip("memory is read from /proc")
    own = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(memory_kb(int(child)) for child in children)
