"""SVR, a random forest and extra-trees on features drawn directly, all tuned on validation clips in the same way.

Each has six settings: C and epsilon of SVR, the features tried at each node and the fewest clips in a leaf of the
forests. The setting with the smallest absolute error on the validation clips scores the test clips. Two more
extra-trees are those of the paper, with one clip in a leaf, and differ in the features tried at each node alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.svm import SVR

from benchmarks.evidence.worlds import Clips, Scores, draw_people
from crnet.experiments.figures.regressors import FOREST_NAME, SVR_NAME, SVR_SETTINGS, TREES_NAME
from crnet.fusion.forest import Forest

Features = NDArray[np.floating[Any]]  # [N, M]
Target = Float64[np.ndarray, " N"]
Predict = Callable[[Features], Target]

TRAINING, VALIDATION, TESTED, FEATURES = 600, 200, 2_000, 60
TREES = 100
LEAVES = (1, 5, 20)  # the fewest clips in a leaf
SOME, ALL = "ETR, m = M/3", "ETR, m = M"
MEAN, DEVIATION = 0.52, 0.15  # about those of the traits on First Impressions v2
NOISE = 0.5  # deviation of the noise in what the features show


def _steps(count: int, rng: np.random.Generator) -> tuple[Features, Target]:
    """Thresholds of five features among 60, one of them an interaction."""
    x = rng.standard_normal((count, FEATURES))
    return x, (x[:, 0] > 0) + (x[:, 1] > 0.5) - 1.5 * (x[:, 2] > 0) * (x[:, 3] > 0) + (x[:, 4] > 1)


def _copies(count: int, rng: np.random.Generator) -> tuple[Features, Target]:
    """A smooth function of three quantities, each shown by 20 noisy features."""
    hidden = rng.standard_normal((count, 3))
    x = np.repeat(hidden, FEATURES // 3, axis=1) + rng.standard_normal((count, FEATURES))
    return x, hidden[:, 0] + np.abs(hidden[:, 1]) + 0.5 * hidden[:, 2]


def _silent(count: int, rng: np.random.Generator) -> tuple[Features, Target]:
    """Nothing: the score is noise."""
    return rng.standard_normal((count, FEATURES)), np.zeros(count)


def _two_values(count: int, rng: np.random.Generator) -> tuple[Features, Target]:
    """Twenty of 60 features add up, and each has two values, so that no tree has a choice of thresholds."""
    x = np.where(rng.random((count, FEATURES)) < 0.5, -1.0, 1.0)
    return x, x[:, :20].sum(axis=1) / np.sqrt(20)


def _two_values_silent(count: int, rng: np.random.Generator) -> tuple[Features, Target]:
    """Such features that say nothing."""
    return _two_values(count, rng)[0], np.zeros(count)


Draw = Callable[[int, np.random.Generator], tuple[Features, Target]]
"""Draws the features of clips, and what they show of the score."""
WORLDS: dict[str, Draw] = {"steps": _steps, "copies": _copies, "silent": _silent}
SECOND_WORLDS: dict[str, Draw] = {
    "two values": _two_values, "two values, silent": _two_values_silent, "copies": _copies, "steps": _steps
}  # fmt: skip


def run(draw: Draw, seed: int, count: int = TRAINING) -> tuple[Clips, dict[str, Scores]]:
    """Draw features and scores of one target, and fit all regressors.

    Returns:
        The test clips without cues, and their scores [N, 1] by each regressor.
    """
    x: dict[str, Features] = {}
    y: dict[str, Target] = {}
    for split, size in {"train": count, "val": count // 3, "test": TESTED}.items():
        rng = np.random.default_rng([seed, len(x)])
        features, shown = draw(size, rng)
        noisy = shown + NOISE * rng.standard_normal(size)
        x[split] = features.astype(np.float32)
        y[split] = np.clip(MEAN + DEVIATION * (noisy - noisy.mean()) / noisy.std(), 0, 1)
    people = draw_people(TESTED, np.random.default_rng([seed, 3]))
    scores = {name: values[:, None] for name, values in tuned_scores(x, y, seed).items()}
    return Clips({}, y["test"][:, None], people), scores


def tuned_scores(x: Mapping[str, Features], y: Mapping[str, Target], seed: int) -> dict[str, Target]:
    """Fit every regressor with each of its settings, and return the test scores of the best setting.

    Args:
        x: Features of the splits "train", "val" and "test".
        y: Scores of the splits "train" and "val".
        seed: Seed of the forests.
    """
    width = x["train"].shape[1]
    third = max(1, width // 3)
    settings = [(m, leaf) for m in (third, width) for leaf in LEAVES]
    candidates: dict[str, Iterator[Predict]] = {
        SVR_NAME: (SVR(C=c, epsilon=epsilon).fit(x["train"], y["train"]).predict for c, epsilon in SVR_SETTINGS),
        FOREST_NAME: (_random_forest(x["train"], y["train"], seed, *setting) for setting in settings),
        TREES_NAME: (_extra_trees(x["train"], y["train"], seed, *setting) for setting in settings),
        SOME: iter([_extra_trees(x["train"], y["train"], seed, third, 1)]),
        ALL: iter([_extra_trees(x["train"], y["train"], seed, width, 1)]),
    }
    return {name: _best_scores(fits, x, y["val"]) for name, fits in candidates.items()}


def _best_scores(fits: Iterator[Predict], x: Mapping[str, Features], val: Target) -> Target:
    predictors = list(fits)
    errors = [np.abs(predict(x["val"]) - val).mean() for predict in predictors]
    return np.clip(predictors[int(np.argmin(errors))](x["test"]), 0, 1)


def _random_forest(x: Features, y: Target, seed: int, m: int, leaf: int) -> Predict:
    model = RandomForestRegressor(TREES, max_features=m, min_samples_leaf=leaf, random_state=seed).fit(x, y)
    return lambda values: np.asarray(model.predict(values))


def _extra_trees(x: Features, y: Target, seed: int, m: int, leaf: int) -> Predict:
    forest = Forest.fit(x[:, None], y[:, None], trees=TREES, max_features=m, seed=seed, min_samples_leaf=leaf)
    return lambda values: forest.predict(values[:, None].astype(np.float32))[:, 0]
