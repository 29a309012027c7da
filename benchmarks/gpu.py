"""The GPU rows of docs/performance.md, in one run of at most ten minutes, without network.

    python benchmarks/gpu.py --out /tmp/gpu

Draws a small simulated set straight into a store (needs the extra `simulate`), then measures a training step of the
scene stream at the size of the `paper` preset: as the engine does it (bfloat16, all frames in one batch, channels
last), compiled, and as a plain float32 loop over the frames, in turn; with its data and with a batch in memory. Then
it trains that stream, both stages, for as many epochs as the time allows. `results.json` and the run's log.jsonl hold
everything. `--device cpu --tiny` shows on any machine that the script runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measurements import Figure, in_turn, machine, medians, wall_ratio
from benchmarks.training_step import run_of
from crnet.config import PRESETS, Config
from crnet.data.dataset import Batches, longest_audio_samples
from crnet.data.store import read_manifest
from crnet.models.crnet import StreamNet, StreamOutput
from crnet.models.resnet import average
from crnet.simulate.planning import SimulationConfig
from crnet.simulate.write_store import simulate_to_store
from crnet.training.loop import Clock, Run, train_epoch
from crnet.training.stream import split_of, train_stream
from crnet.types import Batch

FASTER_GOAL, WITH_DATA_GOAL = 5.0, 1.05
PEAK_BF16 = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "A10": 125e12}
"""Dense bfloat16 operations a second that the makers state, by a part of the device's name."""


class FrameByFrame(nn.Module):
    """The same network as a plain loop: one frame of every clip at a time, in float32 (no TF32).

    Batch norm then sees the frames one moment at a time, as in the re-implementations that loop so.
    """

    def __init__(self, net: StreamNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Batch) -> StreamOutput:
        """The stream's output, the long way."""
        net, frames = self.net, batch.scene
        assert frames is not None
        vectors: list[Tensor] = []
        for t in range(frames.shape[1]):
            pixels = (frames[:, t].contiguous().float() / 255 - net.pixel_mean) / net.pixel_std
            vectors.append(average(net.backbone(pixels)))
        return StreamOutput(*net.head(torch.stack(vectors, 1).mean(1)))


