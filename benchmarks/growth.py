"""Measure how cost grows with the size of a frame, the duration of a clip, the number of clips, workers and trees.

Converts the video to three sizes and two durations. Runs `crnet prepare` on a number of its copies, and on twice as
many, with one worker and with one per core. Takes ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.clips import bare_decode, standard_clip
from benchmarks.forest import random_task
from benchmarks.inputs import ForestSize
from benchmarks.measurements import Measurement, alternate, medians, timed
from crnet.data.prepare import prepare
from crnet.fusion.forest import Forest
from crnet.media.reader import read_video
from crnet.utils.cores import available_cores

HEIGHTS = (360, 720, 1080)
SECONDS = (15.0, 60.0)
TREE_CLIPS, TREES = (1_500, 3_000, 6_000), 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the video and the amount of measuring."""
    parser.add_argument("--video", type=Path, help="video of a talking person (default: synthetic)")
    parser.add_argument("--clips", type=int, default=12, help="number of clips in the smaller data set")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of each measurement; their median counts")
    parser.add_argument("--seconds", type=float, nargs=2, default=SECONDS, help="durations of a short and a long clip")


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Yield the cost of clips, data sets and trees. The rows have no goals."""
    short_s, long_s = options.seconds
    with tempfile.TemporaryDirectory(prefix="crnet-growth-") as name:
        folder = Path(name)
        for height in HEIGHTS:
            clip = standard_clip(options.video, folder / f"{height}p.mp4", short_s, height)
            yield from clip_rows(f"{short_s:g} s, {height}p", clip, options.repeats)
        long_clip = standard_clip(options.video, folder / "long.mp4", long_s)
        yield from clip_rows(f"{long_s:g} s, 720p", long_clip, options.repeats)
        yield from store_rows(folder / "720p.mp4", folder, options.clips, options.repeats)
    for clips in TREE_CLIPS:
        yield trees_row(clips)


def clip_rows(name: str, clip: Path, repeats: int) -> Iterator[Measurement]:
    """Yield the CPU time, in one thread, of decoding a clip and of reading it with all frames kept."""
    decoding_costs, reading_costs = alternate(repeats, partial(bare_decode, clip), partial(read_video, clip))
    size = {"mb": round(clip.stat().st_size / 1e6, 2)}
    for work, usages in (("decoding", decoding_costs), ("preparing", reading_costs)):
        cpu_s = statistics.median(usage.cpu_s for usage in usages)
        yield Measurement(f"{work} a clip: {name}", cpu_s, "s", None, "CPU time of one thread", detail=size)


def store_rows(clip: Path, folder: Path, clips: int, repeats: int) -> Iterator[Measurement]:
    """Yield the wall time of preparing a number of clips, and twice as many, with one worker and with all cores."""
    sources = {count: copy_clip(clip, folder / f"source{count}", count) for count in (clips, 2 * clips)}
    cases = [(clips, 1), (clips, available_cores()), (2 * clips, available_cores())]
    wall_s: dict[tuple[int, int], list[float]] = {case: [] for case in cases}
    for _ in range(repeats):
        for count, workers in cases:
            store = folder / "store"
            wall_s[count, workers].append(timed(partial(prepare, sources[count], store, workers=workers)).wall_s)
            shutil.rmtree(store)
    for (count, workers), times_s in wall_s.items():
        name = f"preparing a data set: {count} clips, {workers} workers"
        yield Measurement(name, statistics.median(times_s), "s", None, "wall time")


def copy_clip(clip: Path, folder: Path, count: int) -> Path:
    """Write a folder with copies of a clip."""
    folder.mkdir()
    for number in range(count):
        shutil.copyfile(clip, folder / f"{number:03d}.mp4")
    return folder


def trees_row(clips: int) -> Measurement:
    """Return the CPU time of growing one target's trees on a number of clips."""
    size = ForestSize(TREES, clips)
    x, y = random_task(size, np.random.default_rng(0))
    grown: list[Forest] = []
    usage = timed(lambda: grown.append(Forest.fit(x, y, trees=size.trees, max_features=size.features, seed=0)))
    detail = {"nodes": len(grown[0].feature), **medians("work", [usage])}
    return Measurement(f"growing {TREES} trees: {clips} clips", usage.cpu_s, "s", None, "CPU time", detail=detail)
