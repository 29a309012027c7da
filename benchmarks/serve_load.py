"""What `crnet serve` survives: many requests at once, some of them broken files, and what memory they cost.

    python benchmarks/serve_load.py RUN VIDEO [--requests 50] [--broken 20] [--at-once 8] [--explain]

Prints one JSON document; exit code 1 if a request was not answered as it should be, the log holds a traceback, or the
memory after the load is more than 1.3 times that before it. Linux only (memory comes from /proc).
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

MEMORY_MAY_GROW = 1.3
FILE = {"_type": "gradio.FileData"}
TIMEOUT_S = 900.0
LARGEST_MB = 20


def main() -> int:
    """Start a server, send requests, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("video", type=Path)
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--broken", type=int, default=20)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--explain", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        with log.open("w") as errors:
            command = [sys.executable, "-m", "crnet", "serve", str(asked.run), "--port", "0"]
            command += ["--max-waiting", "1000", "--max-upload-mb", str(LARGEST_MB)]
            environment = {**os.environ, "TMPDIR": folder}
            server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[0]
            report = load(url, server.pid, asked)
            report["traceback_in_log"] = "Traceback" in log.read_text()
            report["files_left"] = sum(1 for kind in ("uploads", "jobs") for _ in Path(folder).glob(f"*/{kind}/*"))
        finally:
            server.terminate()
            server.wait(60)
    report["holds"] = (
        report["scored"] == asked.requests - asked.broken
        and report["refused"] == asked.broken
        and not report["traceback_in_log"]
        and report["files_left"] == 0
        and report["memory_mb"]["after"] < MEMORY_MAY_GROW * report["memory_mb"]["before"]
    )
    print(json.dumps(report, indent=2))
    return 0 if report["holds"] else 1


def load(url: str, pid: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Send the requests, `at_once` at a time, broken files spread among the good ones."""
    video = asked.video.read_bytes()
    broken = [b"this is text", b"", video[len(video) // 3 :], bytes(1 << 20), b"#EXTM3U\n/etc/passwd\n"]
    broken += [bytes((LARGEST_MB + 1) << 20)]
    with httpx.Client(base_url=url, timeout=TIMEOUT_S) as http:
        score(http, video, asked.explain)  # what is loaded once is no growth
        watch = Watch(pid)
        spread = [number * asked.broken // asked.requests for number in range(asked.requests + 1)]
        jobs = [broken[bad % len(broken)] if after > bad else video for bad, after in itertools.pairwise(spread)]
        started_s = time.perf_counter()
        with ThreadPoolExecutor(asked.at_once) as visitors:
            kinds = list(visitors.map(lambda content: score(http, content, asked.explain), jobs))
        seconds = time.perf_counter() - started_s
        assert http.get("/healthz").text == "ok"
        expected = ["complete" if content is video else "error" for content in jobs]
        return {
            "requests": len(jobs),
            "scored": sum(kind == want == "complete" for kind, want in zip(kinds, expected, strict=True)),
            "refused": sum(kind == want == "error" for kind, want in zip(kinds, expected, strict=True)),
            "seconds": round(seconds, 1),
            "memory_mb": watch.end(),
        }


def score(http: httpx.Client, content: bytes, explain: bool) -> str:
    """How one request ends: "complete", or "error" with a sentence and nothing more."""
    sent = http.post("/gradio_api/upload", files={"files": ("talk.mp4", content)})
    if sent.status_code == 413:
        return "error" if len(sent.text.splitlines()) == 1 else "strange"
    data = [{"path": sent.json()[0], "orig_name": "talk.mp4", "meta": FILE}, "Hello there", explain]
    event = http.post("/gradio_api/call/score", json={"data": data}).json()["event_id"]
    answer = http.get(f"/gradio_api/call/score/{event}").text.strip().split("\n\n")[-1]
    kind, document = answer.split("\n", 1)
    if kind == "event: error":
        said = json.loads(document.removeprefix("data: "))["error"]
        return "error" if said and len(said.splitlines()) == 1 and "Traceback" not in said else "strange"
    return kind.removeprefix("event: ")


class Watch:
    """Watches the memory of the server and all its processes."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = self._peak = memory_mb(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(0.2):
            self._peak = max(self._peak, memory_mb(self._pid))

    def end(self) -> dict[str, int]:
        """Before, at most and after, in MB (2^20 bytes)."""
        self._stop.set()
        self._thread.join()
        return {"before": round(self._before), "peak": round(self._peak), "after": round(memory_mb(self._pid))}


def memory_mb(pid: int) -> float:
    """Proportional resident memory of a process and all below it; pages that they share count once."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, ProcessLookupError):
        return 0.0
    own = next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return own / 1024 + sum(memory_mb(int(child)) for child in children)


if __name__ == "__main__":
    sys.exit(main())
