"""Streams trained in parallel: the same networks as one after another, and no process outlives a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from crnet.data.manifest import read_manifest
from crnet.errors import LabelError
from crnet.training import parallel_streams
from crnet.training.config import TrainingConfig
from crnet.training.distributed import DistributedContext
from crnet.training.log import count_epochs
from crnet.training.parallel_streams import nets_at_once, train_streams
from crnet.training.stream import TrainingJob
from crnet.types import Stream
from synthetic import write_store
from tiny_training import TINY_MODEL, TINY_TRANSFORMS, tiny_training, train_tiny

STREAMS: tuple[Stream, ...] = ("face", "audio-text")
ALONE = DistributedContext(0, 1, torch.device("cpu"))
TWO_CORES = [0, 1]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("store"), clips=14, pixels=24, duration_s=0.25)


def train_both(store: Path, run: Path, **changes: object) -> dict[Stream, Path]:
    calls: list[Any] = []
    training = tiny_training(threads=1, **changes)
    job = TrainingJob(store, read_manifest(store), run, TINY_MODEL, TINY_TRANSFORMS, training)
    progress = lambda *arguments: calls.append(arguments)  # noqa: E731
    weights = train_streams(STREAMS, job, ALONE, progress)
    assert calls[-1][:3] == ("training epochs", 10, 10)  # two streams of 2 + 3 epochs
    return weights


def test_parallel_training_gives_the_same_weights(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_streams, "available_cores", lambda: 2)
    weights = train_both(store, tmp_path / "both")
    assert list(weights) == list(STREAMS)
    for stream, path in weights.items():
        alone = train_tiny(store, tmp_path / "alone", stream, threads=1)
        assert path.read_bytes() == alone.read_bytes()


def test_errors_of_a_worker_reach_the_caller(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_streams, "available_cores", lambda: 2)
    empty = tmp_path / "empty"
    write_store(empty, clips=4, pixels=24, duration_s=0.25, splits=("val", "test"))
    with pytest.raises(LabelError, match="training split"):
        train_both(empty, tmp_path / "run")


@pytest.mark.parametrize(
    ("cores", "threads", "device", "expected"),
    [(8, 2, "cpu", 4), (2, 1, "cpu", 2), (1, 2, "cpu", 1), (8, None, "cpu", 1), (8, 1, "cuda", 1)],
)
def test_number_of_parallel_networks(
    cores: int, threads: int | None, device: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel_streams, "available_cores", lambda: cores)
    assert nets_at_once(TrainingConfig(threads=threads), torch.device(device)) == expected


def test_no_training_process_survives_a_kill(store: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; from pathlib import Path\n"
        "if __name__ == '__main__':\n"
        f"    sys.path[:0] = {sys.path!r}\n"
        "    import test_parallel_streams as here\n"
        "    here.parallel_streams.available_cores = lambda: 2\n"
        f"    here.train_both(Path({str(store)!r}), Path({str(tmp_path / 'run')!r}), epochs=(0, 2000))\n"
    )
    child = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    logs = [tmp_path / "run" / stream for stream in STREAMS]
    until = time.monotonic() + 120
    while not all(count_epochs(folder) for folder in logs):
        assert child.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    child.send_signal(signal.SIGKILL)
    child.wait()
    time.sleep(0.5)  # for writes in progress
    before = [count_epochs(folder) for folder in logs]
    time.sleep(2.0)  # about ten epochs
    assert [count_epochs(folder) for folder in logs] == before
