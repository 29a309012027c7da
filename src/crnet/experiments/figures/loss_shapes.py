"""Shapes of the losses without any network: values, gradients, and the minima of a batch's summed loss.

Gradients come from PyTorch's differentiation of `crnet.models.losses`, so the figures show the losses used in training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor
from torch.func import grad_and_value, vmap

from crnet.models.losses import SCORE_SCALE, bell_loss, l1_loss, mse_loss

Loss = Callable[[Tensor, Tensor], Tensor]
Curve = Float64[np.ndarray, " n"]

PAPER_BATCH = (0.4, 0.5, 0.6)  # Sec. 3.3.1
LOSSES: dict[str, Loss] = {"MSE": mse_loss, "L1": l1_loss, "Bell": bell_loss}  # in the order of Fig. 5
GRID_CELLS = 2_000  # of the search for minima, 0.05 points each
BISECTIONS = 20  # of a cell with a minimum


def bell(sigma: float) -> Loss:
    """Return the Bell loss with another width, in points of 100."""
    return partial(bell_loss, sigma=sigma)


def summed_loss(loss: Loss, truths: Sequence[float], predictions: Curve) -> tuple[Curve, Curve]:
    """Return the summed loss of a batch whose samples all get the same prediction, and its gradient.

    Args:
        loss: One of `LOSSES`, or `bell`.
        truths: Scores of the batch, in [0, 1].
        predictions: float64 [n] in [0, 1].

    Returns:
        float64 [n] each: the loss summed over the samples, and its derivative per point of 100.
    """
    batch = torch.tensor(truths, dtype=torch.float64)

    def batch_loss(prediction: Tensor) -> Tensor:
        return len(batch) * loss(prediction.expand(len(batch)), batch)

    gradients, values = vmap(grad_and_value(batch_loss))(torch.from_numpy(predictions))
    return values.numpy(), gradients.numpy() / SCORE_SCALE


def minima(loss: Loss, truths: Sequence[float]) -> list[float]:
    """Return every prediction in [0, 1] at which the summed loss of a batch has a minimum, ascending."""
    low, high = _cells_with_minima(loss, truths)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        falling = summed_loss(loss, truths, middle)[1] < 0
        low, high = np.where(falling, middle, low), np.where(falling, high, middle)
    return [float(prediction) for prediction in high]


def _cells_with_minima(loss: Loss, truths: Sequence[float]) -> tuple[Curve, Curve]:
    """Return lower and upper edges of the grid cells in which the gradient turns from negative to positive."""
    edges = np.linspace(0, 1, GRID_CELLS + 1)
    gradients = summed_loss(loss, truths, edges)[1]
    cells = np.flatnonzero((gradients[:-1] < 0) & (gradients[1:] >= 0))
    return edges[cells], edges[cells + 1]


def widest_sigma_with_side_minima(truths: Sequence[float]) -> float:
    """Return the sigma, in points, above which the summed Bell loss of a batch has a single minimum.

    Bisection finds it to about 0.001 points. It needs at least two different truths; below the result there is more
    than one minimum.
    """
    low, high = 0.1, SCORE_SCALE
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if len(_cells_with_minima(bell(middle), truths)[0]) > 1 else (low, middle)
    return low


def range_where_bell_is_steeper(other: Loss, nearest: float, farthest: float) -> tuple[float, float]:
    """Return the smallest and the largest error, in points, at which Bell has the larger gradient.

    Args:
        other: The loss to compare Bell with.
        nearest, farthest: Range of errors to search, in points.
    """
    errors = np.linspace(nearest, farthest, 100_001)
    truth = [0.0]
    is_steeper = (
        summed_loss(bell_loss, truth, errors / SCORE_SCALE)[1] > summed_loss(other, truth, errors / SCORE_SCALE)[1]
    )
    steeper = errors[is_steeper]
    return float(steeper[0]), float(steeper[-1])
