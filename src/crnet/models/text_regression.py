"""Ridge regression from the text vector to the scores: how words enter a network with `text_path="vector"`.

A text vector says something at each of its 4,800 positions, and little about the scores. A convolution with an average
cannot tell the positions apart, and a layer trained by gradient steps memorises the training clips. Ridge regression
(Hoerl and Kennard 1970) has neither fault: it has one solution, and one number, the penalty, decides how much it
believes. The penalty is chosen by cross-validation that leaves out whole groups (the clips of a person or video).

The layers behind the regression are trained on what it predicts for clips that it has not seen: a training clip passes
on its cross-validated prediction. They would otherwise rely on a text that knows the scores of the training clips.

Beside sound, the network is trained as if the regression gave no scores, and the two are combined afterwards, with
weights from clips that trained neither (`crnet.models.stacking`). A network memorises its training clips, so weights
fitted on those would be too small for the text.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from crnet.errors import LabelError
from crnet.models.stacking import best_alone, regularised_weights
from crnet.types import TARGETS, TEXT_DIMENSIONS

PENALTIES = tuple(10.0**exponent for exponent in np.arange(-2, 3.01, 0.5))
"""Candidate penalties, as multiples of the mean squared length of the centred text vectors."""


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """A fitted ridge regression.

    Attributes:
        weight: float64 [P, D], coefficients.
        mean: float64 [D], the mean text vector.
        score_mean: float64 [P], the mean training score.
        held_out: float64 [N, P], deviation of each training clip's score from the training mean, as predicted by the
            regression that is fitted without the clip's group.
        penalty: The chosen penalty, as a multiple of the mean squared length of the centred text vectors.
        r2: Cross-validated share of the variance that the regression explains, the mean over the targets.
    """

    weight: Float64[np.ndarray, "P D"]
    mean: Float64[np.ndarray, " D"]
    score_mean: Float64[np.ndarray, " P"]
    held_out: Float64[np.ndarray, "N P"]
    penalty: float
    r2: float


def fit_ridge(
    texts: Float64[np.ndarray, "N D"], scores: Float64[np.ndarray, "N P"], groups: Sequence[Hashable]
) -> RidgeFit:
    """Fit a ridge regression with the penalty that has the smallest squared error in leave-one-group-out prediction.

    No regression is fitted again without a group. With the hat matrix H of the whole fit, the errors of a group g
    predicted by the fit without it are (I - H_gg)^-1 (y_g - fit_g), exactly.

    Args:
        texts: Text vectors.
        scores: Scores in [0, 1].
        groups: The group of each clip. If there is a single group, each clip is a group.

    Raises:
        LabelError: Fewer than two clips.
    """
    count = len(texts)
    if count < 2:
        raise LabelError(f"a regression on text needs at least two training clips, but there are {count}")
    mean = texts.mean(axis=0)
    score_mean = scores.mean(axis=0)
    centred, deviations = texts - mean, scores - score_mean
    basis, coordinates, eigenvalues = _principal_coordinates(centred)
    members = _group_members(groups)
    projections = coordinates.T @ deviations
    shrinkages = [1 / (eigenvalues + _absolute(penalty, eigenvalues, count)) for penalty in PENALTIES]
    candidates = [_held_out_errors(coordinates, shrunk, deviations, projections, members) for shrunk in shrinkages]
    best = int(np.argmin([np.square(errors).mean() for errors in candidates]))
    shrunk, errors = shrinkages[best], candidates[best]
    variance = np.square(deviations).mean(axis=0)
    explained = 1 - np.square(errors).mean(axis=0) / np.where(variance > 0, variance, 1)
    return RidgeFit(
        weight=(basis @ (shrunk[:, None] * projections)).T,
        mean=mean,
        score_mean=score_mean,
        held_out=deviations - errors,
        penalty=PENALTIES[best],
        r2=float(explained.mean()),
    )


def _principal_coordinates(
    centred: Float64[np.ndarray, "N D"],
) -> tuple[Float64[np.ndarray, "D r"], Float64[np.ndarray, "N r"], Float64[np.ndarray, " r"]]:
    """Return the principal axes of centred vectors, the vectors' coordinates along them, and the squared lengths.

    Only axes that differ from zero beyond rounding are returned. The smaller of the two Gram matrices is decomposed.
    """
    count, width = centred.shape
    if count <= width:
        eigenvalues, vectors = np.linalg.eigh(centred @ centred.T)
        used = _nonzero(eigenvalues)
        eigenvalues, vectors = eigenvalues[used], vectors[:, used]
        lengths = np.sqrt(eigenvalues)
        return centred.T @ (vectors / lengths), vectors * lengths, eigenvalues
    eigenvalues, axes = np.linalg.eigh(centred.T @ centred)
    used = _nonzero(eigenvalues)
    return axes[:, used], centred @ axes[:, used], eigenvalues[used]


def _nonzero(eigenvalues: Float64[np.ndarray, " r"]) -> np.ndarray:
    rounding = len(eigenvalues) * np.finfo(np.float64).eps * max(float(eigenvalues.max()), 0.0)
    return eigenvalues > rounding


def _absolute(penalty: float, eigenvalues: Float64[np.ndarray, " r"], count: int) -> float:
    """Return the penalty in the units of the eigenvalues, which sum up the squared lengths."""
    return penalty * float(eigenvalues.sum()) / count


def _group_members(groups: Sequence[Hashable]) -> list[np.ndarray]:
    """Return the indices of each group's clips; of each clip alone if there is only one group."""
    numbers: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        numbers.setdefault(group, []).append(index)
    members = numbers.values() if len(numbers) > 1 else [[index] for index in range(len(groups))]
    return [np.array(indices) for indices in members]


