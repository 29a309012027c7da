"""The interface of a head: the layers from the backbone's vector to the scores."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from crnet.errors import LabelError
from crnet.types import TARGETS

HeadOutput = tuple[Float[Tensor, "B P F"], Float[Tensor, "B P n"], Float[Tensor, "B P"]]
"""Features for the fusion, class logits and scores, each for P targets."""


class ScoreHead(nn.Module, ABC):
    """Maps the backbone's vector `a` to the scores of several targets. Training and fusion work with any subclass.

    Args:
        classes: n, the number of classes of each target.
        targets: P, the number of targets.
    """

    def __init__(self, classes: int, targets: int) -> None:
        super().__init__()
        self.classes = classes
        self.targets = targets

    @abstractmethod
    def forward(self, a: Float[Tensor, "B F"]) -> HeadOutput:
        """Return the features, the class logits and the scores; scores are in [0, 1] units and not clamped."""

    @abstractmethod
    def regression_parameters(self) -> list[nn.Parameter]:
        """Return the parameters to which a classification loss has no gradient."""

    @abstractmethod
    def initialise_from_scores(self, scores: Float64[np.ndarray, "N P"]) -> None:
        """Initialise from the training scores whatever depends on them.

        Raises:
            LabelError: See `target_means`.
        """


class LinearScoreHead(ScoreHead):
    """A head whose score is a linear function G of a vector, with one weight vector and one bias for each target."""

    score_weight: nn.Parameter
    score_bias: nn.Parameter

    def regression_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of G, to which a classification loss has no gradient."""
        return [self.score_weight, self.score_bias]

    @torch.no_grad()
    def initialise_from_scores(self, scores: Float64[np.ndarray, "N P"]) -> None:
        """Set the bias of each score to the training mean of its target.

        From a bias of 0, a score of 0.5 would be 50 points off, where the Bell loss has no gradient.

        Raises:
            LabelError: See `target_means`.
        """
        self.score_bias.copy_(torch.from_numpy(target_means(scores, self.targets)))


def target_means(scores: Float64[np.ndarray, "N P"], targets: int = len(TARGETS)) -> Float64[np.ndarray, " P"]:
    """Return the mean score of each target.

    Raises:
        LabelError: There are no scores, their number of targets differs, or one is not in [0, 1].
    """
    if scores.ndim != 2 or scores.shape[1] != targets or not len(scores):
        raise LabelError(f"scores of shape {scores.shape}, expected at least one row of {targets} targets")
    if not np.all((scores >= 0) & (scores <= 1)):
        raise LabelError("a score is not a number in [0, 1]")
    return scores.mean(axis=0)
