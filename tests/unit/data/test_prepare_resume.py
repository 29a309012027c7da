from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from test_prepare import folder, read_files, run

from crnet.data.manifest import read_manifest

HERE = Path(__file__).parent
CLIPS = 16
SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fake_clips import FakeSettings, fake_clip
from crnet.data.prepare import prepare
if __name__ == "__main__":
    prepare(Path(sys.argv[2]), Path(sys.argv[3]), workers=1, settings=FakeSettings(sleep_s=0.02), extract=fake_clip)
"""


def finished_files(store: Path) -> list[Path]:
    return [path for path in (store / "clips").rglob("*.safetensors") if not path.name.startswith(".tmp-")]


def kill_at(command: list[str], store: Path, count: int, with_workers: bool) -> None:
    """Start the command and kill -9 it after `count` clip files: the process alone, or with its workers."""
    process = subprocess.Popen(command, start_new_session=True)
    deadline_s = time.monotonic() + 60
    while len(finished_files(store)) < count and process.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.001)
    assert process.poll() is None, "it ended before the kill"
    (os.killpg if with_workers else os.kill)(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_a_run_killed_at_any_moment_resumes_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", {f"{i:02d}.mp4": b"bad" if i == 7 else bytes([i]) for i in range(CLIPS)})
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    store = tmp_path / "store"
    command = [sys.executable, str(script), str(HERE), str(source), str(store)]
    moments = np.sort(np.random.default_rng().choice(np.arange(1, CLIPS - 3), 3, replace=False)).tolist()
    for number, count in enumerate(moments):
        kill_at(command, store, count, with_workers=number % 2 == 0)
        assert not (store / "manifest.parquet").exists(), moments
    subprocess.run(command, check=True)
    assert len(read_manifest(store).clips) == CLIPS - 1
    from fake_clips import FakeSettings

    run(source, tmp_path / "uninterrupted", settings=FakeSettings(sleep_s=0.02))
    assert read_files(store) == read_files(tmp_path / "uninterrupted"), moments
