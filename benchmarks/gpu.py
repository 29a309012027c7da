"""Measure training of the scene stream at the size of the `paper` preset on a GPU, in ten minutes without network.

Simulates a small set into a store (needs the extra `simulate`). Then times a training step, in turn: as the training
loop does it (bfloat16, all frames in one batch, channels last), compiled, and as a plain float32 loop over the frames;
with its data and with a batch in memory. Then trains that stream, both stages, for as many epochs as the time allows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measurements import Measurement, Usage, alternate, machine_info, medians, wall_ratio
from benchmarks.train import one_epoch, repeat_batch, second_stage_training
from crnet.config import PRESETS, Config
from crnet.data.dataset import longest_audio_samples
from crnet.data.manifest import read_manifest
from crnet.errors import UsageError
from crnet.models.crnet import StreamNet, StreamOutput
from crnet.models.resnet import average_positions
from crnet.simulate.planning import SimulationConfig
from crnet.simulate.write_store import write_store
from crnet.training.loop import StreamTraining
from crnet.training.stream import TrainingJob, open_split, train_stream
from crnet.types import Batch

SPEEDUP_GOAL, WITH_DATA_GOAL = 5.0, 1.05
PEAK_BF16 = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "A10": 125e12}
"""Dense bfloat16 operations a second that the makers state, by a part of the device's name."""

VALIDATION_SHARE = 0.6  # time of validation and of writing checkpoints, as a share of the training time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the device, the size and the time limit."""
    parser.add_argument("--out", type=Path, required=True, help="folder for the store and the run")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="device to measure")
    parser.add_argument("--clips", type=int, default=400, help="clips of the simulated set")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of each comparison; their median counts")
    parser.add_argument("--workers", type=int, default=8, help="workers of the dataloader")
    parser.add_argument("--minutes", type=float, default=9.0, help="time for the whole benchmark")
    parser.add_argument("--tiny", action="store_true", help="use the tiny preset and short clips")


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Simulate, time the steps, train; yield the rows."""
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA GPU is available", remedy="--device cpu --tiny runs this benchmark on a CPU")
    deadline_s = time.monotonic() + 60 * options.minutes
    store, config = simulated_store(options)
    timings = time_steps(store, config, options)
    yield from step_rows(timings, config, options)
    epoch_s = statistics.median(usage.wall_s for usage in timings.usages["with data"])
    yield training_row(store, config, options.out / "run", deadline_s - time.monotonic(), epoch_s)


def simulated_store(options: argparse.Namespace) -> tuple[Path, Config]:
    """Simulate the clips into a store; return it and the configuration for it."""
    config = PRESETS["tiny" if options.tiny else "paper"]
    training = replace(config.training, device=options.device, workers=0 if options.tiny else options.workers)
    seconds, height, frames = (1.0, 180, 1) if options.tiny else (4.0, 360, 2)
    store = write_store(
        options.out / "store",
        SimulationConfig(clips=options.clips, seconds=seconds, height=height, difficulty="easy", voice="built-in"),
        frames_per_segment=frames,
    )
    longest = longest_audio_samples(store, read_manifest(store).rows("train"))
    return store, replace(config, training=training, transforms=replace(config.transforms, audio_samples=longest))


class FrameByFrame(nn.Module):
    """The same network as a plain loop: one frame of every clip at a time, in float32 (no TF32).

    Batch norm then sees the frames of one moment at a time, as in re-implementations that use such a loop.
    """

    def __init__(self, net: StreamNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Batch) -> StreamOutput:
        """Return the stream's output."""
        net, frames = self.net, batch.scene
        assert frames is not None and net.backbone is not None
        vectors: list[Tensor] = []
        for t in range(frames.shape[1]):
            pixels = (frames[:, t].contiguous().float() / 255 - net.pixel_mean) / net.pixel_std
            vectors.append(average_positions(net.backbone(pixels)))
        return StreamOutput(*net.head(torch.stack(vectors, 1).mean(1)))


@dataclass(frozen=True)
class StepTimings:
    """Usage of an epoch in each variant: "frame by frame" and "training loop" with a batch in memory, "with data".

    If the compiler works, "compiled" and "compiled with data" too.

    Attributes:
        usages: Usage in each round, by variant.
        device_peak_mib: Peak memory of the device, by variant; None on a CPU.
        steps: Steps of an epoch.
        batch_size: Clips of a step.
        flops: Floating-point operations of a step.
    """

    usages: dict[str, list[Usage]]
    device_peak_mib: dict[str, int | None]
    steps: int
    batch_size: int
    flops: int


