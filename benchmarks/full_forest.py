"""Grow the paper's whole forest, 6 x 1,000 trees on 6,000 clips of 512 features, beside scikit-learn's own.

Takes an hour. Target by target, `Forest` and scikit-learn grow the same trees on the same random numbers and take turns
at being first. The benchmark `forest` does the same with 50 trees of one target.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator

import numpy as np

from benchmarks.forest import clip_row, comparison_rows, grow_both
from benchmarks.inputs import ForestSize
from benchmarks.measurements import Measurement
from crnet.fusion.forest import Forest
from crnet.fusion.fusion import PAPER_MAX_FEATURES, PAPER_TREES
from crnet.types import TARGETS

logger = logging.getLogger(__name__)

TIMED_CLIPS = 31


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the size of the forest."""
    parser.add_argument("--trees", type=int, default=PAPER_TREES, help="trees for each target")
    parser.add_argument("--clips", type=int, default=6_000, help="training clips")
    parser.add_argument("--features", type=int, default=PAPER_MAX_FEATURES, help="features of a clip")


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Grow both forests target by target, then time single clips through ours."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    size = ForestSize(options.trees, options.clips, options.features)
    rounds = []
    for number, target in enumerate(TARGETS):
        rounds.append(grow_both(size, seed=number, sklearn_first=number % 2 == 1))
        ours_s, sklearn_s = rounds[-1].ours.wall_s, rounds[-1].sklearn.wall_s
        logger.info("%s: %.0f s, scikit-learn %.0f s", target, ours_s, sklearn_s)
    yield from comparison_rows("full forest", rounds, size)
    yield clip_row("full forest", join([grown.forest for grown in rounds]), TIMED_CLIPS)


def join(forests: list[Forest]) -> Forest:
    """Return one forest of all targets, given one forest for each target."""
    ends = np.cumsum([0, *(len(forest.feature) for forest in forests)])
    return Forest(
        np.concatenate([forest.feature for forest in forests]),
        np.concatenate([forest.value for forest in forests]),
        np.concatenate([forest.jump for forest in forests]),
        np.concatenate([forest.start + end for forest, end in zip(forests, ends, strict=False)]),
        forests[0].features,
    )
