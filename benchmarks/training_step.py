"""The rows of training: a step of the engine with its data, beside the same step on a batch already in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from benchmarks.dataloader import training_clips
from benchmarks.measurements import Figure, in_turn, medians, wall_ratio
from crnet.config import PRESETS, Preset
from crnet.data.dataset import Batches, ClipDataset
from crnet.models.crnet import StreamNet
from crnet.training.checkpoint import Standing
from crnet.training.config import TrainingConfig
from crnet.training.distributed import World, choose_device
from crnet.training.log import Row
from crnet.training.loop import Clock, Run, train_epoch
from crnet.training.stream import reproducible
from crnet.utils.progress import no_progress

STEP_GOAL = 1.05
FEW_CLIPS, FEW_STEPS = 2, 3  # a step with the paper's 30 clips takes most of a minute on two cores


def step_rows(store: Path, preset: Preset, repeats: int, steps: int) -> Iterator[Figure]:
    """Steps of a system's size, with few clips each, and of `small` as it trains on a machine like this.

    Reading grows with the clips as computing does, so that few clips tell as much as many.

    Args:
        store: See `benchmarks.dataloader.store_of`.
        preset: The size.
        repeats: Rounds of each.
        steps: Of `small`.
    """
    yield _step_row("train: a step with its data", store, preset, FEW_CLIPS, repeats, FEW_STEPS)
    clips = PRESETS["small"].training.stages[1].batch_size
    yield _step_row("train: the same, small", store, "small", clips, repeats, steps)


def _step_row(name: str, store: Path, preset: Preset, batch_size: int, repeats: int, steps: int) -> Figure:
    """Seconds of an epoch of `steps` steps that reads its clips, over one whose batches are one in memory."""
    config = PRESETS[preset]
    clips = training_clips(store, config.transforms, steps * batch_size)
    run = run_of(StreamNet("scene", config.model), clips, config.training)
    fresh = run.batches(clips, replace(config.training.stages[1], batch_size=batch_size))
    kept = cast("Batches", [next(iter(fresh))] * len(fresh))  # what the engine asks of batches, a list has
    with reproducible(run.world.device, config.training.threads):
        with_data, in_memory = in_turn(repeats, partial(train_on, run, fresh), partial(train_on, run, kept))
    detail: dict[str, Any] = medians("work", with_data) | medians("limit", in_memory)
    detail |= {"preset": preset, "batch": batch_size, "steps": len(fresh), "compiled": False}
    limit = f"the same step of the same network (scene, {preset}, eager) on a batch in memory, by the clock"
    return Figure(name, wall_ratio(with_data, in_memory), "x", STEP_GOAL, limit, detail=detail)


def run_of(net: StreamNet, clips: ClipDataset, config: TrainingConfig, device: str = "cpu") -> Run:
    """A stream about to train its second stage on one device, that writes nothing."""
    where = choose_device(device)
    world = World(0, 1, where)
    return Run(clips.store, net.to(where), clips, None, config, world, Standing(2), {}, _drop, no_progress)


def train_on(run: Run, batches: Batches) -> None:
    """One epoch as `crnet.training.loop.fit` does it, with a fresh optimizer."""
    stage = run.config.stages[1]
    train_epoch(run, run.net, batches, stage, 0, stage.make_optimizer(run.net.parameters()), Clock())


def _drop(row: Row) -> None:
    """A log that nobody reads."""
