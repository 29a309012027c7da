"""Measure what explaining one video costs with a system of a preset's size, against the server's time limit.

The networks and the trees are random, which does not change their cost. Linux and macOS. Set OMP_NUM_THREADS=1 to
measure one thread.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.measurements import Measurement
from benchmarks.untrained import untrained_system
from crnet.config import PRESET_NAMES, PRESETS
from crnet.explain.explain import TASK, explain_video
from crnet.predict import Predictor
from crnet.report import overlay_video
from crnet.report.video_report import PICTURES_TASK, REPORT_TASK, write_video_report
from crnet.utils.process_memory import peak_mib

REPORT_TASKS = (PICTURES_TASK, overlay_video.TASK, REPORT_TASK)
WORDS = " ".join(["so this is what I do all day"] * 6)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the video and the size of the system."""
    parser.add_argument("video", type=Path, help="video to explain")
    parser.add_argument("--preset", choices=PRESET_NAMES, default="paper", help="size of the system")
    parser.add_argument("--transcript", default=WORDS, help="transcript of the video")
    parser.add_argument("--limit-s", type=float, default=300.0, help="largest acceptable wall time")


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Explain the video; yield wall time, CPU time, memory and size of the result."""
    predictor = Predictor(untrained_system(PRESETS[options.preset]))
    timer = StepTimer()
    with tempfile.TemporaryDirectory() as folder:
        explained = explain_video(predictor, options.video, transcript=options.transcript, progress=timer)
        write_video_report(explained, options.video, predictor.bundle, folder, timer)
        timer.end()
        size_mb = sum(path.stat().st_size for path in Path(folder).iterdir()) / 2**20
    detail = {
        "preset": options.preset,
        "threads": torch.get_num_threads(),
        "video_s": explained.prediction.duration_s,
        "words": len(explained.words),
        "result_mb": round(size_mb, 1),
    }
    limit = "the time limit for one video, --max-time-s of crnet serve"
    wall_s, cpu_s = sum(timer.wall_s.values()), sum(timer.cpu_s.values())
    yield Measurement("explain: wall time", wall_s, "s", options.limit_s, limit, detail=detail)
    steps = {step: round(seconds, 1) for step, seconds in timer.cpu_s.items()}
    yield Measurement("explain: CPU time", cpu_s, "s", None, "all threads; in detail: each step", detail=steps)
    yield Measurement("explain: peak memory", peak_mib(), "MiB", None, "this process with the system")


class StepTimer:
    """A `Progress` that adds up the time of each step of an explanation."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}
        self.wall_s: dict[str, float] = {}
        self._step: str | None = None
        self._started = (0.0, 0.0)

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        """See `crnet.utils.progress.Progress`."""
        step = note if task == TASK else task
        if (task == TASK or task in REPORT_TASKS) and step != self._step:
            self._begin(step)

    def end(self) -> None:
        """End the last step."""
        self._begin(None)

    def _begin(self, step: str | None) -> None:
        now = (time.process_time(), time.perf_counter())
        if self._step is not None:
            for seconds, before, after in zip((self.cpu_s, self.wall_s), self._started, now, strict=True):
                seconds[self._step] = seconds.get(self._step, 0.0) + after - before
        self._step, self._started = step, now
