"""The best simple predictors of scores from the true values of cues, one for each score rule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64
from sklearn.linear_model import LogisticRegression, RidgeCV

from crnet.simulate.score_rules import SUB_INTERVALS, ScoreRule

Predictor = Callable[[Float64[np.ndarray, "n cues"]], Float64[np.ndarray, "n 6"]]
"""Predicts the scores of clips from their cues."""

PENALTIES = np.logspace(-1, 4, 11)
MAX_ITERATIONS = 300


def fit_predictor(
    cues: Float64[np.ndarray, "n cues"], scores: Float64[np.ndarray, "n 6"], rule: ScoreRule
) -> Predictor:
    """Fit ridge regression for the linear rule, class-guided regression for the classwise one.

    Args:
        cues: Values of the cues of the training clips.
        scores: Their labels.
        rule: The rule that the cues follow.
    """
    mean, deviation = cues.mean(axis=0), np.maximum(cues.std(axis=0), 1e-9)
    fit = fit_ridge if rule == "linear" else fit_class_guided
    predict = fit((cues - mean) / deviation, scores)
    return lambda values: predict((values - mean) / deviation)


def fit_ridge(cues: Float64[np.ndarray, "n cues"], scores: Float64[np.ndarray, "n 6"]) -> Predictor:
    """Fit ridge regression; leave-one-out chooses the penalty.

    Args:
        cues: Standardised cues of the training clips.
        scores: Their labels.
    """
    model = RidgeCV(PENALTIES).fit(cues, scores)
    return lambda values: np.asarray(model.predict(values))


def fit_class_guided(cues: Float64[np.ndarray, "n cues"], scores: Float64[np.ndarray, "n 6"]) -> Predictor:
    """Fit a classifier of sub-intervals for each target, and a ridge regression that its probabilities guide.

    The regression has its own weights for each sub-interval, and each clip uses them in proportion to the
    probabilities, as a CR-block does.

    Args:
        cues: Standardised cues of the training clips.
        scores: Their labels.
    """
    predictors = [_fit_class_guided_target(cues, column) for column in scores.T]
    return lambda values: np.stack([predict(values) for predict in predictors], axis=1)


def _fit_class_guided_target(
    cues: Float64[np.ndarray, "n cues"], scores: Float64[np.ndarray, " n"]
) -> Callable[[Float64[np.ndarray, "n cues"]], Float64[np.ndarray, " n"]]:
    classes = np.searchsorted(SUB_INTERVALS[1:-1], scores, side="right")
    classifier = LogisticRegression(max_iter=MAX_ITERATIONS).fit(cues, classes)

    def guided_cues(values: Float64[np.ndarray, "n cues"]) -> Float64[np.ndarray, "n guided"]:
        with_bias = np.concatenate([np.ones((len(values), 1)), values], axis=1)
        return np.einsum("nk,nc->nkc", classifier.predict_proba(values), with_bias).reshape(len(values), -1)

    model = RidgeCV(PENALTIES).fit(guided_cues(cues), scores)
    return lambda values: np.asarray(model.predict(guided_cues(values)))
