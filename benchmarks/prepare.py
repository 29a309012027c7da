"""Rows of `prepare`: CPU time of reading a clip, against bare decoding, and the memory of a worker."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.clips import bare_decode, looped
from benchmarks.inputs import Inputs
from benchmarks.measurements import Measurement, alternate, cpu_ratio, medians
from crnet.media.reader import read_video
from crnet.media.settings import MediaSettings
from crnet.utils.process_pool import THREAD_VARIABLES

ALL_FRAMES_GOAL, FOUR_FRAMES_GOAL = 1.9, 1.4
MEMORY_GOAL_MIB, GROWTH_GOAL = 300.0, 1.1
LONGER = 4  # neither this many clips nor a clip this many times as long may take more memory


def measure(inputs: Inputs) -> Iterator[Measurement]:
    """Yield the rows of reading and of memory."""
    yield from reading_rows(inputs.clip, inputs.effort.repeats)
    yield from memory_rows(inputs.clip, inputs.folder, inputs.effort.few_repeats)


def reading_rows(clip: Path, repeats: int) -> Iterator[Measurement]:
    """Yield the CPU time of reading a clip with all frames, and with four per segment, over that of bare decoding."""
    bare, all_frames, four_frames = alternate(
        repeats,
        partial(bare_decode, clip),
        partial(read_video, clip),
        partial(read_video, clip, MediaSettings(frames_per_segment=4)),
    )
    cases = (("all frames", all_frames, ALL_FRAMES_GOAL), ("4 per segment", four_frames, FOUR_FRAMES_GOAL))
    for name, costs, goal in cases:
        detail = medians("work", costs) | medians("limit", bare) | {"repeats": repeats}
        limit = "CPU time of bare decoding of picture and sound"
        yield Measurement(f"prepare: {name}", cpu_ratio(costs, bare), "x", goal, limit, detail=detail)


def memory_rows(clip: Path, folder: Path, repeats: int) -> Iterator[Measurement]:
    """Yield the peak memory of a process that prepares one clip, several clips, or a longer clip."""
    long_clip = looped(clip, LONGER, folder / "long.mp4")
    work = ([clip], [clip] * LONGER, [long_clip])
    rounds = [[_peak_mib(clips) for clips in work] for _ in range(repeats)]
    single, several, longer = (statistics.median(peaks) for peaks in zip(*rounds, strict=True))
    detail = {
        "one_clip_mib": round(single),
        f"{LONGER}_clips_mib": round(several),
        f"{LONGER}_times_as_long_mib": round(longer),
        "repeats": repeats,
    }
    limit = "all frames kept; the largest of one clip, several clips and a longer clip"
    peak = max(single, several, longer)
    yield Measurement("prepare: memory of a worker", peak, "MiB", MEMORY_GOAL_MIB, limit, detail=detail)
    growth = statistics.median(max(others) / first for first, *others in rounds)
    limit = f"memory with one clip, against {LONGER} clips and one {LONGER} times as long"
    yield Measurement("prepare: memory growth", growth, "x", GROWTH_GOAL, limit, detail=detail)


def _peak_mib(clips: list[Path]) -> float:
    """Return the peak memory of a new process with one thread, like a worker, that reads these clips in turn."""
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")}
    command = [sys.executable, "-m", "benchmarks.peak_memory", *map(str, clips)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)
