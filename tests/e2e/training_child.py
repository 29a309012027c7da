"""Train a tiny stream in a separate process, for tests that kill it or start several."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from crnet.errors import CrnetError
from crnet.training.checkpoint import read_state
from crnet.training.config import JOINT
from tiny_training import train_tiny

EPOCHS = (2, 2) if "WORLD_SIZE" in os.environ else (4, 6)
PAUSE_S = float(os.environ.get("TEST_PAUSE_S", 0))  # after each step, so that a test has time for a kill
LONGEST_DELAY_S = 0.08  # about an epoch, so that a kill can hit any point of it


def train(store: Path, run: Path) -> None:
    """Train until the end."""
    try:
        train_tiny(store, run, progress=_pause, epochs=EPOCHS, freeze_batchnorm="WORLD_SIZE" in os.environ)
    except CrnetError as error:
        sys.exit(f"{type(error).__name__}: {error}")


def _pause(*_: object) -> None:
    time.sleep(PAUSE_S)


def train_with_kills(store: Path, run: Path, kills: int) -> None:
    """Train in child processes. All but the last are killed at random moments.

    The first may be killed from the start, the second once two epochs are logged, the third once four are, and so on.
    """
    # Import it once here: importing torch's first optimizer takes longer than the training.
    torch.use_deterministic_algorithms(True)
    JOINT.make_optimizer(iter([torch.nn.Parameter(torch.ones(1))]))
    log, state = run / "scene" / "log.jsonl", run / "scene" / "last.safetensors"
    for attempt in range(kills + 1):
        child = os.fork()
        if child == 0:
            train(store, run)
            os._exit(0)
        if attempt < kills:
            while len(log.read_bytes().splitlines() if log.exists() else []) < 2 * attempt:
                time.sleep(0.001)
            time.sleep(random.uniform(0, LONGEST_DELAY_S))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        saved = read_state(state) if state.exists() else None
        progress = "nothing saved" if saved is None else f"stage {saved.stage} epoch {saved.epoch}"
        print("killed," if os.WIFSIGNALED(status) else "ended,", progress, flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        train_with_kills(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    else:
        train(Path(sys.argv[1]), Path(sys.argv[2]))
