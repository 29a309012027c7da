"""Send many concurrent requests to `crnet serve`, some with broken files, and check its answers and its memory.

Linux only: memory comes from /proc.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from benchmarks.measurements import Measurement

MEMORY_GROWTH_GOAL = 1.3
FILE = {"_type": "gradio.FileData"}
TIMEOUT_S = 900.0
MAX_UPLOAD_MB = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the system, the video and the load."""
    parser.add_argument("run", type=Path, help="trained system")
    parser.add_argument("video", type=Path, help="video to send")
    parser.add_argument("--requests", type=int, default=50, help="number of requests")
    parser.add_argument("--broken", type=int, default=20, help="how many of them send a broken file")
    parser.add_argument("--at-once", type=int, default=8, help="number of concurrent requests")
    parser.add_argument("--explain", action="store_true", help="request explanations too")


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Start a server, send the requests, and yield the rows."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        server = start_server(options.run, folder, log)
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[0]
            report = send_requests(url, server.pid, options)
            tracebacks = log.read_text().count("Traceback")
            leftovers = sum(1 for kind in ("uploads", "jobs") for _ in Path(folder).glob(f"*/{kind}/*"))
        finally:
            server.terminate()
            server.wait(60)
    wrong = report["requests"] - report["scored"] - report["refused"]
    yield Measurement(
        "serve load: wrong answers", wrong, "", 0, "scores for good files, one sentence for broken ones", detail=report
    )
    yield Measurement("serve load: tracebacks", tracebacks, "", 0, "the server's log")
    yield Measurement("serve load: files left", leftovers, "", 0, "uploads and jobs on the disk after the load")
    growth = report["memory_after_mb"] / report["memory_before_mb"]
    limit = "memory of the server and all its processes before the load"
    yield Measurement("serve load: memory growth", growth, "x", MEMORY_GROWTH_GOAL, limit)


def start_server(run: Path, folder: str, log: Path) -> subprocess.Popen[str]:
    """Start `crnet serve` with its temporary files in `folder`; it prints its address once it is ready."""
    command = [sys.executable, "-m", "crnet", "serve", str(run), "--port", "0"]
    command += ["--max-waiting", "1000", "--max-upload-mb", str(MAX_UPLOAD_MB)]
    environment = {**os.environ, "TMPDIR": folder}
    with log.open("w") as errors:
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)


def send_requests(url: str, pid: int, options: argparse.Namespace) -> dict[str, Any]:
    """Send the requests, `at_once` at a time, with broken files spread among the good ones; count right answers."""
    video = options.video.read_bytes()
    contents = spread_broken(video, options.requests, options.broken)
    with httpx.Client(base_url=url, timeout=TIMEOUT_S) as http:
        score(http, video, options.explain)  # what the server loads once is no growth
        watch = MemoryWatch(pid)
        started_s = time.perf_counter()
        with ThreadPoolExecutor(options.at_once) as visitors:
            answers = list(visitors.map(lambda content: score(http, content, options.explain), contents))
        seconds = time.perf_counter() - started_s
        assert http.get("/healthz").text == "ok"
        expected = ["complete" if content is video else "error" for content in contents]
        pairs = list(zip(answers, expected, strict=True))
        return {
            "requests": len(contents),
            "scored": sum(answer == right == "complete" for answer, right in pairs),
            "refused": sum(answer == right == "error" for answer, right in pairs),
            "seconds": round(seconds, 1),
            **watch.stop(),
        }


def spread_broken(video: bytes, requests: int, broken: int) -> list[bytes]:
    """Return the content of each request: the video, or one of several kinds of broken files."""
    kinds = [b"this is text", b"", video[len(video) // 3 :], bytes(1 << 20), b"#EXTM3U\n/etc/passwd\n"]
    kinds += [bytes((MAX_UPLOAD_MB + 1) << 20)]
    before = [number * broken // requests for number in range(requests + 1)]
    return [kinds[bad % len(kinds)] if after > bad else video for bad, after in itertools.pairwise(before)]


def score(http: httpx.Client, content: bytes, explain: bool) -> str:
    """Send one request; return "complete", "error" for one plain sentence, or "malformed" for any other answer."""
    sent = http.post("/gradio_api/upload", files={"files": ("talk.mp4", content)})
    if sent.status_code == 413:
        return "error" if len(sent.text.splitlines()) == 1 else "malformed"
    data = [{"path": sent.json()[0], "orig_name": "talk.mp4", "meta": FILE}, "Hello there", explain]
    event = http.post("/gradio_api/call/score", json={"data": data}).json()["event_id"]
    answer = http.get(f"/gradio_api/call/score/{event}").text.strip().split("\n\n")[-1]
    kind, document = answer.split("\n", 1)
    if kind == "event: error":
        message = json.loads(document.removeprefix("data: "))["error"]
        return "error" if message and len(message.splitlines()) == 1 and "Traceback" not in message else "malformed"
    return kind.removeprefix("event: ")


class MemoryWatch:
    """Thread that watches the memory of the server and all its processes."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = self._peak = memory_mb(pid)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stopped.wait(0.2):
            self._peak = max(self._peak, memory_mb(self._pid))

    def stop(self) -> dict[str, int]:
        """Return memory before, at most and after, in MB (2^20 bytes)."""
        self._stopped.set()
        self._thread.join()
        return {
            "memory_before_mb": round(self._before),
            "memory_peak_mb": round(self._peak),
            "memory_after_mb": round(memory_mb(self._pid)),
        }


def memory_mb(pid: int) -> float:
    """Return the proportional resident memory of a process and its descendants; shared pages count once."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, ProcessLookupError):
        return 0.0
    own = next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return own / 1024 + sum(memory_mb(int(child)) for child in children)
