"""Rows of training: a step that loads its data, against the same step on a batch in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from torch import nn

from benchmarks.dataloader import training_clips
from benchmarks.inputs import Inputs
from benchmarks.measurements import Measurement, alternate, medians, wall_ratio
from crnet.config import PRESETS, Preset
from crnet.data.dataset import Batches, ClipDataset
from crnet.models.crnet import StreamNet
from crnet.training.checkpoint import TrainState
from crnet.training.config import TrainingConfig
from crnet.training.distributed import DistributedContext
from crnet.training.log import Row
from crnet.training.loop import StreamTraining, train_epoch
from crnet.training.meters import DataTimer
from crnet.training.stream import reproducible
from crnet.types import Batch
from crnet.utils.device import choose_device
from crnet.utils.progress import no_progress

STEP_GOAL = 1.05
FEW_CLIPS, FEW_STEPS = 2, 3  # a step with the paper's 30 clips takes most of a minute on two cores


def measure(inputs: Inputs) -> Iterator[Measurement]:
    """Yield the step of the effort's preset, with few clips, and that of `small` with its own batch size.

    Both loading and computing grow with the number of clips, so few clips tell as much as many.
    """
    effort = inputs.effort
    yield step_row("train: a step with its data", inputs.store, effort.preset, FEW_CLIPS, FEW_STEPS, effort.repeats)
    batch_size = PRESETS["small"].training.stages[1].batch_size
    yield step_row("train: the same, small", inputs.store, "small", batch_size, effort.steps, effort.repeats)


def step_row(name: str, store: Path, preset: Preset, batch_size: int, steps: int, repeats: int) -> Measurement:
    """Return the wall time of an epoch that loads its clips over that of an epoch that repeats one batch in memory."""
    config = PRESETS[preset]
    clips = training_clips(store, config.transforms, steps * batch_size)
    training = second_stage_training(StreamNet("scene", config.model), clips, config.training)
    loaded = training.batches(clips, replace(config.training.stages[1], batch_size=batch_size))
    in_memory = repeat_batch(next(iter(loaded)), len(loaded))
    with reproducible(training.context.device, config.training.threads):
        with_data, without_data = alternate(
            repeats,
            partial(one_epoch, training, training.net, loaded),
            partial(one_epoch, training, training.net, in_memory),
        )
    detail: dict[str, Any] = medians("work", with_data) | medians("limit", without_data)
    detail |= {"preset": preset, "batch": batch_size, "steps": len(loaded), "compiled": False}
    limit = f"the same step of the same network (scene, {preset}, eager) on a batch in memory, wall time"
    return Measurement(name, wall_ratio(with_data, without_data), "x", STEP_GOAL, limit, detail=detail)


def repeat_batch(batch: Batch, steps: int) -> Batches:
    """Return an epoch of `steps` steps on the same batch."""
    return cast("Batches", [batch] * steps)  # the training loop only iterates and takes the length


def second_stage_training(
    net: StreamNet, clips: ClipDataset, config: TrainingConfig, device: str = "cpu"
) -> StreamTraining:
    """Return a stream that is about to train its second stage on one device and writes nothing."""
    torch_device = choose_device(device)
    context = DistributedContext(0, 1, torch_device)
    return StreamTraining(
        clips.store, net.to(torch_device), clips, None, config, context, TrainState(2), {}, _ignore_row, no_progress
    )


def one_epoch(training: StreamTraining, net: nn.Module, batches: Batches) -> None:
    """Train one epoch of the second stage as `crnet.training.loop` does, with a fresh optimizer."""
    stage = training.config.stages[1]
    train_epoch(training, net, batches, stage, 0, stage.make_optimizer(training.net.parameters()), DataTimer())


def _ignore_row(row: Row) -> None:
    """Log nothing."""
