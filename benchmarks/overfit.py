"""Check that the printed recipe fits a few clips at full size: both stages of `paper` on the same clips, on a CPU.

Stage 1 takes 20 steps, then stage 2 its own, with the settings of the paper's first epoch: learning rate .002, lambda
200. Each step sees all clips, with newly drawn frames. The rows are the losses of the last training steps, as medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.measurements import Measurement
from benchmarks.train import second_stage_training
from benchmarks.untrained import LONGEST_SAMPLES
from crnet.cli.progress import progress_display
from crnet.config import PRESET_NAMES, PRESETS, Config
from crnet.data.dataset import ClipDataset, stack_scores
from crnet.data.manifest import ClipRow, read_manifest
from crnet.errors import UsageError
from crnet.models.classes import class_indices
from crnet.models.crnet import StreamNet
from crnet.models.losses import LossName
from crnet.simulate.planning import SimulationConfig
from crnet.simulate.write_store import write_store
from crnet.training.log import EpochMetrics
from crnet.training.loop import train_epoch
from crnet.training.meters import DataTimer
from crnet.training.stream import reproducible
from crnet.types import SAMPLE_RATE_HZ, STREAMS, Stream
from crnet.utils.progress import Progress

GOALS: dict[LossName, float] = {"l1": 7.0, "classification": 2.0}
"""Upper bounds: the mean absolute error in points of 100, and the cross-entropy summed over six targets."""

FIRST_STAGE_STEPS = 20
LAST_STEPS = 5  # their median counts, because a single step of Adam at .002 may jump
SEED = 8  # of the synthetic people; a constant that fits these eight clips misses them by 8.7 points


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the streams, the clips and the number of steps."""
    parser.add_argument("--streams", nargs="+", choices=STREAMS, default=["scene", "audio-text"], help="networks")
    parser.add_argument("--clips", type=int, default=8, help="training clips, all in one batch")
    parser.add_argument("--steps", type=int, default=30, help="steps of stage 2")
    parser.add_argument("--store", type=Path, help="store with the training clips (default: synthetic people)")
    parser.add_argument("--preset", choices=PRESET_NAMES, default="paper", help="size and recipe of the networks")


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Train each stream on the same clips; yield its losses."""
    config = PRESETS[options.preset]
    config = replace(config, transforms=replace(config.transforms, audio_samples=LONGEST_SAMPLES))
    with training_store(options) as store, progress_display() as progress:
        rows = read_manifest(store).rows("train")[: options.clips]
        if len(rows) < options.clips:
            raise UsageError(f"has {len(rows)} training clips, fewer than {options.clips}", path=store)
        for stream in options.streams:
            start_s = time.monotonic()
            steps = overfit(stream, config, store, rows, options.steps, progress)
            detail = {"preset": options.preset, "clips": len(rows), "seconds": round(time.monotonic() - start_s)}
            yield from loss_rows(stream, steps, stack_scores(rows), detail)


@contextmanager
def training_store(options: argparse.Namespace) -> Iterator[Path]:
    """Yield the store of the options, or one of synthetic people whose sound has the longest length."""
    if options.store is not None:
        yield options.store
        return
    with tempfile.TemporaryDirectory() as folder, progress_display() as progress:
        config = SimulationConfig(
            2 * options.clips,  # three of five are for training
            SEED,
            seconds=LONGEST_SAMPLES / SAMPLE_RATE_HZ,
            difficulty="easy",
            voice="built-in",
        )
        yield write_store(Path(folder) / "store", config, frames_per_segment=1, progress=progress)


def overfit(
    stream: Stream, config: Config, store: Path, rows: Sequence[ClipRow], steps: int, progress: Progress
) -> list[EpochMetrics]:
    """Train both stages on the clips and return the metrics of every step of stage 2, taken before its update."""
    scores = stack_scores(rows)
    classes = class_indices(scores, config.model.classes)
    clips = ClipDataset(store, rows, config.transforms, [stream], config.training.seed, classes, training=True)
    net = StreamNet(stream, config.model, config.training.seed)
    net.initialise_from_scores(scores)
    training = second_stage_training(net, clips, config.training)
    metrics: list[EpochMetrics] = []
    total = FIRST_STAGE_STEPS + steps
    with reproducible(training.context.device, config.training.threads):
        for stage, count in zip(config.training.stages, (FIRST_STAGE_STEPS, steps), strict=True):
            for parameter in net.regression_parameters():
                parameter.requires_grad_(stage.trains_regression)
            optimizer = stage.make_optimizer(net.parameters())
            batches = training.batches(clips, replace(stage, batch_size=len(rows)))
            for _ in range(count):
                clips.set_epoch(len(metrics))  # decides the frames
                metrics.append(train_epoch(training, net, batches, stage, 0, optimizer, DataTimer()))
                note = ", ".join(f"{name} {metrics[-1].terms[name]:.2f}" for name in GOALS)
                progress(f"overfit: {stream}", len(metrics), total, note)
    return metrics[FIRST_STAGE_STEPS:]


def loss_rows(
    stream: Stream, steps: Sequence[EpochMetrics], scores: np.ndarray, detail: dict[str, object]
) -> Iterator[Measurement]:
    """Yield each loss at the end of stage 2, against what a constant, or chance, reaches on the same clips."""
    floor = 100 * float(np.abs(scores - np.median(scores, axis=0)).mean())
    limits = {"l1": f"{floor:.2f} points of the best constant", "classification": "8.32 at chance, 6 ln 4"}
    for name, goal in GOALS.items():
        curve = [round(step.terms[name], 2) for step in steps]
        value = statistics.median(curve[-LAST_STEPS:])
        unit = "points" if name == "l1" else ""
        rows = {**detail, "steps": len(curve), "curve": curve}
        yield Measurement(f"overfit: {stream}, training {name}", value, unit, goal, limits[name], detail=rows)
