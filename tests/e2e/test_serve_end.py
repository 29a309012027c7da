"""Tests of how a real server ends in the middle of jobs and uploads: nothing is left, and clients learn the truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crnet.demo import DemoResult
from crnet.serve.job_queue import STOPPED

httpx = pytest.importorskip("httpx2", reason="httpx2 is not installed")
pytestmark = pytest.mark.slow


def start(run: Path, folder: Path) -> tuple[subprocess.Popen[str], Any]:
    """Start a server that waits for no job when it is stopped; return it and a client of it."""
    command = [sys.executable, "-m", "crnet", "serve", str(run), "--port", "0", "--stop-timeout-s", "0"]
    environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    return server, httpx.Client(base_url=server.stdout.readline().split()[0], timeout=120)


def send(http: Any, content: bytes, size: int) -> str:
    upload = str(http.post("/v1/uploads", json={"name": "talk.mp4", "size": size}).json()["id"])
    assert http.patch(f"/v1/uploads/{upload}", content=content).json()["offset"] == len(content)
    return upload


def start_jobs(http: Any, video: bytes) -> list[str]:
    """Let one job run and one wait, and leave an upload unfinished."""
    uploads = [send(http, video, len(video)) for _ in range(2)]
    jobs = [str(http.post("/v1/jobs", json={"upload": upload, "explain": True}).json()["id"]) for upload in uploads]
    send(http, video, 2 * len(video))
    return jobs


def videos(folder: Path) -> list[Path]:
    return [*folder.glob("crnet-serve-*/uploads/*"), *folder.glob("crnet-serve-*/jobs/*")]


def test_nothing_is_left_of_a_killed_or_stopped_server(calibrated: Path, demo: DemoResult, tmp_path: Path) -> None:
    video = demo.video.read_bytes()
    killed, http = start(calibrated, tmp_path)
    start_jobs(http, video)
    assert len(videos(tmp_path)) == 3
    killed.kill()
    killed.wait()
    assert len(videos(tmp_path)) == 3
    stopped, http = start(calibrated, tmp_path)
    assert videos(tmp_path) == []
    running, _ = start_jobs(http, video)
    with http.stream("GET", f"/v1/jobs/{running}/events") as events:
        stopped.terminate()
        lines = [line for line in events.iter_lines() if line.startswith("data: ")]
    job = json.loads(lines[-1].removeprefix("data: "))
    assert (job["state"], job["error"]) == ("cancelled", STOPPED)
    assert stopped.wait(60) == 0
    assert not list(tmp_path.glob("crnet-serve-*"))