def main() -> int:
    """Measure, train, write results.json; 0 if every goal holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the store, the run and results.json")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--clips", type=int, default=400, help="of the drawn set")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--workers", type=int, default=8, help="of the loader")
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything")
    parser.add_argument("--tiny", action="store_true", help="the tiny preset and few clips")
    asked = parser.parse_args()
    until_s = time.monotonic() + 60 * asked.minutes
    if asked.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA GPU here; --device cpu --tiny shows that the script runs")
    config = settings(asked)
    seconds = 1.0 if asked.tiny else 4.0
    started_s = time.monotonic()
    store = simulate_to_store(
        asked.out / "store",
        SimulationConfig(clips=asked.clips, seconds=seconds, height=180 if asked.tiny else 360, voice="built-in"),
        frames_per_segment=1 if asked.tiny else 2,
    )
    manifest = read_manifest(store)
    longest = longest_audio_samples(store, manifest.rows("train"))
    config = replace(config, transforms=replace(config.transforms, audio_samples=longest))
    results: dict[str, Any] = {"machine": machine(), "drawing_s": round(time.monotonic() - started_s, 1)}
    rows, epoch_s = measured(store, config, asked)
    results["rows"] = [row.to_dict() for row in rows]
    epochs = max(2, min(50, int((until_s - time.monotonic()) / max(epoch_s, 1e-3) / 1.6)))
    stages = tuple(
        replace(stage, epochs=count, lr_step_epochs=max(count // 2, 1))
        for stage, count in zip(config.training.stages, (epochs // 4 or 1, epochs - epochs // 4), strict=True)
    )
    training = replace(config.training, stages=cast("Any", stages))
    started_s = time.monotonic()
    train_stream("scene", store, manifest, asked.out / "run", config.model, config.transforms, training)
    log = (asked.out / "run" / "scene" / "log.jsonl").read_text().splitlines()
    curve = [{key: row[key] for key in ("stage", "epoch", "train", "val", "samples_per_s", "waiting_share")}
             for row in map(json.loads, log)]  # fmt: skip
    results |= {"training_s": round(time.monotonic() - started_s, 1), "curve": curve}
    (asked.out / "results.json").write_text(json.dumps(results, indent=2))
    for row in rows:
        print(f"{row.name:<40} {row.value:.3g} {row.unit}  goal {row.goal_text}  {'holds' if row.holds else 'missed'}")
    for epoch in curve:
        accuracy = {split: epoch[split]["accuracy"]["average"] for split in ("train", "val") if epoch[split]}
        print(f"stage {epoch['stage']} epoch {epoch['epoch']}: 1-MAE {accuracy}, {epoch['samples_per_s']:.0f} clips/s")
    return 0 if all(row.holds for row in rows) else 1


def settings(asked: argparse.Namespace) -> Config:
    """The preset, on the device asked for."""
    config = PRESETS["tiny" if asked.tiny else "paper"]
    training = replace(config.training, device=asked.device, workers=0 if asked.tiny else asked.workers)
    return replace(config, training=training)


def measured(store: Path, config: Config, asked: argparse.Namespace) -> tuple[list[Figure], float]:
    """The rows, and the seconds of an epoch."""
    manifest = read_manifest(store)
    clips = split_of("train", "scene", store, manifest, config.model, config.transforms, config.training)
    assert clips is not None
    net = StreamNet("scene", config.model)
    run = run_of(net, clips, config.training, asked.device)
    fresh = run.batches(clips, config.training.stages[1])
    batch = next(iter(fresh)).to(run.world.device)
    kept = cast("Batches", [batch] * max(len(fresh), 1))
    plain_run = replace(run, config=replace(config.training, precision="float32"))
    ways: dict[str, Callable[[], None]] = {
        "loop": lambda: steps(plain_run, FrameByFrame(net), kept),
        "engine": lambda: steps(run, net, kept),
        "with data": lambda: steps(run, net, fresh),
    }
    compiled = compiled_or_none(run, net, kept)
    if compiled is not None:
        ways["compiled"] = lambda: steps(run, compiled, kept)
        ways["compiled with data"] = lambda: steps(run, compiled, fresh)
    works = [partial(until_done, way, run.world.device) for way in ways.values()]
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
        spent = dict(zip(ways, in_turn(asked.repeats, *works), strict=True))
        device_peaks = {name: device_peak_mib(way, run.world.device) for name, way in ways.items()}
    # What `crnet train` does; compiled is what could be gained.
    step_s = statistics.median(one.wall_s for one in spent["engine"]) / len(kept)
    flops = flops_of_step(run, net, kept)
    peak = next((rate for part, rate in PEAK_BF16.items() if part in str(machine()["gpu"])), None)
    took: dict[str, Any] = {name: medians("epoch", of_way) | {"device_peak_mib": device_peaks[name]}
                            for name, of_way in spent.items()}  # fmt: skip
    detail: dict[str, Any] = {"steps": len(kept), "batch": len(batch), "took": took}
    detail |= {"teraflops_a_s": round(flops / step_s / 1e12, 2)}
    detail |= {"model_flop_use": None if peak is None else round(flops / step_s / peak, 3)}
    size = "tiny" if asked.tiny else "paper"
    rows = [
        Figure("train: a step on this device", wall_ratio(spent["loop"], spent["engine"]), "x", FASTER_GOAL,
               f"the same {size} network, scene, as a float32 loop over frames", at_least=True, detail=detail),
        Figure("train: a step with its data", wall_ratio(spent["with data"], spent["engine"]), "x", WITH_DATA_GOAL,
               "the engine's step on a batch in memory", detail={"loader_workers": config.training.workers}),
    ]  # fmt: skip
    if compiled is not None:
        ratio = wall_ratio(spent["compiled with data"], spent["compiled"])
        limit = "the same compiled network's step on a batch in memory"
        rows.append(Figure("train: compiled, a step with its data", ratio, "x", WITH_DATA_GOAL, limit))
    return rows, statistics.median(one.wall_s for one in spent["with data"])


def steps(run: Run, net: nn.Module, batches: Batches) -> None:
    """An epoch of the second stage."""
    stage = run.config.stages[1]
    train_epoch(run, net, batches, stage, 0, stage.make_optimizer(run.net.parameters()), Clock())


def compiled_or_none(run: Run, net: StreamNet, kept: Batches) -> nn.Module | None:
    """The network compiled, or None where the compiler does not work; what it says goes to stderr."""
    try:
        compiled = cast("nn.Module", torch.compile(net))
        steps(run, compiled, cast("Batches", list(kept)[:1]))
    except Exception as error:
        # Compilers fail in many ways (no C compiler, no Triton, an unsupported operation); the engine goes on without.
        print(f"not compiled: {type(error).__name__}: {str(error).splitlines()[0][:200]}", file=sys.stderr)
        return None
    return compiled


def until_done(way: Callable[[], None], device: torch.device) -> None:
    """Do it, and wait until the device has finished."""
    way()
    if device.type == "cuda":
        torch.cuda.synchronize()


def device_peak_mib(way: Callable[[], None], device: torch.device) -> int | None:
    """The most memory of the device that one epoch takes, MiB; None on a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats()
    until_done(way, device)
    return round(torch.cuda.max_memory_allocated() / (1 << 20))


def flops_of_step(run: Run, net: StreamNet, kept: Batches) -> int:
    """Multiplications and additions of one step's matrix products and convolutions, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        steps(run, net, cast("Batches", list(kept)[:1]))
    return int(counter.get_total_flops())


if __name__ == "__main__":
    sys.exit(main())
