"""The scoring process and its child end with the server, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crnet.bundle.bundle import Bundle
from crnet.bundle.save import save_bundle
from grey_video import write_grey_video
from process_state import becomes_true, is_running

SERVER = """
import asyncio, shutil, sys
from pathlib import Path
from crnet.serve.limits import Limits
from crnet.serve.worker import ScoringJob, VIDEO_FILE
from crnet.serve.worker_client import WorkerClient

run, video, folder = map(Path, sys.argv[1:])
client = WorkerClient(run)
print(client.pid, flush=True)
folder.mkdir()
shutil.copy(video, folder / VIDEO_FILE)
asyncio.run(client.score(folder, ScoringJob("a.mp4", "hello", True, Limits(), 1, allow_no_face=True), lambda _: None))
"""


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
def test_a_killed_server_leaves_no_process_behind(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "run" / "bundle")
    video = write_grey_video(tmp_path / "v.mp4", seconds=100, fps=25)
    command = [sys.executable, "-c", SERVER, str(tmp_path / "run"), str(video), str(tmp_path / "job")]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    worker = int(server.stdout.readline())
    assert becomes_true(lambda: children(worker), 30)
    (child,) = children(worker)
    time.sleep(0.3)  # the child has begun to read the video
    assert is_running(worker) and is_running(child)
    server.kill()
    server.wait()
    ended = becomes_true(lambda: not (is_running(worker) or is_running(child)), 2)
    for process in filter(is_running, (worker, child)):
        os.kill(process, signal.SIGKILL)
    assert ended
