"""The losses alone, without any network: what they and their slopes look like, and where a batch's sum is least.

Slopes come from PyTorch's own differentiation of `crnet.models.losses`, so the figures show what is trained with.
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
LOSSES: dict[str, Loss] = {"MSE": mse_loss, "L1": l1_loss, "Bell": bell_loss}  # the order of Fig. 5
CELLS = 2_000  # in which minima are looked for: 0.05 points each
HALVINGS = 20  # of a cell that holds one


def bell(sigma: float) -> Loss:
    """The Bell loss of another width, in points of 100."""
    return partial(bell_loss, sigma=sigma)


def summed(loss: Loss, truths: Sequence[float], predictions: Curve) -> tuple[Curve, Curve]:
    """What a batch costs if all its samples get the same prediction, and the slope of that.

    Args:
        loss: One of `LOSSES` or `bell`.
        truths: Scores of the batch, in [0, 1].
        predictions: float64 [n] in [0, 1].

    Returns:
        float64 [n] each: the loss, summed over the samples, and by how much it grows for each point of 100.
    """
    batch = torch.tensor(truths, dtype=torch.float64)

    def cost(prediction: Tensor) -> Tensor:
        return len(batch) * loss(prediction.expand(len(batch)), batch)

    slopes, values = vmap(grad_and_value(cost))(torch.from_numpy(predictions))
    return values.numpy(), slopes.numpy() / SCORE_SCALE


def minima(loss: Loss, truths: Sequence[float]) -> list[float]:
    """Every prediction in [0, 1] at which the summed loss of a batch has a minimum, ascending."""
    low, high = _cells_with_minima(loss, truths)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        falls = summed(loss, truths, middle)[1] < 0
        low, high = np.where(falls, middle, low), np.where(falls, high, middle)
    return [float(place) for place in high]


def _cells_with_minima(loss: Loss, truths: Sequence[float]) -> tuple[Curve, Curve]:
    edges = np.linspace(0, 1, CELLS + 1)
    slopes = summed(loss, truths, edges)[1]
    found = np.flatnonzero((slopes[:-1] < 0) & (slopes[1:] >= 0))
    return edges[found], edges[found + 1]


def widest_with_side_minima(truths: Sequence[float]) -> float:
    """The sigma, in points, above which the summed Bell losses of a batch have one minimum only.

    Found by halving, to about 0.001 points. At least two different truths are needed, and below the result there is
    more than one minimum.
    """
    low, high = 0.1, SCORE_SCALE
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if len(_cells_with_minima(bell(middle), truths)[0]) > 1 else (low, middle)
    return low


def points_where_steeper(other: Loss, nearest: float, farthest: float) -> tuple[float, float]:
    """How far off, in points, Bell's slope begins and ends to be the steeper one.

    Args:
        other: The loss to compare Bell with.
        nearest, farthest: Between which distances to look, in points.
    """
    off = np.linspace(nearest, farthest, 100_001)
    truth = [0.0]
    ahead = summed(bell_loss, truth, off / SCORE_SCALE)[1] > summed(other, truth, off / SCORE_SCALE)[1]
    steeper = off[ahead]
    return float(steeper[0]), float(steeper[-1])
