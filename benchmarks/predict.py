"""The rows of prediction: a clip through a system of the paper's size, warm and from a cold start."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.clips import bare_decode
from benchmarks.forest import random_forest
from benchmarks.measurements import Figure, in_turn, medians, timed, wall_ratio
from crnet.bundle.bundle import Bundle, load_bundle, save_bundle
from crnet.config import PRESETS, Config, Preset
from crnet.fusion.fusion import Fusion
from crnet.media.settings import MediaSettings
from crnet.models.crnet import StreamNet
from crnet.predict import Predictor
from crnet.text.hashed_ngrams import HashedNgrams
from crnet.types import STREAMS, TARGETS, Stream

WARM_GOAL, COLD_GOAL_S = 2.5, 2.5
LONGEST_SAMPLES = 244_832  # the longest training clip of First Impressions v2 at 16 kHz
TRAINING_CLIPS = 6_000


def predicting_rows(clip: Path, bundle: Path, repeats: int) -> Iterator[Figure]:
    """Seconds of scoring a clip, over those of bare decoding; and what starting a process for it adds.

    Args:
        clip: The video.
        bundle: The system, see `untrained_bundle`.
        repeats: Rounds of each.
    """
    system = load_bundle(bundle)
    predictor, quicker = Predictor(system), Predictor(system, precision="bfloat16")
    decoding, *both = in_turn(
        repeats, partial(bare_decode, clip), *(partial(one.predict, clip, "") for one in (predictor, quicker))
    )
    limit = "bare decoding of picture and sound, by the clock"
    for name, warm in zip(("predict: warm", "predict: warm, bfloat16"), both, strict=True):
        detail = medians("work", warm) | medians("limit", decoding) | {"repeats": repeats}
        yield Figure(name, wall_ratio(warm, decoding), "x", WARM_GOAL, limit, detail=detail)
    # The other process's memory is not known here.
    rounds = [(replace(timed(partial(_predict_cold, clip, bundle)), peak_mib=None),
               timed(partial(predictor.predict, clip, "")))
              for _ in range(max(repeats // 2, 1))]  # fmt: skip
    cold, again = ([pair[i] for pair in rounds] for i in (0, 1))
    more_s = statistics.median(a.wall_s - b.wall_s for a, b in rounds)
    size_mb = round(sum(file.stat().st_size for file in bundle.iterdir()) / 1e6)
    detail = medians("work", cold) | medians("limit", again) | {"bundle_mb": size_mb}
    limit = "the same clip in a process that has scored one; the bundle lies in the page cache"
    yield Figure("predict: cold start adds", more_s, "s", COLD_GOAL_S, limit, detail=detail)


def _predict_cold(clip: Path, bundle: Path) -> None:
    command = [sys.executable, "-m", "crnet", "predict", str(bundle), str(clip), "--transcript", "", "--json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def untrained_bundle(folder: Path, preset: Preset, trees: int | None = None, clips: int = TRAINING_CLIPS) -> Path:
    """A system of a preset's size with random weights, and trees as if grown on so many clips.

    Args:
        folder: Where it is written.
        preset: Its size.
        trees: Of each target; None: the preset's.
        clips: That the trees are as large as for.
    """
    config = PRESETS[preset]
    transforms = replace(config.transforms, audio_samples=LONGEST_SAMPLES)
    fusion = replace(config.fusion, trees=trees or config.fusion.trees)
    config = replace(config, transforms=transforms, fusion=fusion)
    save_bundle(_random_system(config, clips), folder)
    if hasattr(os, "sync"):
        os.sync()  # or a cold start would be measured while its gigabyte is on the way to the disk
    return folder


def _random_system(config: Config, clips: int) -> Bundle:
    width = 8 * config.model.width
    flat: dict[Stream, np.ndarray] = {stream: np.zeros((len(TARGETS), width)) for stream in STREAMS}
    fusion = Fusion(
        config.fusion, flat, {stream: array + 1 for stream, array in flat.items()},
        random_forest(config.fusion.trees, clips, width),
    )  # fmt: skip
    nets: dict[Stream, StreamNet] = {stream: StreamNet(stream, config.model).eval() for stream in STREAMS}
    medians_ = np.full(len(TARGETS), 0.5)
    return Bundle(config, nets, fusion, "simulated", HashedNgrams.name, MediaSettings().to_dict(), medians_)
