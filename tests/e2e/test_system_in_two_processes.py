"""`crnet train` under torchrun: every stream in two processes, then one bundle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from crnet.bundle.load import load_bundle
from synthetic import write_store

SMALL = (
    *("--preset", "tiny", "--streams", "scene,face", "--fusion.trees", "5"),
    *("--transforms.frames", "4", "--model.frames", "4", "--model.width", "8"),
    *("--training.stages.0.epochs", "1", "--training.stages.1.epochs", "1", "--training.no-tensorboard"),
)


@pytest.mark.slow
def test_two_processes_train_every_stream_and_one_bundle(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", clips=30, pixels=24, duration_s=0.25)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, "-m", "crnet", "train", str(store), str(tmp_path / "run"), *SMALL],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained:") == 1
    assert tuple(load_bundle(tmp_path / "run").networks) == ("scene", "face")
