"""A training that is killed at random moments and repeated equals an uninterrupted one bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from synthetic import write_store

CHILD = Path(__file__).with_name("training_child.py")
KILLS = 5


def run_child(*arguments: object) -> list[str]:
    """Run the child on one thread, because sums of floats depend on how threads split them."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHILD.parent.parent)}
    command = [sys.executable, str(CHILD), *map(str, arguments)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", clips=20, pixels=24, duration_s=0.25)
    # First a run without kills, then one with kills.
    assert run_child(store, tmp_path / "whole", 0) == ["ended, stage 2 epoch 6"]
    attempts = run_child(store, tmp_path / "killed", KILLS)
    assert attempts[-1] == "ended, stage 2 epoch 6"
    print("; ".join(attempts))
    assert sum(attempt.startswith("killed, stage") for attempt in attempts) >= 3, attempts
    for name in ("last.safetensors", "best.safetensors"):
        whole, killed = (load_file(tmp_path / run / "scene" / name) for run in ("whole", "killed"))
        assert whole.keys() == killed.keys()
        for key, tensor in whole.items():
            assert tensor.numpy().tobytes() == killed[key].numpy().tobytes(), (name, key)
    best = [(tmp_path / run / "scene" / "best.safetensors").read_bytes() for run in ("whole", "killed")]
    assert best[0] == best[1]
    rows = [
        [json.loads(line) for line in (tmp_path / run / "scene" / "log.jsonl").read_text().splitlines()]
        for run in ("whole", "killed")
    ]
    assert [row["train"] for row in rows[0]] == [row["train"] for row in rows[1]]
    assert [(row["stage"], row["epoch"]) for row in rows[1]] == [
        *((1, epoch) for epoch in range(1, 5)),
        *((2, epoch) for epoch in range(1, 7)),
    ]
