"""Fit the trees and the weights of a fusion on clips that trained no network.

A network memorises part of the scores of its training clips. Trees fitted on the features of those clips rely on what
it memorised, which no other clip has (docs/paper.md has measurements). Here the trees get the features of held-out
clips, and their own predictions of held-out clips, which decide their leaf size and their weight, come from trees that
were fitted on other folds.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crnet.data.splits import balanced_folds
from crnet.errors import FormatError
from crnet.fusion.forest import Forest
from crnet.fusion.stack import TREES, Stack
from crnet.models.stacking import Scores, best_alone, fit_weights
from crnet.types import TARGETS, Stream

logger = logging.getLogger(__name__)

FEWEST_HELD_OUT_CLIPS = 20
"""With fewer clips neither trees nor weights are fitted."""
FOLDS = 5
FOLD_TREES = 100  # at most; more hardly change out-of-fold predictions
LEAST_TREES_WEIGHT = 0.01
"""Trees of less weight hardly move a score, and are most of a bundle's size: they are dropped."""
LEAF_SIZES = (1, 5, 20, 50)
"""The fewest clips in a leaf: the candidates. Leaves of one clip are the paper's, scikit-learn's default."""


@dataclass(frozen=True, eq=False)
class HeldOutClips:
    """Clips that trained no network, to fit a fusion on.

    Attributes:
        features: f_reg_p [n, 6, F] of each stream.
        scores: [n, 6] of each stream, as its network returns them.
        truth: [n, 6], the annotated scores.
        groups: The person or video of each clip; clips of one group stay in one fold.
    """

    features: Mapping[Stream, ArrayLike]
    scores: Mapping[Stream, ArrayLike]
    truth: ArrayLike
    groups: Sequence[str]


class GrowTrees(Protocol):
    """`Forest.fit` with `max_features` and `seed` given."""

    def __call__(self, x: NDArray[np.float32], y: NDArray[np.float64], *, trees: int, min_samples_leaf: int) -> Forest:
        """Fit trees on the features [N, 6, M] and scores [N, 6] of N clips."""


def fit_held_out(
    grow: GrowTrees,
    trees: int,
    x: NDArray[np.float32],
    streams: Mapping[str, Scores],
    truth: Scores,
    groups: Sequence[str],
    medians: Scores,
) -> tuple[Stack, Forest | None]:
    """Fit the weights of the streams and of the trees, and the trees themselves unless their weight is next to 0.

    Args:
        grow: Grows trees.
        trees: Number of trees for each target.
        x: float32 [n, 6, M], the joined features of n held-out clips.
        streams: [n, 6] of each stream, in [0, 1].
        truth: [n, 6], the annotated scores.
        groups: The person or video of each clip.
        medians: [6], the training medians.

    Raises:
        FormatError: Scores that are not finite or do not fit the features.
    """
    for name, scores in {**streams, "annotated": truth}.items():
        if scores.shape != (len(x), len(TARGETS)) or len(groups) != len(x) or not np.isfinite(scores).all():
            raise FormatError(f"{name} scores of held-out clips do not fit the features, or are not all finite")
    prior = {**best_alone(streams, truth, medians), TREES: 0.0}
    out_of_fold = best_out_of_fold(grow, min(trees, FOLD_TREES), x, truth, groups)
    if out_of_fold is not None:
        leaf, scores = out_of_fold
        weights = fit_weights({**streams, TREES: scores}, truth, medians, prior)
        if weights[TREES] >= LEAST_TREES_WEIGHT:
            return Stack(medians, weights, leaf), grow(x, truth, trees=trees, min_samples_leaf=leaf)
    return Stack(medians, fit_weights(streams, truth, medians, prior)), None


def best_out_of_fold(
    grow: GrowTrees, trees: int, x: NDArray[np.float32], truth: Scores, groups: Sequence[str]
) -> tuple[int, Scores] | None:
    """Return the best of `LEAF_SIZES`, and the scores [n, 6] that trees of the other folds give to each fold.

    Leaf sizes that leave no split are skipped. None if there is only one group, or no leaf size leaves a split.
    """
    folds = balanced_folds(groups, min(FOLDS, len(set(groups))))
    rest = [np.setdiff1d(np.arange(len(x)), fold) for fold in folds]
    best: tuple[int, Scores] | None = None
    lowest = np.inf
    for leaf in LEAF_SIZES:
        if 2 * leaf > min(map(len, rest)):
            continue
        scores = np.empty_like(truth)
        for fold, others in zip(folds, rest, strict=True):
            scores[fold] = grow(x[others], truth[others], trees=trees, min_samples_leaf=leaf).predict(x[fold])
        error = float(np.square(scores - truth).mean())
        logger.debug("trees with at least %d clips in a leaf: out-of-fold squared error %.6f", leaf, error)
        if error < lowest:
            lowest, best = error, (leaf, scores)
    return best


def paper_weights(weights: Mapping[str, float], streams: Sequence[Stream], medians: Scores, clips: int) -> Stack:
    """Return the mean of the streams' outputs with fixed weights, for want of clips to fit weights on; warn of it.

    Args:
        weights: 7:5:3 (Sec. 3.4).
        streams: The streams to fuse.
        medians: [6], the training medians.
        clips: The number of held-out clips.
    """
    total = sum(weights[stream] for stream in streams)
    ratio = ":".join(f"{weights[stream]:g}" for stream in streams)
    logger.warning(
        "the fused score is %s, without trees: %d validation clips are left for the fusion, and fitting it takes %d",
        f"the {ratio} mean of the streams' own scores" if len(streams) > 1 else f"that of {streams[0]} alone",
        clips,
        FEWEST_HELD_OUT_CLIPS,
    )
    return Stack(medians, {stream: weights[stream] / total for stream in streams})
