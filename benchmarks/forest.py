"""Rows of the extra-trees: growth, size and predictions, against scikit-learn, and the speed of the full forest."""

from __future__ import annotations

import pickle
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.inputs import ForestSize, Inputs
from benchmarks.measurements import Measurement, Usage, medians, timed, wall_ratio
from benchmarks.untrained import random_forest
from crnet.fusion.forest import Forest
from crnet.fusion.fusion import PAPER_TREES
from crnet.types import TARGETS

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesRegressor

GROWTH_GOAL, SIZE_GOAL, EQUAL_GOAL, CLIP_GOAL_MS = 1.05, 1 / 6, 1e-6, 60.0
UNSEEN_CLIPS = 1_000
ROUNDS_PER_REPEAT = 3  # a clip through the forest takes milliseconds


def measure(inputs: Inputs) -> Iterator[Measurement]:
    """Yield the rows of growing one target's trees, and of one clip through the paper's forest."""
    effort = inputs.effort
    yield from comparison_rows("forest", [grow_both(effort.forest) for _ in range(effort.few_repeats)], effort.forest)
    trees = PAPER_TREES if effort.preset == "paper" else effort.forest.trees
    full_size = random_forest(trees, effort.forest.clips, effort.forest.features)
    yield clip_row("forest", full_size, ROUNDS_PER_REPEAT * effort.repeats)


@dataclass(frozen=True)
class Comparison:
    """One target's trees, grown by `Forest` and by scikit-learn on the same data with the same seed.

    Attributes:
        forest: The grown trees.
        ours: Usage of `Forest.fit`.
        sklearn: Usage of scikit-learn's fit.
        pickled_bytes: Size of scikit-learn's trees, pickled.
        largest_difference: Largest difference of predictions for unseen clips, in [0, 1].
    """

    forest: Forest
    ours: Usage
    sklearn: Usage
    pickled_bytes: int
    largest_difference: float


def grow_both(size: ForestSize, seed: int = 0, *, sklearn_first: bool = False) -> Comparison:
    """Grow one target's trees by `Forest` and by scikit-learn, one after the other."""
    rng = np.random.default_rng(seed)
    x, y = random_task(size, rng)
    reference = sklearn_forest(size, seed)
    grown: list[Forest] = []

    def fit_ours() -> None:
        grown.append(Forest.fit(x, y, trees=size.trees, max_features=size.features, seed=seed))

    def fit_sklearn() -> None:
        reference.fit(x[:, 0], y[:, 0])

    if sklearn_first:
        theirs, ours = timed(fit_sklearn), timed(fit_ours)
    else:
        ours, theirs = timed(fit_ours), timed(fit_sklearn)
    counter = ByteCounter()
    pickle.dump(reference, counter)
    unseen = rng.normal(size=(UNSEEN_CLIPS, 1, size.features)).astype(np.float32)
    difference = float(np.abs(grown[0].predict(unseen)[:, 0] - reference.predict(unseen[:, 0])).max())
    return Comparison(grown[0], ours, theirs, counter.size, difference)


def comparison_rows(name: str, rounds: Sequence[Comparison], size: ForestSize) -> Iterator[Measurement]:
    """Yield growth, size and predictions relative to scikit-learn."""
    ours, theirs = [grown.ours for grown in rounds], [grown.sklearn for grown in rounds]
    detail: dict[str, Any] = medians("work", ours) | medians("limit", theirs)
    detail |= {"rounds": len(rounds), "trees": size.trees, "clips": size.clips, "features": size.features}
    detail |= {"total_wall_s": round(sum(u.wall_s for u in ours), 1)}
    detail |= {"total_limit_wall_s": round(sum(u.wall_s for u in theirs), 1)}
    limit = "scikit-learn's own extra-trees, grown in turn, wall time"
    yield Measurement(f"{name}: time to grow", wall_ratio(ours, theirs), "x", GROWTH_GOAL, limit, detail=detail)
    stored = sum(array.nbytes for grown in rounds for array in grown.forest.to_tensors().values())
    pickled = sum(grown.pickled_bytes for grown in rounds)
    detail = {
        "mb": round(stored / 1e6, 1),
        "pickled_mb": round(pickled / 1e6, 1),
        "nodes": sum(len(grown.forest.feature) for grown in rounds),
    }
    limit = "the same trees of scikit-learn, pickled"
    yield Measurement(f"{name}: size", stored / pickled, "x", SIZE_GOAL, limit, detail=detail)
    difference = max(grown.largest_difference for grown in rounds)
    limit = f"scikit-learn's predictions of {UNSEEN_CLIPS:,} clips, in [0, 1]"
    yield Measurement(f"{name}: difference of predictions", difference, "", EQUAL_GOAL, limit)


def random_task(size: ForestSize, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return random features [N, 1, M] and scores [N, 1], half of which depends on the first feature."""
    x = rng.normal(size=(size.clips, 1, size.features)).astype(np.float32)
    return x, np.clip(0.5 + 0.1 * x[:, :, 0] + 0.1 * rng.normal(size=(size.clips, 1)), 0, 1)


def sklearn_forest(size: ForestSize, seed: int) -> ExtraTreesRegressor:
    """Return scikit-learn's forest before growth, with the seed that `Forest.fit` gives its first target."""
    from sklearn.ensemble import ExtraTreesRegressor

    state = int(np.random.SeedSequence([seed, 0]).generate_state(1)[0])
    return ExtraTreesRegressor(size.trees, max_features=size.features, n_jobs=-1, random_state=state)


def clip_row(name: str, forest: Forest, rounds: int) -> Measurement:
    """Return the median wall time of one clip through a forest of all targets."""
    rng = np.random.default_rng(1)
    # A new clip each time, so that its paths through the trees are not in the cache.
    clips = rng.normal(size=(rounds + 1, 1, len(TARGETS), forest.features)).astype(np.float32)
    works: list[Callable[[], object]] = [partial(forest.predict, clip) for clip in clips]
    works[0]()
    usages = [timed(work) for work in works[1:]]
    trees = forest.start.shape[1] - 1
    detail: dict[str, Any] = {"trees_a_target": trees, "nodes": len(forest.feature)} | medians("work", usages)
    detail["slowest_ms"] = round(1000 * max(usage.wall_s for usage in usages), 1)
    limit = f"a bound on the median time of one clip through {len(TARGETS)} x {trees} trees"
    median_ms = 1000 * statistics.median(usage.wall_s for usage in usages)
    return Measurement(f"{name}: one clip", median_ms, "ms", CLIP_GOAL_MS, limit, detail=detail)


class ByteCounter:
    """A file that counts its bytes and keeps none: scikit-learn's six pickles take 5 GB."""

    size = 0

    def write(self, data: bytes | pickle.PickleBuffer) -> int:
        """Count the bytes."""
        length = memoryview(data).nbytes
        self.size += length
        return length
