"""The rows of the extra-trees: growing, size and predictions beside scikit-learn's own, and the full forest's speed."""

from __future__ import annotations

import pickle
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measurements import Figure, Spent, in_turn, medians, timed, wall_ratio
from crnet.fusion.forest import LEAF, Forest
from crnet.fusion.fusion import PAPER_MAX_FEATURES, PAPER_TREES
from crnet.types import TARGETS

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesRegressor

FIT_GOAL, SIZE_GOAL, EQUAL_GOAL, CLIP_GOAL_MS = 1.05, 1 / 6, 1e-6, 60.0
SHAPES = 20  # different trees that the full forest is put together from


@dataclass(frozen=True)
class Size:
    """How much to grow: trees of one target, on how many clips of how many features."""

    trees: int = 50
    clips: int = 6_000
    features: int = PAPER_MAX_FEATURES


def growing_rows(size: Size, repeats: int) -> Iterator[Figure]:
    """One target's trees by `Forest` and by scikit-learn, on the same random numbers."""
    rng = np.random.default_rng(0)
    x, y = drawn_task(size, rng)
    forests: list[Forest] = []  # of all rounds; they are equal
    theirs = sklearn_forest(size, seed=0)
    work, limit = in_turn(
        repeats,
        lambda: forests.append(Forest.fit(x, y, trees=size.trees, max_features=size.features, seed=0)),
        lambda: theirs.fit(x[:, 0], y[:, 0]),
        warm_up=False,
    )
    forest = forests[-1]
    shape = {"trees": size.trees, "clips": size.clips, "features": size.features}
    detail = medians("work", work) | medians("limit", limit) | shape
    against = "scikit-learn's own extra-trees, grown in turn, by the clock"
    yield Figure("trees: time to grow", wall_ratio(work, limit), "x", FIT_GOAL, against, detail=detail)
    pickled = len(pickle.dumps(theirs))
    kept = sum(array.nbytes for array in forest.to_tensors().values())
    detail = {"mb": round(kept / 1e6, 1), "pickled_mb": round(pickled / 1e6, 1)}
    yield Figure(
        "trees: size", kept / pickled, "x", SIZE_GOAL, "the same trees of scikit-learn, pickled", detail=detail
    )
    unseen = rng.normal(size=(1_000, 1, size.features)).astype(np.float32)
    expected = theirs.predict(unseen[:, 0])
    far = float(np.abs(forest.predict(unseen)[:, 0] - expected).max())
    yield Figure(
        "trees: predictions apart", far, "", EQUAL_GOAL, "scikit-learn's predictions of 1,000 clips, in [0, 1]"
    )


def drawn_task(size: Size, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Numbers [N, 1, M] and scores [N, 1] that half depend on the first of them."""
    x = rng.normal(size=(size.clips, 1, size.features)).astype(np.float32)
    return x, np.clip(0.5 + 0.1 * x[:, :, 0] + 0.1 * rng.normal(size=(size.clips, 1)), 0, 1)


def sklearn_forest(size: Size, seed: int) -> ExtraTreesRegressor:
    """Scikit-learn's forest, not grown yet, with the seed that `Forest.fit` gives its first target."""
    from sklearn.ensemble import ExtraTreesRegressor

    state = int(np.random.SeedSequence([seed, 0]).generate_state(1)[0])
    return ExtraTreesRegressor(size.trees, max_features=size.features, n_jobs=-1, random_state=state)


def clip_row(size: Size, repeats: int) -> Figure:
    """Milliseconds of one clip through the paper's forest, grown without data."""
    trees = PAPER_TREES if size.clips >= 1_000 else size.trees
    forest = random_forest(trees, size.clips, size.features)
    spent = clips_through(forest, repeats * 3)
    detail: dict[str, Any] = {"trees_a_target": trees, "nodes": len(forest.feature)} | medians("work", spent)
    detail["slowest_ms"] = round(1000 * max(one.wall_s for one in spent), 1)
    name, limit = "trees: one clip", f"a bound on the median time of one clip through {len(TARGETS)} x {trees} trees"
    return Figure(name, 1000 * statistics.median(one.wall_s for one in spent), "ms", CLIP_GOAL_MS, limit, detail=detail)


def clips_through(forest: Forest, clips: int) -> list[Spent]:
    """What one clip at a time through a forest takes, after a first one that does not count."""
    rng = np.random.default_rng(1)
    # A new clip each time: its paths through the trees are not in the cache.
    drawn = rng.normal(size=(clips + 1, 1, len(TARGETS), forest.features)).astype(np.float32)
    return [timed(partial(forest.predict, clip)) for clip in drawn][1:]


def random_forest(trees: int, clips: int, features: int) -> Forest:
    """A forest as large and as deep as one grown on so many clips, whose nodes ask random things.

    Extra-trees split a node's clips at a random value, so a share of them, nearly uniform, goes left, down to single
    clips. A few such shapes are repeated; which feature and threshold stands at a node differs everywhere.
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
    """The jumps of one tree, depth first, whose leaves hold one clip each."""
    jump = np.zeros(2 * clips - 1, dtype=np.int32)
    waiting = [(0, clips)]
    while waiting:
        node, here = waiting.pop()
        if here > 1:
            left = int(rng.integers(1, here))
            jump[node] = 2 * left  # the left subtree has 2 * left - 1 nodes
            waiting += [(node + 1, left), (node + 2 * left, here - left)]
    return jump
