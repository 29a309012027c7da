"""Let many clients use `crnet serve` at the same time, some with broken files, and check its answers and its memory.

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
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2 as httpx

from benchmarks.measurements import Measurement

MEMORY_GROWTH_GOAL = 1.3
TIMEOUT_S = 900.0
MAX_UPLOAD_MB = 20
MAX_WAITING = 20
LONGEST_WAIT_S = 10.0
BROKEN = "broken"
HONEST = (429, 503)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the system, the video and the load."""
    parser.add_argument("run", type=Path, help="trained system")
    parser.add_argument("video", type=Path, help="video to send")
    parser.add_argument("--clients", type=int, default=30, help="number of concurrent clients")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long they send videos")
    parser.add_argument("--broken-every", type=int, default=4, help="every so many requests send a broken file")
    parser.add_argument("--explain", action="store_true", help="request explanations too")


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Start a server, let the clients work, and yield the rows."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        server = start_server(options.run, folder, log)
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[0]
            outcomes, memory = load(url, server.pid, options)
            tracebacks = log.read_text().count("Traceback")
            videos = [path for kind in ("uploads/*", "jobs/*/*") for path in Path(folder).glob(f"*/{kind}")]
            left = sum(path.name != "out" for path in videos)
        finally:
            server.terminate()
            server.wait(60)
        left += len(list(Path(folder).glob("crnet-serve-*")))
    wrong = sum(count for outcome, count in outcomes.items() if outcome.startswith("wrong"))
    detail = {"clients": options.clients, "seconds": options.seconds, **outcomes, **memory}
    limit = "scores for good files, one sentence for broken ones, or 429 or 503 with Retry-After"
    yield Measurement("serve load: wrong answers", wrong, "", 0, limit, detail=detail)
    yield Measurement("serve load: tracebacks", tracebacks, "", 0, "the server's log")
    yield Measurement("serve load: files left", left, "", 0, "videos after the load, and folders after the stop")
    growth = memory["memory_after_mb"] / memory["memory_before_mb"]
    limit = "memory of the server and all its processes before the load"
    yield Measurement("serve load: memory growth", growth, "x", MEMORY_GROWTH_GOAL, limit)


def start_server(run: Path, folder: str, log: Path) -> subprocess.Popen[str]:
    """Start `crnet serve` with its temporary files in `folder`; it prints its address once it is ready."""
    command = [sys.executable, "-m", "crnet", "serve", str(run), "--port", "0"]
    command += ["--max-waiting", str(MAX_WAITING), "--max-upload-mb", str(MAX_UPLOAD_MB)]
    environment = {**os.environ, "TMPDIR": folder}
    with log.open("w") as errors:
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)


def load(url: str, pid: int, options: argparse.Namespace) -> tuple[dict[str, int], dict[str, Any]]:
    """Let the clients work; return how often each outcome occurred, and the memory."""
    video = options.video.read_bytes()
    outcomes: Counter[str] = Counter()
    send_once(url, video, video, options.explain)  # what the server loads once is no growth
    watch = MemoryWatch(pid)
    end_s = time.monotonic() + options.seconds

    def work(client: int) -> None:
        for number in itertools.count(client):
            if time.monotonic() > end_s:
                return
            content = broken_files(video)[number % 5] if number % options.broken_every == 0 else video
            outcome, wait_s = send_once(url, content, video, options.explain)
            outcomes[outcome] += 1
            time.sleep(min(wait_s, LONGEST_WAIT_S))

    with ThreadPoolExecutor(options.clients) as clients:
        list(clients.map(work, range(options.clients)))
    return dict(sorted(outcomes.items())), watch.stop()


def broken_files(video: bytes) -> list[bytes]:
    """Return several kinds of broken files."""
    kinds = [b"this is text", video[len(video) // 3 :], bytes(1 << 20), b"#EXTM3U\n/etc/passwd\n"]
    return [*kinds, bytes((MAX_UPLOAD_MB + 1) << 20)]


def send_once(url: str, content: bytes, video: bytes, explain: bool) -> tuple[str, float]:
    """Send a file and wait for its job; return the outcome, and the seconds that the server asks to wait."""
    try:
        with httpx.Client(base_url=url, timeout=TIMEOUT_S) as http:
            return _send(http, content, is_good=content is video, explain=explain)
    except httpx.HTTPError as error:
        return f"wrong: {type(error).__name__}", 0


def _send(http: httpx.Client, content: bytes, *, is_good: bool, explain: bool) -> tuple[str, float]:
    created = http.post("/v1/uploads", json={"name": "talk.mp4", "size": len(content)})
    if created.status_code != 201:
        return _refusal(created, is_good)
    upload = created.json()["id"]
    http.patch(f"/v1/uploads/{upload}", content=content).raise_for_status()
    queued = http.post("/v1/jobs", json={"upload": upload, "transcript": "Hello there", "explain": explain})
    if queued.status_code != 202:
        http.delete(f"/v1/uploads/{upload}").raise_for_status()
        return _refusal(queued, is_good)
    job = queued.json()["id"]
    events = http.get(f"/v1/jobs/{job}/events").text.splitlines()
    state = json.loads([line for line in events if line.startswith("data: ")][-1].removeprefix("data: "))
    if is_good:
        scores = http.get(f"/v1/jobs/{job}/result").json()["scores"]
        outcome = "scored" if state["state"] == "done" and len(scores) == 6 else "wrong: not scored"
    else:
        is_sentence = state["state"] == "failed" and len(state["error"].splitlines()) == 1
        outcome = BROKEN if is_sentence else "wrong: no sentence"
    http.delete(f"/v1/jobs/{job}").raise_for_status()
    return outcome, 0


def _refusal(response: httpx.Response, is_good: bool) -> tuple[str, float]:
    if response.status_code == 413 and not is_good:
        return BROKEN, 0
    if response.status_code in HONEST and "retry-after" in response.headers:
        return f"told to wait ({response.status_code})", float(response.headers["retry-after"])
    return f"wrong: status {response.status_code}", 0


class MemoryWatch:
    """Thread that watches the memory of the server and all its processes."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = memory_mb(pid)
        self._started_s = time.monotonic()
        self._peaks: dict[int, float] = {}  # of each minute
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stopped.wait(0.2):
            minute = int((time.monotonic() - self._started_s) / 60)
            self._peaks[minute] = max(self._peaks.get(minute, 0.0), memory_mb(self._pid))

    def stop(self) -> dict[str, Any]:
        """Return memory before, at most in each minute, and after, in MB (2^20 bytes)."""
        self._stopped.set()
        self._thread.join()
        return {
            "memory_before_mb": round(self._before),
            "memory_peaks_mb": [round(peak) for peak in self._peaks.values()],
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
