"""Train streams in parallel on the CPU: they are independent networks, and small ones gain nothing from two cores."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from crnet.errors import CrnetError
from crnet.training.config import TrainingConfig
from crnet.training.distributed import DistributedContext
from crnet.training.log import count_epochs
from crnet.training.stream import TrainingJob, train_stream
from crnet.types import Stream
from crnet.utils.cores import available_cores
from crnet.utils.executors import WorkerDied, run_jobs
from crnet.utils.progress import Progress, no_progress

POLL_INTERVAL_S = 1.0


def nets_at_once(training: TrainingConfig, device: torch.device) -> int:
    """Return how many networks to train at the same time: on a CPU, available cores over threads; otherwise one."""
    if training.threads is None or device.type != "cpu":
        return 1
    return max(1, available_cores() // training.threads)


def train_streams(
    streams: Sequence[Stream],
    job: TrainingJob,
    context: DistributedContext,
    progress: Progress = no_progress,
) -> dict[Stream, Path]:
    """Train every stream with `train_stream`, in parallel if there are enough cores. The results are the same.

    Args:
        streams: The streams to train.
        job: Data and configuration.
        context: The processes that share the training of one stream. If there are several, the streams are trained one
            after another.
        progress: Called after every step; every second if streams are trained in parallel.

    Returns:
        The file with the best weights of each stream.

    Raises:
        CrnetError: See `train_stream`; or a training process died.
    """
    at_once = 1 if context.size > 1 else min(nets_at_once(job.training, context.device), len(streams))
    if at_once == 1:
        return {stream: train_stream(stream, job, progress) for stream in streams}
    # A worker process cannot start processes for reading.
    train_alone = partial(train_stream, job=replace(job, training=replace(job.training, workers=0)))
    epochs = sum(stage.epochs for stage in job.training.stages)
    with watched_logs({job.run_dir / stream: epochs for stream in streams}, "training epochs", progress):
        outcomes = run_jobs(train_alone, streams, at_once)
        weights = {stream: _require_alive(stream, job.run_dir, outcome) for stream, outcome in outcomes}
    return {stream: weights[stream] for stream in streams}


def _require_alive(stream: Stream, run_dir: Path, outcome: Path | WorkerDied) -> Path:
    """Return the weights that a process trained.

    Raises:
        CrnetError: The process died.
    """
    if isinstance(outcome, WorkerDied):
        reason, _ = outcome.explain(f"training the {stream} stream")
        remedy = "repeat the command to resume; if memory is short, use --training.threads None"
        raise CrnetError(reason, path=run_dir / stream, remedy=remedy)
    return outcome


@contextmanager
def watched_logs(epochs: Mapping[Path, int], task: str, progress: Progress) -> Iterator[None]:
    """While other processes train, report every second how many epochs their logs hold.

    Args:
        epochs: The stream folders, with the number of epochs that each will have in the end.
        task: Name of the task for `progress`.
        progress: Called with the sum over all folders.
    """
    total, ended = sum(epochs.values()), threading.Event()

    def report() -> None:
        done = {folder: min(count_epochs(folder), count) for folder, count in epochs.items()}
        trained = sum(done[folder] == count for folder, count in epochs.items())
        progress(task, sum(done.values()), total, f"{trained} of {len(epochs)} networks done")

    def keep_reporting() -> None:
        while not ended.wait(POLL_INTERVAL_S):
            report()

    report()
    watcher = threading.Thread(target=keep_reporting, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        report()
