"""The losses of CR-Net (Eqs. 6-9). Scores come in as [0, 1]; the paper's factor of 100 is applied here.

Every loss is a plain mean over what it is given, so a short last batch weighs each of its clips more, as in any
mean over batches. All of them are computed in float32, whatever the precision of the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the name that PyTorch's users know)

SCORE_SCALE = 100.0  # Sec. 4.2.1: ground truth and prediction are both multiplied by 100
BELL_SIGMA = 9.0  # Sec. 4.2.1, in points of the scaled scores
BELL_GAMMA = 300.0  # Sec. 4.2.1
GUIDE_FACTOR = 4.0  # Eq. 9
BELL_REACH = 4.0  # in sigmas: there the Bell's slope is 0.2% of its greatest; ours, not the paper's


@dataclass(frozen=True)
class LossTerms:
    """What one batch costs in the second stage, each term apart; scalars of float32.

    Attributes:
        l1: Mean absolute error, in points of 100.
        mse: Mean squared error, in points of 100 squared.
        bell: Eq. 6.
        guide: The cross-entropy of Eq. 7, not yet multiplied by lambda.
        guide_weight: lambda of Eq. 9.
        total: Eq. 8, what is minimised.
    """

    l1: Tensor
    mse: Tensor
    bell: Tensor
    guide: Tensor
    guide_weight: float
    total: Tensor


def bell_loss(
    prediction: Float[Tensor, "*shape"],
    target: Float[Tensor, "*shape"],
    sigma: float = BELL_SIGMA,
    gamma: float = BELL_GAMMA,
) -> Float[Tensor, ""]:
    """The Bell loss (Eq. 6): an upside-down Gaussian around the target.

    Its gradient is greatest `sigma` points off (gamma / sigma / sqrt(e) a point), 0 at the target, and fades to
    nothing from about `BELL_REACH` sigmas on: a sample out there is not pulled back by this term.

    Args:
        prediction: Scores, nominally in [0, 1].
        target: Scores in [0, 1], same shape.
        sigma: Width, in points of the scores times 100.
        gamma: Height, the greatest value.

    Returns:
        The mean over all elements, in [0, gamma].
    """
    # expm1 keeps the digits of small errors that 1 - exp(...) loses in float32.
    return (-gamma * torch.expm1(-_points_off(prediction, target).square() / (2 * sigma**2))).mean()


def l1_loss(prediction: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Mean absolute error in points of 100; scores in [0, 1]."""
    return _points_off(prediction, target).abs().mean()


def mse_loss(prediction: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Mean squared error in points of 100, squared; scores in [0, 1]."""
    return _points_off(prediction, target).square().mean()


def guide_loss(logits: Float[Tensor, "batch targets classes"], classes: Int64[Tensor, "batch targets"]) -> Tensor:
    """The cross-entropy that trains the class weights: mean over the batch, sum over the targets (Eq. 7).

    The paper prints rho log(rho); read as y log(rho), y being the one-hot class. At chance it is
    targets * ln(classes): 8.32 for six targets of four classes.
    """
    batch = logits.shape[0]
    return F.cross_entropy(logits.float().flatten(0, 1), classes.flatten(), reduction="sum") / batch


def lambda_at(epoch: int, epochs: int) -> float:
    """The weight of the guide loss in `epoch` of `epochs`, counted from 0 (Eq. 9): 4 * epochs at first, 4 at last."""
    return GUIDE_FACTOR * epochs / (epoch + 1)


def joint_loss(
    prediction: Float[Tensor, "batch targets"],
    logits: Float[Tensor, "batch targets classes"],
    target: Float[Tensor, "batch targets"],
    classes: Int64[Tensor, "batch targets"],
    guide_weight: float,
) -> LossTerms:
    """The loss of the second stage (Eq. 8): L1 + MSE + Bell + lambda * cross-entropy.

    Args:
        prediction: Scores of the network, nominally in [0, 1].
        logits: Class logits before the softmax.
        target: Scores in [0, 1].
        classes: The class of each score, from `class_of`.
        guide_weight: lambda of this epoch, from `lambda_at`.
    """
    l1, mse, bell = l1_loss(prediction, target), mse_loss(prediction, target), bell_loss(prediction, target)
    guide = guide_loss(logits, classes)
    return LossTerms(l1, mse, bell, guide, guide_weight, total=l1 + mse + bell + guide_weight * guide)


def share_outside_bell(
    prediction: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"], sigma: float = BELL_SIGMA
) -> float:
    """The share of scores, in [0, 1], that are more than 4 sigma off, where the Bell loss no longer pulls.

    NaN counts as outside.
    """
    inside = _points_off(prediction.detach(), target).abs() <= BELL_REACH * sigma
    return 1.0 - inside.double().mean().item()


def _points_off(prediction: Tensor, target: Tensor) -> Tensor:
    """Prediction minus target in points of 100, float32 at least; shapes must be equal, not just broadcastable."""
    if prediction.shape != target.shape:
        raise ValueError(f"prediction {list(prediction.shape)} and target {list(target.shape)} differ in shape")
    precision = torch.promote_types(prediction.dtype, torch.float32)
    return (prediction.to(precision) - target.to(precision)) * SCORE_SCALE
