"""Systems with random weights: as large and as slow as trained ones."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crnet.bundle.bundle import Bundle
from crnet.bundle.save import save_bundle
from crnet.config import PRESETS, Config, Preset
from crnet.fusion.forest import LEAF, Forest
from crnet.fusion.fusion import Fusion
from crnet.media.settings import MediaSettings
from crnet.models.crnet import StreamNet
from crnet.text.hashed_ngrams import HashedNgrams
from crnet.types import STREAMS, TARGETS, Stream

LONGEST_SAMPLES = 244_832  # the longest training clip of First Impressions v2 at 16 kHz
TRAINING_CLIPS = 6_000  # of First Impressions v2
SHAPES = 20  # number of different tree shapes in a random forest


def save_untrained_bundle(folder: Path, preset: Preset, trees: int | None = None, clips: int = TRAINING_CLIPS) -> Path:
    """Write the bundle of an untrained system.

    Args:
        folder: Where the bundle is written.
        preset: Size of the networks.
        trees: Number of trees for each target; None: the preset's.
        clips: Number of training clips that determines the size of the trees.
    """
    config = PRESETS[preset]
    config = replace(config, fusion=replace(config.fusion, trees=trees or config.fusion.trees))
    save_bundle(untrained_system(config, clips), folder)
    if hasattr(os, "sync"):
        os.sync()  # otherwise a cold start would be measured while its gigabyte is on its way to the disk
    return folder


def untrained_system(config: Config, clips: int = TRAINING_CLIPS) -> Bundle:
    """Return a system with random weights, and trees as large as those grown on `clips` training clips.

    Trees fitted on training clips are the paper's, and the largest: there are fewer held-out clips.
    """
    transforms = replace(config.transforms, audio_samples=LONGEST_SAMPLES)
    config = replace(config, transforms=transforms, fusion=replace(config.fusion, fit_on="training"))
    width = 8 * config.model.width
    zeros: dict[Stream, np.ndarray] = {stream: np.zeros((len(TARGETS), width)) for stream in STREAMS}
    ones = {stream: array + 1 for stream, array in zeros.items()}
    fusion = Fusion(config.fusion, zeros, ones, random_forest(config.fusion.trees, clips, width))
    networks: dict[Stream, StreamNet] = {stream: StreamNet(stream, config.model).eval() for stream in STREAMS}
    medians = np.full(len(TARGETS), 0.5)
    return Bundle(config, networks, fusion, "simulated", HashedNgrams.name, MediaSettings().to_dict(), medians)


def random_forest(trees: int, clips: int, features: int) -> Forest:
    """Return a forest as large and as deep as one grown on `clips` clips, with random features and thresholds.

    Extra-trees split a node's clips at a random value, so a nearly uniform share of them goes left, down to single
    clips. The forest repeats a few such shapes; the feature and the threshold of a node differ everywhere.
    """
    rng = np.random.default_rng(2)
    shapes = [_random_shape(clips, rng) for _ in range(min(SHAPES, trees))]
    order = rng.integers(len(shapes), size=len(TARGETS) * trees)
    jump = np.concatenate([shapes[i] for i in order])
    leaf = jump == 0
    feature = rng.integers(features, size=len(jump), dtype=np.int16)
    feature[leaf] = LEAF
    value = rng.normal(size=len(jump)).astype(np.float32)
    value[leaf] = rng.uniform(size=int(leaf.sum())).astype(np.float32)
    ends = np.cumsum([0, *(len(shapes[i]) for i in order)])
    start = ends[np.arange(len(TARGETS))[:, None] * trees + np.arange(trees + 1)]
    return Forest(feature, value, jump, start.astype(np.int64), features)


def _random_shape(clips: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Return the jumps of one tree, depth first, with one clip in each leaf."""
    jump = np.zeros(2 * clips - 1, dtype=np.int32)
    pending = [(0, clips)]
    while pending:
        node, node_clips = pending.pop()
        if node_clips > 1:
            left = int(rng.integers(1, node_clips))
            jump[node] = 2 * left  # the left subtree has 2 * left - 1 nodes
            pending += [(node + 1, left), (node + 2 * left, node_clips - left)]
    return jump