def time_steps(store: Path, config: Config, options: argparse.Namespace) -> StepTimings:
    """Time an epoch in each variant, in turn."""
    job = TrainingJob(
        store, read_manifest(store), options.out / "run", config.model, config.transforms, config.training
    )
    clips = open_split("train", "scene", job)
    assert clips is not None
    net = StreamNet("scene", config.model)
    training = second_stage_training(net, clips, config.training, options.device)
    loaded = training.batches(clips, config.training.stages[1])
    batch = next(iter(loaded)).to(training.context.device)
    in_memory = repeat_batch(batch, max(len(loaded), 1))
    float32_training = replace(training, config=replace(config.training, precision="float32"))
    variants: dict[str, Callable[[], None]] = {
        "frame by frame": partial(one_epoch, float32_training, FrameByFrame(net), in_memory),
        "training loop": partial(one_epoch, training, net, in_memory),
        "with data": partial(one_epoch, training, net, loaded),
    }
    compiled = compile_or_none(training, net, batch)
    if compiled is not None:
        variants["compiled"] = partial(one_epoch, training, compiled, in_memory)
        variants["compiled with data"] = partial(one_epoch, training, compiled, loaded)
    device = training.context.device
    works = [partial(run_to_end, variant, device) for variant in variants.values()]
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
        usages = alternate(options.repeats, *works)
        peaks = {name: device_peak_mib(variant, device) for name, variant in variants.items()}
    flops = count_flops(training, net, batch)
    return StepTimings(dict(zip(variants, usages, strict=True)), peaks, len(in_memory), len(batch), flops)


def step_rows(timings: StepTimings, config: Config, options: argparse.Namespace) -> Iterator[Measurement]:
    """Yield the step against a plain loop, and with its data against a batch in memory, eager and compiled."""
    usages = timings.usages
    step_s = statistics.median(usage.wall_s for usage in usages["training loop"]) / timings.steps
    peak_flops = next((flops for part, flops in PEAK_BF16.items() if part in str(machine_info()["gpu"])), None)
    variants: dict[str, Any] = {
        name: medians("epoch", rounds) | {"device_peak_mib": timings.device_peak_mib[name]}
        for name, rounds in usages.items()
    }
    detail: dict[str, Any] = {"steps": timings.steps, "batch": timings.batch_size, "variants": variants}
    detail |= {"teraflops_a_s": round(timings.flops / step_s / 1e12, 2)}
    detail |= {"model_flop_use": None if peak_flops is None else round(timings.flops / step_s / peak_flops, 3)}
    size = "tiny" if options.tiny else "paper"
    limit = f"the same {size} network, scene, as a float32 loop over frames"
    speedup = wall_ratio(usages["frame by frame"], usages["training loop"])
    yield Measurement("gpu: a step on this device", speedup, "x", SPEEDUP_GOAL, limit, at_least=True, detail=detail)
    workers = {"dataloader_workers": config.training.workers}
    limit = "the training loop's step on a batch in memory"
    ratio = wall_ratio(usages["with data"], usages["training loop"])
    yield Measurement("gpu: a step with its data", ratio, "x", WITH_DATA_GOAL, limit, detail=workers)
    if "compiled" in usages:
        limit = "the same compiled network's step on a batch in memory"
        ratio = wall_ratio(usages["compiled with data"], usages["compiled"])
        yield Measurement("gpu: compiled, a step with its data", ratio, "x", WITH_DATA_GOAL, limit)


def training_row(store: Path, config: Config, run_dir: Path, seconds: float, epoch_s: float) -> Measurement:
    """Train the scene stream for as many epochs as fit in the time; return the last epoch's clips/s and the curve."""
    epochs = max(2, min(50, int(seconds / max(epoch_s, 1e-3) / (1 + VALIDATION_SHARE))))
    first = epochs // 4 or 1
    stages = tuple(
        replace(stage, epochs=count, lr_step_epochs=max(count // 2, 1))
        for stage, count in zip(config.training.stages, (first, epochs - first), strict=True)
    )
    training = replace(config.training, stages=cast("Any", stages))
    started_s = time.monotonic()
    train_stream("scene", TrainingJob(store, read_manifest(store), run_dir, config.model, config.transforms, training))
    log = map(json.loads, (run_dir / "scene" / "log.jsonl").read_text().splitlines())
    columns = ("stage", "epoch", "train", "val", "samples_per_s", "waiting_share")
    curve = [{column: epoch[column] for column in columns} for epoch in log]
    detail = {"training_s": round(time.monotonic() - started_s, 1), "curve": curve}
    rate = float(curve[-1]["samples_per_s"])
    return Measurement("gpu: training speed", rate, "clips/s", None, "the last epoch of both stages", detail=detail)


def compile_or_none(training: StreamTraining, net: StreamNet, batch: Batch) -> nn.Module | None:
    """Return the compiled network, or None with a line on stderr if the compiler does not work."""
    try:
        compiled = cast("nn.Module", torch.compile(net))
        one_epoch(training, compiled, repeat_batch(batch, 1))
    except Exception as error:
        # Compilers fail in many ways: no C compiler, no Triton, an unsupported operation.
        print(f"not compiled: {type(error).__name__}: {str(error).splitlines()[0][:200]}", file=sys.stderr)
        return None
    return compiled


def run_to_end(work: Callable[[], None], device: torch.device) -> None:
    """Do the work, and wait until the device has finished."""
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()


def device_peak_mib(work: Callable[[], None], device: torch.device) -> int | None:
    """Return the peak memory of the device during the work, MiB; None on a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats()
    run_to_end(work, device)
    return round(torch.cuda.max_memory_allocated() / (1 << 20))


def count_flops(training: StreamTraining, net: StreamNet, batch: Batch) -> int:
    """Count the operations of one step's matrix products and convolutions, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        one_epoch(training, net, repeat_batch(batch, 1))
    return int(counter.get_total_flops())
