"""Two processes train the same network as one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from crnet.training.loop import BEST_NAME
from synthetic import write_store
from tiny_training import train_tiny

CHILD = Path(__file__).with_name("training_child.py")
EPOCHS = (2, 2)  # the child's
TIMES = ("samples_per_s", "waiting_share", "seconds")


def start_nodes(store: Path, run: Path, pause_s: float = 0.0) -> list[subprocess.Popen[str]]:
    """Start two processes with the variables that torchrun sets on two nodes of one process each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(CHILD.parent.parent), os.environ.get("PYTHONPATH")))),
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TEST_PAUSE_S": str(pause_s),
    }
    return [
        subprocess.Popen(
            [sys.executable, str(CHILD), str(store), str(run)],
            env={**os.environ, **common, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def finished(nodes: list[subprocess.Popen[str]]) -> list[subprocess.CompletedProcess[str]]:
    outputs = [node.communicate(timeout=300) for node in nodes]
    return [
        subprocess.CompletedProcess(node.args, node.returncode, *output)
        for node, output in zip(nodes, outputs, strict=True)
    ]


def start_two(store: Path, run: Path) -> list[subprocess.CompletedProcess[str]]:
    """Run two processes to their end."""
    return finished(start_nodes(store, run))


def numbers(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and name not in TIMES:
            yield prefix + name, value


def log_rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "scene" / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # 5 clips for validation: 3 and 2. The seed avoids a spread so small that float32 cannot hold it to 1e-5.
    return write_store(tmp_path_factory.mktemp("store"), clips=25, seed=1, pixels=24, duration_s=0.25)


@pytest.fixture(scope="module")
def undisturbed(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two processes."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    for process in start_two(store, run):
        assert process.returncode == 0, process.stderr
    return run


@pytest.mark.slow
def test_two_processes_log_the_losses_of_one(store: Path, undisturbed: Path, tmp_path: Path) -> None:
    train_tiny(store, tmp_path / "one", epochs=EPOCHS, freeze_batchnorm=True)
    single, double = log_rows(tmp_path / "one"), log_rows(undisturbed)
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


@pytest.mark.slow
def test_a_node_that_is_killed_and_started_again_changes_no_weight(
    store: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    nodes = start_nodes(store, run, pause_s=0.2)
    log, deadline = run / "scene" / "log.jsonl", time.monotonic() + 240
    while not (log.exists() and log.read_bytes()) and time.monotonic() < deadline:
        assert all(node.poll() is None for node in nodes), finished(nodes)
        time.sleep(0.05)
    nodes[1].kill()
    survivor = finished(nodes)[0]
    assert survivor.returncode == 1, "it ended before the kill"
    assert "CrnetError: another training process was lost (start all processes again" in survivor.stderr
    assert 0 < len(log_rows(run)) < sum(EPOCHS)
    for process in start_two(store, run):
        assert process.returncode == 0, process.stderr
    assert len(log_rows(run)) == sum(EPOCHS)
    assert (run / "scene" / BEST_NAME).read_bytes() == (undisturbed / "scene" / BEST_NAME).read_bytes()
