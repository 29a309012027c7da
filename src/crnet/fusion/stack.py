"""The fused score as a weighted sum of deviations from the floor (stacking: Wolpert 1992, Breiman 1996).

    fused = sum_j w_j p_j + (1 - sum_j w_j) median,    w_j >= 0

p_j are the scores of the candidates: the streams, and the extra-trees. `median` are the training medians, the floor.
With all weights at 0 the fused score is the floor, and with one weight at 1 it is that candidate. The weights come from
clips that trained no candidate, so a candidate that memorised its training clips gains nothing from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crnet.errors import FormatError
from crnet.types import STREAMS, TARGETS, TRAIT_INDICES
from crnet.utils.number_format import decimal

Scores = NDArray[np.float64]
"""float64 [N, 6]."""

TREES = "trees"
"""Name of the extra-trees among the candidates; the other names are those of the streams."""
PRIOR_CLIPS = 9.0
"""The prior counts as much as this many clips where noise and signal are equal, see `prior_clips`.

It amounts to an expected distance of 0.3 between a weight and its prior: with n clips and six targets that correlate
by .75 (as on First Impressions v2), the variance of a fitted weight is about .8 / n times noise over signal, and
.8 / .3^2 = 9.
"""


@dataclass(frozen=True, eq=False)
class Stack:
    """Weights of the candidates, shared by all six targets.

    Attributes:
        medians: float64 [6], the training medians.
        weights: The weight of every stream, and that of the trees under `TREES` unless it is 0.
        min_samples_leaf: The fewest clips in a leaf of the trees; 0 without trees.
    """

    medians: Scores
    weights: Mapping[str, float]
    min_samples_leaf: int = 0

    def __post_init__(self) -> None:
        if not all(np.isfinite(weight) and weight >= 0 for weight in self.weights.values()):
            raise FormatError(f"the weights of the fusion are not all finite and at least 0: {dict(self.weights)}")
        if self.min_samples_leaf < 0 or (self.min_samples_leaf > 0) != (TREES in self.weights):
            raise FormatError("the leaf size of the fusion does not fit its weights")

    def combine(self, candidates: Mapping[str, ArrayLike]) -> Scores:
        """Return the fused scores [N, 6], given the scores [N, 6] of every candidate with a weight.

        Raises:
            FormatError: The scores of a candidate are missing.
        """
        missing = [name for name in self.weights if name not in candidates]
        if missing:
            raise FormatError(f"this fusion needs the scores of {' and '.join(missing)}")
        fused: Scores = (1 - sum(self.weights.values())) * self.medians
        for name, weight in self.weights.items():
            fused = fused + weight * np.asarray(candidates[name], dtype=np.float64)
        return fused

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by name, for safetensors."""
        weights = {f"weight.{name}": np.array([weight]) for name, weight in self.weights.items()}
        return {**weights, "medians": self.medians, "min_samples_leaf": np.array([self.min_samples_leaf], np.int64)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.generic]]) -> Stack:
        """Rebuild a stack from the untrusted arrays of `to_tensors`.

        Raises:
            FormatError: An array is missing or foreign, or a value is impossible.
        """
        expected = {"medians": (np.float64, (len(TARGETS),)), "min_samples_leaf": (np.int64, (1,))}
        names = [name for name in (*STREAMS, TREES) if f"weight.{name}" in tensors]
        expected |= {f"weight.{name}": (np.float64, (1,)) for name in names}
        if set(tensors) != set(expected):
            raise FormatError(f"the weights of a fusion hold the arrays {sorted(expected)}, found {sorted(tensors)}")
        for name, (dtype, shape) in expected.items():
            if tensors[name].dtype != dtype or tensors[name].shape != shape:
                raise FormatError(f"{name} of the fusion is {tensors[name].dtype} of shape {tensors[name].shape}")
        medians = tensors["medians"].astype(np.float64, copy=False)
        if not np.all((medians >= 0) & (medians <= 1)):
            raise FormatError("the training medians of the fusion are not scores")
        weights = {name: float(tensors[f"weight.{name}"].item()) for name in names}
        return cls(medians, weights, int(tensors["min_samples_leaf"].item()))

    @property
    def formula(self) -> str:
        """What the fused score is made of: ".52 scene + .40 audio-text + .08 floor"."""
        floor = 1 - sum(self.weights.values())
        terms = [f"{decimal(weight, digits=2)} {name}" for name, weight in self.weights.items() if weight > 0]
        if not terms:
            return "the floor"
        rest = f" {'+' if floor > 0 else '−'} {decimal(abs(floor), digits=2)} floor" if round(abs(floor), 2) else ""
        return f"{' + '.join(terms)}{rest}"


def fit_weights(
    candidates: Mapping[str, Scores], truth: Scores, medians: Scores, prior: Mapping[str, float]
) -> dict[str, float]:
    """Fit the weights by non-negative least squares with a prior.

    With A_j = p_j - median and t = y - median, the weights minimise

        |t - sum_j w_j A_j|^2 + kappa / n |sum_j (w_j - prior_j) A_j|^2

    over n clips and six targets: as if there were kappa = `prior_clips` more clips whose true scores are what the prior
    predicts (Zellner's g-prior). Without a signal, because the best candidate predicts the medians for every clip, the
    weights are those of the prior.

    Args:
        candidates: [n, 6] of each candidate, for clips that did not train it.
        truth: [n, 6], the annotated scores.
        medians: [6], the training medians.
        prior: A weight for each candidate.
    """
    from sklearn.linear_model import LinearRegression  # takes two seconds; prediction does not need it

    deviations = np.stack([(scores - medians).ravel() for scores in candidates.values()], axis=1)
    prior_weights, target = np.array([prior[name] for name in candidates]), (truth - medians).ravel()
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
        predicted: Deviations from the medians that the best candidate predicts.
        true: The annotated ones, of the same length.
    """
    signal, noise = float(np.square(predicted).mean()), float(np.square(true - predicted).mean())
    return PRIOR_CLIPS * noise / signal if signal > 0 else np.inf


def best_stream_alone(streams: Mapping[str, Scores], truth: Scores, medians: Scores) -> dict[str, float]:
    """Return the prior weights: 1 for the stream with the best 1 - MAE of the five traits, 0 for the others.

    All are 0 if no stream beats the training medians.
    """
    errors = {name: _trait_error(scores, truth) for name, scores in streams.items()}
    best = min(errors, key=lambda name: errors[name])
    beats_floor = errors[best] < _trait_error(np.broadcast_to(medians, truth.shape), truth)
    return {name: float(beats_floor and name == best) for name in streams}


def _trait_error(scores: Scores, truth: Scores) -> float:
    return float(np.abs(scores - truth)[:, TRAIT_INDICES].mean())
