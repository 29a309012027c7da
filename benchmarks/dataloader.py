"""Rows of the dataloader: samples a second, against decoding the same JPEG files, and scaling with workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import simplejpeg

from benchmarks.inputs import Inputs
from benchmarks.measurements import Measurement, alternate, cpu_ratio, medians, torch_threads
from crnet.data.dataset import ClipDataset, load_batches, stack_scores
from crnet.data.manifest import read_manifest
from crnet.data.store import ClipFile
from crnet.data.transforms import TransformConfig, choose_frames, derived_rng
from crnet.models.classes import class_indices
from crnet.utils.cores import available_cores

PER_CORE_GOAL, SCALING_GOAL = 0.85, 0.9
BATCH_SIZE = 30  # Sec. 4.2.1


def measure(inputs: Inputs) -> Iterator[Measurement]:
    """Yield the row per core and, on several cores, the row of workers."""
    yield per_core_row(inputs.store, inputs.effort.repeats)
    if available_cores() > 1:
        yield workers_row(inputs.store, inputs.effort.repeats)


def training_clips(store: Path, config: TransformConfig, count: int | None = None) -> ClipDataset:
    """Return the clips of the store, or the first `count` of them, as the scene stream trains on them."""
    rows = read_manifest(store).rows("train")[:count]
    return ClipDataset(store, rows, config, ["scene"], 0, class_indices(stack_scores(rows)), training=True)


def per_core_row(store: Path, repeats: int) -> Measurement:
    """Return the CPU time of decoding an epoch's JPEG files over that of an epoch of the dataloader."""
    clips = training_clips(store, TransformConfig())
    batches = load_batches(clips, BATCH_SIZE)
    files = _jpegs_of_epoch(clips)
    with torch_threads(1):
        decoding_costs, loader_costs = alternate(repeats, partial(_decode_all, files), lambda: sum(1 for _ in batches))
    frames = clips.config.frames
    detail = (
        medians("work", loader_costs)
        | medians("limit", decoding_costs)
        | {"clips": len(clips), "frames_a_clip": frames}
    )
    detail["samples_per_cpu_s"] = round(len(clips) / float(detail["work_cpu_s"]), 1)
    return Measurement(
        "dataloader: samples/s per core",
        cpu_ratio(decoding_costs, loader_costs),
        "x",
        PER_CORE_GOAL,
        "samples/s of decoding the same JPEG bytes, already in memory, and nothing else",
        at_least=True,
        detail=detail,
    )


def _jpegs_of_epoch(clips: ClipDataset) -> list[bytes]:
    """Return the stored frames that an epoch of training uses."""
    files: list[bytes] = []
    for row in clips.rows:
        source = ClipFile(clips.store / row.file)
        rng = derived_rng(clips.seed, clips.epoch, f"frames of {row.clip_id}")
        files += source.jpegs("scene", choose_frames(source, clips.config.frames, rng).tolist())
    return files


def _decode_all(files: list[bytes]) -> None:
    for file in files:
        simplejpeg.decode_jpeg(file, "RGB")


def workers_row(store: Path, repeats: int) -> Measurement:
    """Return the samples/s of one worker per core over `cores` times those of one worker."""
    cores = available_cores()
    clips = training_clips(store, TransformConfig())
    loaders = {count: load_batches(clips, BATCH_SIZE, workers=count) for count in (1, cores)}
    rates: dict[int, list[float]] = {1: [], cores: []}
    for number in range(repeats + 1):
        for count, batches in loaders.items():
            started_s = time.perf_counter()
            samples = sum(len(batch) for batch in batches)
            if number:  # the first epoch also starts the processes
                rates[count].append(samples / (time.perf_counter() - started_s))
    ratios = [many / (cores * single) for single, many in zip(rates[1], rates[cores], strict=True)]
    return Measurement(
        f"dataloader: {cores} workers",
        float(np.median(ratios)),
        "x",
        SCALING_GOAL,
        f"{cores} times the samples/s (wall time) of one worker",
        at_least=True,
        detail={f"samples_per_s_{count}": round(float(np.median(rate)), 1) for count, rate in rates.items()},
    )
