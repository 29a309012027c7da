"""Weights that combine predictors of the same scores so that none of them does harm (Wolpert 1992, Breiman 1996).

    combined = sum_j w_j p_j + (1 - sum_j w_j) floor,    w_j >= 0

p_j are the predictors' scores and `floor` is a constant for each target. The weights are fitted on clips that trained
no predictor, so a predictor that memorised its training clips gains nothing from it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from crnet.types import TRAIT_INDICES

Scores = NDArray[np.float64]
"""float64 [N, 6]."""

PRIOR_CLIPS = 9.0
"""The prior counts as much as this many clips where noise and signal are equal, see `prior_clips`.

It amounts to an expected distance of 0.3 between a weight and its prior: with n clips and six targets that correlate
by .75 (as on First Impressions v2), the variance of a fitted weight is about .8 / n times noise over signal, and
.8 / .3^2 = 9.
"""


def fit_weights(
    candidates: Mapping[str, Scores], truth: Scores, floor: Scores, prior: Mapping[str, float]
) -> dict[str, float]:
    """Fit the weights by non-negative least squares with a prior.

    With A_j = p_j - floor and t = y - floor, the weights minimise

        |t - sum_j w_j A_j|^2 + kappa / n |sum_j (w_j - prior_j) A_j|^2

    over n clips and six targets: as if there were kappa = `prior_clips` more clips whose true scores are what the prior
    predicts (Zellner's g-prior). Without a signal, because the best candidate predicts the floor for every clip, the
    weights are those of the prior.

    Args:
        candidates: [n, 6] of each candidate, for clips that did not train it.
        truth: [n, 6], the annotated scores.
        floor: [6], a constant score for each target, for example the training medians.
        prior: A weight for each candidate.
    """
    from sklearn.linear_model import LinearRegression  # takes two seconds; prediction does not need it

    deviations = np.stack([(scores - floor).ravel() for scores in candidates.values()], axis=1)
    prior_weights, target = np.array([prior[name] for name in candidates]), (truth - floor).ravel()
    best = np.square(deviations - target[:, None]).sum(axis=0).argmin()
    kappa = prior_clips(deviations[:, best], target)
    if not np.isfinite(kappa):
        return {name: prior[name] for name in candidates}
    pseudo_clips = np.sqrt(kappa / len(truth)) * deviations
    rows = np.concatenate([deviations, pseudo_clips])
    targets = np.concatenate([target, pseudo_clips @ prior_weights])
    weights = LinearRegression(fit_intercept=False, positive=True).fit(rows, targets).coef_
    return {name: float(weight) for name, weight in zip(candidates, weights, strict=True)}


def prior_clips(predicted: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    """Return how many clips the prior counts for: `PRIOR_CLIPS` times noise over signal, infinite without a signal.

    The weaker the signal, the more clips it takes to tell a weight from its prior: 500 clips fix the weight of a stream
    that explains 2% of the variance only to within .3.

    Args:
        predicted: Deviations from the floor that the best candidate predicts.
        true: The annotated ones, of the same length.
    """
    signal, noise = float(np.square(predicted).mean()), float(np.square(true - predicted).mean())
    return PRIOR_CLIPS * noise / signal if signal > 0 else np.inf


def best_alone(candidates: Mapping[str, Scores], truth: Scores, floor: Scores) -> dict[str, float]:
    """Return the prior weights: 1 for the candidate with the best 1 - MAE of the five traits, 0 for the others.

    All are 0 if no candidate beats the floor.
    """
    errors = {name: _trait_error(scores, truth) for name, scores in candidates.items()}
    best = min(errors, key=lambda name: errors[name])
    beats_floor = errors[best] < _trait_error(np.broadcast_to(floor, truth.shape), truth)
    return {name: float(beats_floor and name == best) for name in candidates}


def _trait_error(scores: Scores, truth: Scores) -> float:
    return float(np.abs(scores - truth)[:, TRAIT_INDICES].mean())
