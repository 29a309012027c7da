"""Trains a tiny stream in a process of its own, for tests that kill it or start several of it."""

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
LONGEST_DELAY_S = 0.08  # about an epoch, so that a kill may come at any point of it


def train(store: Path, run: Path) -> None:
    """Train to the end."""
    try:
        train_tiny(store, run, epochs=EPOCHS, freeze_batchnorm="WORLD_SIZE" in os.environ)
    except CrnetError as error:
        sys.exit(f"{type(error).__name__}: {error}")


def train_with_kills(store: Path, run: Path, kills: int) -> None:
    """Train in child processes of which the first few are killed at random moments, the last one is not.

    The first is killed before it has logged two epochs, the second before four, and so on.
    """
    # Imported here once, since torch's first optimizer takes longer to import than the whole training does.
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
        standing = read_state(state) if state.exists() else None
        where = "nothing saved" if standing is None else f"stage {standing.stage} epoch {standing.epoch}"
        print("killed," if os.WIFSIGNALED(status) else "ended,", where, flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        train_with_kills(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    else:
        train(Path(sys.argv[1]), Path(sys.argv[2]))
