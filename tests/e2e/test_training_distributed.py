"""Two processes train the same network as one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from synthetic import write_store
from tiny_training import train_tiny

CHILD = Path(__file__).with_name("training_child.py")
EPOCHS = (2, 2)  # the child's
TIMES = ("samples_per_s", "waiting_share", "seconds")


def start_two(store: Path, run: Path) -> list[subprocess.CompletedProcess[str]]:
    """Run two processes with the variables that torchrun sets."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(CHILD.parent.parent),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    children = [
        subprocess.Popen(
            [sys.executable, str(CHILD), str(store), str(run)],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [child.communicate(timeout=300) for child in children]
    return [
        subprocess.CompletedProcess(child.args, child.returncode, *output)
        for child, output in zip(children, outputs, strict=True)
    ]


def numbers(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and name not in TIMES:
            yield prefix + name, value


def log_rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "scene" / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_log_the_losses_of_one(tmp_path: Path) -> None:
    # 5 clips for validation: 3 and 2. The seed avoids a spread so small that float32 cannot hold it to 1e-5.
    store = write_store(tmp_path / "store", clips=25, seed=1, pixels=24, duration_s=0.25)
    train_tiny(store, tmp_path / "one", epochs=EPOCHS, freeze_batchnorm=True)
    for process in start_two(store, tmp_path / "two"):
        assert process.returncode == 0, process.stderr
    single, double = log_rows(tmp_path / "one"), log_rows(tmp_path / "two")
    assert len(single) == len(double) == sum(EPOCHS)
    for left, right in zip(single, double, strict=True):
        expected = dict(numbers(left))
        assert len(expected) > 40
        assert dict(numbers(right)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_both_processes_refuse_a_batch_that_they_cannot_share(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", clips=5, pixels=24, duration_s=0.25)  # 3 for training
    for process in start_two(store, tmp_path / "run"):
        assert process.returncode == 1
        assert "ConfigError: a batch of 3 clips cannot be shared evenly by 2 processes" in process.stderr
