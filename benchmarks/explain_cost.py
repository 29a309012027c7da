"""What explaining one video costs with a system of a preset's size, against the time that the server grants a video.

    OMP_NUM_THREADS=1 python benchmarks/explain_cost.py VIDEO [--preset paper] [--transcript TEXT] [--limit-s 300]

The networks have random weights and the trees are made up: neither changes what they cost. Prints one JSON document;
exit code 1 if the wall time exceeds the limit. Linux and macOS.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from crnet.bundle.bundle import Bundle
from crnet.config import PRESET_NAMES, PRESETS, Config
from crnet.explain.explain import TASK, explain_video
from crnet.fusion.forest import Forest
from crnet.fusion.fusion import Fusion
from crnet.media.settings import MediaSettings
from crnet.models.crnet import StreamNet
from crnet.predict import Predictor
from crnet.report import overlay_video
from crnet.report.video_report import PICTURES_TASK, REPORT_TASK, write_video_report
from crnet.types import TARGETS

AUDIO_SAMPLES = 244_832  # the longest training clip of First Impressions v2
REPORT_TASKS = (PICTURES_TASK, overlay_video.TASK, REPORT_TASK)
LEVELS = 13  # of a tree; 6,000 clips need as many where every split is even


def main() -> int:
    """Explain, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--preset", choices=PRESET_NAMES, default="paper")
    parser.add_argument("--transcript", default=" ".join(["so this is what I do all day"] * 6))
    parser.add_argument("--limit-s", type=float, default=300.0)
    asked = parser.parse_args()
    predictor = Predictor(system(PRESETS[asked.preset]))
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        explained = explain_video(predictor, asked.video, transcript=asked.transcript, progress=clock)
        write_video_report(explained, asked.video, predictor.bundle, folder, clock)
        clock.end()
        size_mb = sum(path.stat().st_size for path in Path(folder).iterdir()) / 2**20
    report = {
        "preset": asked.preset,
        "threads": torch.get_num_threads(),
        "video_s": explained.prediction.duration_s,
        "words": len(explained.words),
        "cpu_s": round(sum(clock.cpu_s.values()), 1),
        "wall_s": round(sum(clock.wall_s.values()), 1),
        "limit_s": asked.limit_s,
        "cpu_s_of_steps": {step: round(seconds, 1) for step, seconds in clock.cpu_s.items()},
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "result_mb": round(size_mb, 1),
    }
    print(json.dumps(report, indent=2))
    return int(report["wall_s"] > asked.limit_s)


def system(preset: Config) -> Bundle:
    """A system of a preset's shape that knows nothing."""
    config = replace(preset, transforms=replace(preset.transforms, audio_samples=AUDIO_SAMPLES))
    nets = {stream: StreamNet(stream, config.model).eval() for stream in config.streams}
    features = 8 * config.model.width
    mean = {stream: np.zeros((len(TARGETS), features)) for stream in config.streams}
    scale = {stream: np.ones((len(TARGETS), features)) for stream in config.streams}
    fusion = Fusion(replace(config.fusion, mode="sum"), mean, scale, forest(config.fusion.trees, features))
    medians = np.full(len(TARGETS), 0.5)
    return Bundle(config, nets, fusion, "folder", "hashed-ngrams-v1", MediaSettings().to_dict(), medians)


def forest(trees: int, features: int) -> Forest:
    """Full binary trees with random thresholds."""
    rng = np.random.default_rng(0)
    jump, leaf = np.zeros(1, np.int32), np.ones(1, bool)
    for level in range(1, LEVELS):  # a root, then its left half, then its right half
        jump = np.concatenate([[2**level], jump, jump]).astype(np.int32)
        leaf = np.concatenate([[False], leaf, leaf])
    total = len(TARGETS) * trees
    feature = np.where(np.tile(leaf, total), -1, rng.integers(features, size=total * len(leaf), dtype=np.int16))
    value = rng.random(total * len(leaf), dtype=np.float32)
    start = np.arange(len(TARGETS))[:, None] * trees + np.arange(trees + 1)
    return Forest(feature.astype(np.int16), value, np.tile(jump, total), start * len(leaf), features)


class Clock:
    """A `Progress` that adds up the time of every step of an explanation."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}
        self.wall_s: dict[str, float] = {}
        self._step: str | None = None
        self._since = (0.0, 0.0)

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
            for seconds, before, after in zip((self.cpu_s, self.wall_s), self._since, now, strict=True):
                seconds[self._step] = seconds.get(self._step, 0.0) + after - before
        self._step, self._since = step, now


if __name__ == "__main__":
    sys.exit(main())
