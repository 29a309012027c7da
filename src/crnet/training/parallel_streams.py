"""Streams trained side by side on the CPU: each is a network of its own, and small ones gain nothing from two cores."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from crnet.data.store import Manifest
from crnet.data.transforms import TransformConfig
from crnet.errors import CrnetError
from crnet.models.crnet import ModelConfig
from crnet.training.config import TrainingConfig
from crnet.training.distributed import World
from crnet.training.log import epochs_logged
from crnet.training.stream import train_stream
from crnet.types import Stream
from crnet.utils.executors import WorkerDied, available_cores, run_jobs
from crnet.utils.progress import Progress, no_progress

LOOK_EVERY_S = 1.0


def nets_at_once(training: TrainingConfig, device: torch.device) -> int:
    """How many networks to train at the same time: on a CPU as many as their threads leave cores for, else one."""
    if training.threads is None or device.type != "cpu":
        return 1
    return max(1, available_cores() // training.threads)


def train_streams(
    streams: Sequence[Stream],
    store: Path,
    manifest: Manifest,
    run_dir: Path,
    model: ModelConfig,
    transforms: TransformConfig,
    training: TrainingConfig,
    here: World,
    progress: Progress = no_progress,
) -> dict[Stream, Path]:
    """Train every stream as `train_stream` does, side by side where the cores are there for it, with the same results.

    Args:
        streams, store, manifest, run_dir, model, transforms, training: See `train_stream`.
        here: The processes that share the work of one stream; if there are several, streams follow one another.
        progress: Told after every step, or every second where streams are trained side by side.

    Returns:
        The best weights of each.

    Raises:
        CrnetError: Whatever `train_stream` raises, or a training process died.
    """
    train = partial(train_stream, store=store, manifest=manifest, run_dir=run_dir, model=model, transforms=transforms)
    at_once = 1 if here.size > 1 else min(nets_at_once(training, here.device), len(streams))
    if at_once == 1:
        return {stream: train(stream, training=training, progress=progress) for stream in streams}
    # A worker process may have no processes of its own.
    alone = partial(train, training=replace(training, workers=0))
    epochs = sum(stage.epochs for stage in training.stages)
    weights: dict[Stream, Path] = {}
    with watched_logs({run_dir / stream: epochs for stream in streams}, "training", progress):
        for stream, outcome in run_jobs(alone, streams, at_once):
            if isinstance(outcome, WorkerDied):
                raise CrnetError(
                    f"the process that trained the {stream} stream died (exit code {outcome.exit_code})",
                    path=run_dir / stream,
                    remedy="the same command goes on; if memory is short, --training.threads None trains one at a time",
                )
            weights[stream] = outcome
    return {stream: weights[stream] for stream in streams}


@contextmanager
def watched_logs(epochs: Mapping[Path, int], task: str, progress: Progress) -> Iterator[None]:
    """While other processes train, tell every second how many epochs they have come to, from their logs.

    Args:
        epochs: Of each stream's folder, how many it will have in the end.
        task: What to call it.
        progress: Told about the sum over all folders.
    """
    total, ended = sum(epochs.values()), threading.Event()

    def tell() -> None:
        done = {folder: min(epochs_logged(folder), count) for folder, count in epochs.items()}
        trained = sum(done[folder] == count for folder, count in epochs.items())
        progress(task, sum(done.values()), total, f"epochs; {trained} of {len(epochs)} networks done")

    def keep_telling() -> None:
        while not ended.wait(LOOK_EVERY_S):
            tell()

    tell()
    watcher = threading.Thread(target=keep_telling, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        tell()