def _held_out_errors(
    coordinates: Float64[np.ndarray, "N r"],
    shrunk: Float64[np.ndarray, " r"],
    deviations: Float64[np.ndarray, "N P"],
    projections: Float64[np.ndarray, "r P"],
    members: Sequence[np.ndarray],
) -> Float64[np.ndarray, "N P"]:
    """Return the deviation of every score minus its prediction by the regression without the clip's group."""
    residuals = deviations - coordinates @ (shrunk[:, None] * projections)
    errors = np.empty_like(residuals)
    for indices in members:
        rows = coordinates[indices]
        hat = (rows * shrunk) @ rows.T + 1 / len(coordinates)  # the mean of the scores is part of the fit
        errors[indices] = np.linalg.solve(np.eye(len(indices)) - hat, residuals[indices])
    return errors


class TextRegression(nn.Module):
    """A fitted ridge regression as a layer, which no gradient changes.

    Until `load_fit` is called it predicts 0 for every clip. Until `fit_weights` is called, its weight and that of the
    network beside it are one half, since nothing tells which of the two is better.

    Args:
        targets: P, the number of targets.
        dimensions: D, the length of a text vector.
    """

    weight: Tensor
    mean: Tensor
    scale: Tensor
    score_mean: Tensor
    weights: Tensor

    def __init__(self, targets: int = len(TARGETS), dimensions: int = TEXT_DIMENSIONS) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(targets, dimensions))
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("scale", torch.ones(targets))
        self.register_buffer("score_mean", torch.zeros(targets))
        self.register_buffer("weights", torch.full((2,), 0.5))  # of the network beside it, and of the regression
        self._held_out: Mapping[str, Float[Tensor, " P"]] = {}

    @torch.no_grad()
    def load_fit(self, fit: RidgeFit, clip_ids: Sequence[str]) -> None:
        """Take over a fit, and the cross-validated predictions of its training clips.

        Args:
            fit: The fit.
            clip_ids: The training clips, in the order of `fit.held_out`.
        """
        self.weight.copy_(torch.from_numpy(fit.weight))
        self.mean.copy_(torch.from_numpy(fit.mean))
        self.score_mean.copy_(torch.from_numpy(fit.score_mean))
        deviation = fit.held_out.std(axis=0)
        self.scale.copy_(torch.from_numpy(np.where(deviation > 0, deviation, 1.0)))
        held_out = torch.from_numpy(fit.held_out).to(self.weight)
        self._held_out = dict(zip(clip_ids, held_out, strict=True))

    def forward(self, text: Float[Tensor, "B D"], clip_ids: Sequence[str]) -> Float[Tensor, "B P"]:
        """Return the predicted deviations from the training means, in [0, 1] units.

        A clip without words, whose vector is zero, has a deviation of 0. In training mode, a training clip with words
        gets its cross-validated prediction.
        """
        with torch.autocast(text.device.type, enabled=False):
            predicted = nn.functional.linear(text.to(self.weight.dtype) - self.mean, self.weight)  # [B, D] -> [B, P]
        if self.training and self._held_out:
            rows = [self._held_out.get(clip_id, row) for clip_id, row in zip(clip_ids, predicted, strict=True)]
            predicted = torch.stack([row.to(predicted.device) for row in rows])
        return predicted * text.ne(0).any(dim=1, keepdim=True)

    @torch.no_grad()
    def fit_weights(
        self,
        network: Float64[np.ndarray, "n P"],
        deviations: Float64[np.ndarray, "n P"],
        truth: Float64[np.ndarray, "n P"],
    ) -> None:
        """Fit the weights of the network beside the regression and of the regression.

        Args:
            network: Scores of clips that did not train the network, without the regression.
            deviations: What the regression predicts for them.
            truth: Their annotated scores.
        """
        floor = self.score_mean.double().cpu().numpy()
        candidates = {"network": network, "text": floor + deviations}
        weights = regularised_weights(candidates, truth, floor, best_alone(candidates, truth, floor))
        self.weights.copy_(torch.tensor([weights["network"], weights["text"]]))

    def combine(self, network: Float[Tensor, "B P"], deviations: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """Return the scores of the network beside the regression, combined with what the regression predicts."""
        return self.score_mean + self.weights[0] * (network - self.score_mean) + self.weights[1] * deviations

    def standardised(self, deviations: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """Divide predictions by their standard deviation over the training clips."""
        return deviations / self.scale
