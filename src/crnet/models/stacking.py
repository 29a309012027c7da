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


EVIDENCE = 2.0
"""Weights are multiplied by 1 - EVIDENCE / t^2, where t tells how surely the combination goes with the truth.

Simulated with three streams that know nothing, the fusion of 20 clips was more than .0005 below the floor in 58% of
draws without this factor and in 18% with it, that of 100 clips in 24% and 10%. With a signal (R2 of .02 or more for
each stream) and 500 clips it cost less than .0001. A factor of 4 would be safer still, but lose half of a weak signal.
"""


def fit_weights(
    candidates: Mapping[str, Scores], truth: Scores, floor: Scores, prior: Mapping[str, float]
) -> dict[str, float]:
    """Fit the weights, and shrink them all towards 0, that is the floor, where the clips give little evidence of skill.

    Args:
        candidates, truth, floor, prior: See `regularised_weights`.
    """
    weights = regularised_weights(candidates, truth, floor, prior)
    combined = sum((weights[name] * (scores - floor) for name, scores in candidates.items()), np.zeros_like(truth))
    factor = trust(combined, truth - floor)
    return {name: factor * weight for name, weight in weights.items()}


def trust(predicted: Scores, true: Scores) -> float:
    """Return how far to trust predictions, from 0 to 1: the positive part of 1 - `EVIDENCE` / t^2.

    t is the slope of the truth over the predictions, divided by its standard error with one cluster for each clip. It
    does not depend on the scale of the predictions. Fewer than two clips or a slope of 0 or less earn no trust.

    Args:
        predicted: [n, 6], predicted deviations from the floor.
        true: [n, 6], the annotated ones.
    """
    clips, total = len(predicted), float((predicted * true).sum())
    if clips < 2 or total <= 0:
        return 0.0
    residuals = true - total / np.square(predicted).sum() * predicted
    variance = clips / (clips - 1) * float(np.square((predicted * residuals).sum(axis=1)).sum())
    return max(0.0, 1 - EVIDENCE * variance / total**2)


def regularised_weights(
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
