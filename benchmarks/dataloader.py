"""The rows of the loader: samples a second beside decoding the same JPEG files alone, and what more workers bring."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import simplejpeg

from benchmarks.measurements import Figure, cpu_ratio, in_turn, medians, threads
from crnet.data.dataset import ClipDataset, load_batches, stack_scores
from crnet.data.extract import extract_clip
from crnet.data.store import ClipFile, ClipRow, Manifest, clip_path, read_manifest, write_clip, write_manifest
from crnet.data.transforms import TransformConfig, choose_frames, derived_rng
from crnet.media.settings import MediaSettings
from crnet.models.cr_block import class_of
from crnet.text.hashed_ngrams import HashedNgrams
from crnet.types import TARGETS
from crnet.utils.executors import available_cores

PER_CORE_GOAL, LINEAR_GOAL = 0.85, 0.9
BATCH_CLIPS = 30  # Sec. 4.2.1


def store_of(clip: Path, store: Path, copies: int) -> Path:
    """A clip store for measuring: one clip, all its frames kept, so many times, with drawn scores."""
    made = extract_clip(clip, clip_id="clip", transcript="", encoder=HashedNgrams(), settings=MediaSettings())
    scores = np.random.default_rng(0).uniform(0.2, 0.8, (copies, len(TARGETS)))
    rows: list[ClipRow] = []
    for number in range(copies):
        clip_id = f"copy{number:05d}"
        path = store / clip_path(clip_id)
        if number:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store / rows[0].file, path)
        else:
            write_clip(path, made)
        rows.append(ClipRow(clip_id, clip_path(clip_id), "train", tuple(scores[number].tolist())))
    write_manifest(store, Manifest(tuple(rows), "simulated", {}, "benchmark", HashedNgrams.name))
    return store


def training_clips(store: Path, config: TransformConfig, count: int | None = None) -> ClipDataset:
    """The clips of `store_of`, or `count` of them, as the scene stream trains on them."""
    rows = read_manifest(store).rows("train")[:count]
    return ClipDataset(store, rows, config, ["scene"], 0, class_of(stack_scores(rows)), training=True)


def per_core_row(store: Path, repeats: int) -> Figure:
    """CPU seconds of an epoch of the loader in this process, beside those of decoding its JPEG files alone."""
    clips = training_clips(store, TransformConfig())
    batches = load_batches(clips, BATCH_CLIPS)
    files = _jpegs_of_epoch(clips)
    with threads(1):
        decoding, loading = in_turn(repeats, partial(_decode_all, files), lambda: sum(1 for _ in batches))
    frames = clips.config.frames
    detail = medians("work", loading) | medians("limit", decoding) | {"clips": len(clips), "frames_a_clip": frames}
    detail["samples_per_cpu_s"] = round(len(clips) / float(detail["work_cpu_s"]), 1)
    return Figure(
        "loader: samples/s per core",
        cpu_ratio(decoding, loading),
        "x",
        PER_CORE_GOAL,
        "samples/s of decoding the same JPEG bytes, already in memory, and nothing else",
        at_least=True,
        detail=detail,
    )


def _jpegs_of_epoch(clips: ClipDataset) -> list[bytes]:
    """The stored frames that an epoch of training shows."""
    files: list[bytes] = []
    for row in clips.rows:
        source = ClipFile(clips.store / row.file)
        rng = derived_rng(clips.seed, clips.epoch, f"frames of {row.clip_id}")
        files += [source.jpeg("scene", frame) for frame in choose_frames(source, clips.config.frames, rng).tolist()]
    return files


def _decode_all(files: list[bytes]) -> None:
    for file in files:
        simplejpeg.decode_jpeg(file, "RGB")


def workers_row(store: Path, repeats: int) -> Iterator[Figure]:
    """Samples a second of as many workers as there are cores, over as many times those of one worker."""
    cores = available_cores()
    if cores < 2:
        return
    clips = training_clips(store, TransformConfig())
    passes = {count: load_batches(clips, BATCH_CLIPS, workers=count) for count in (1, cores)}
    rates: dict[int, list[float]] = {1: [], cores: []}
    for number in range(repeats + 1):
        for count, batches in passes.items():
            started_s = time.perf_counter()
            samples = sum(len(batch) for batch in batches)
            if number:  # the first pass also starts the processes
                rates[count].append(samples / (time.perf_counter() - started_s))
    ratios = [many / (cores * one) for one, many in zip(rates[1], rates[cores], strict=True)]
    yield Figure(
        f"loader: {cores} workers",
        float(np.median(ratios)),
        "x",
        LINEAR_GOAL,
        f"{cores} times the samples/s (by the clock) of one worker",
        at_least=True,
        detail={f"samples_per_s_{count}": round(float(np.median(rate)), 1) for count, rate in rates.items()},
    )
