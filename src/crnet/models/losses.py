"""The losses of CR-Net (Eqs. 6-9). Scores are given in [0, 1]; the paper's factor of 100 is applied here.

Means are taken over the clips of a batch, so each clip of a short last batch counts more. All losses are computed in
float32, whatever the precision of the network. Importing this module imports no PyTorch: a configuration names losses,
and prediction reads the configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from jaxtyping import Float, Int64
    from torch import Tensor

SCORE_SCALE = 100.0  # Sec. 4.2.1: ground truth and prediction are both multiplied by 100
BELL_SIGMA = 9.0  # Sec. 4.2.1, in points of the scaled scores
BELL_GAMMA = 300.0  # Sec. 4.2.1
BELL_REACH = 4.0  # in sigmas: there the Bell's slope is 0.2% of its greatest; ours, not the paper's
LAMBDA_FACTOR = 4.0  # Eq. 9

Reduction = Literal["mean", "sum", "none"]
LossName = Literal["l1", "mse", "bell", "classification"]
"""The names in `LOSSES`."""
PAPER_LOSSES: tuple[LossName, ...] = ("l1", "mse", "bell", "classification")
"""The losses of Eq. 8."""


@dataclass(frozen=True)
class Loss:
    """A loss that stages of training can use.

    Attributes:
        function: Returns the scalar loss of a batch, from the network's output and the truth. Losses of scores work in
            points of 100 (`_error_points`), so that their sizes are comparable.
        compares: Arguments of the function: `scores`, the predicted and the true scores; or `classes`, the class logits
            and the true classes. Combined with regression losses, lambda (Eq. 9) multiplies a loss of classes.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    compares: Literal["scores", "classes"] = "scores"


@dataclass(frozen=True)
class LossTerms:
    """Every loss of `LOSSES` for one batch.

    Attributes:
        by_name: float32 scalars, in the order of `LOSSES`, not yet multiplied by lambda.
        classification_weight: lambda of Eq. 9.
    """

    by_name: Mapping[LossName, Tensor]
    classification_weight: float

    def total(self, terms: Collection[LossName] = PAPER_LOSSES) -> Float[Tensor, ""]:
        """Return L1 + MSE + Bell + lambda * cross-entropy (Eq. 8), or the sum of the losses in `terms`.

        Args:
            terms: The losses to add up, at least one.
        """
        first, *others = (
            self.classification_weight * value if LOSSES[name].compares == "classes" else value
            for name, value in self.by_name.items()
            if name in terms
        )
        return sum(others, start=first)


def bell_loss(
    prediction: Float[Tensor, "*shape"],
    target: Float[Tensor, "*shape"],
    sigma: float = BELL_SIGMA,
    gamma: float = BELL_GAMMA,
    *,
    reduction: Reduction = "mean",
) -> Float[Tensor, "*reduced"]:
    """Return the Bell loss (Eq. 6): an inverted Gaussian around the target.

    The gradient is greatest `sigma` points off (gamma / sigma / sqrt(e) a point), 0 at the target, and vanishes
    beyond about `BELL_REACH` sigmas: this term does not pull back a sample that is further off.

    Args:
        prediction: Scores, nominally in [0, 1].
        target: Scores in [0, 1], same shape.
        sigma: Width, in points of the scores times 100.
        gamma: Height, the greatest value of an element.
        reduction: "mean" over all elements, their "sum", or "none" for one loss per element.

    Returns:
        A scalar, or a tensor of the shape of `prediction` if `reduction` is "none". An element is in [0, gamma].

    Raises:
        ValueError: The shapes differ, or the reduction is unknown.
    """
    # expm1 keeps the digits of small errors, which 1 - exp(...) loses in float32.
    losses = -gamma * (-_error_points(prediction, target).square() / (2 * sigma**2)).expm1()
    if reduction == "mean":
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    if reduction == "none":
        return losses
    raise ValueError(f"unknown reduction {reduction!r}: choose mean, sum or none")


def l1_loss(prediction: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Return the mean absolute error in points of 100, for scores in [0, 1]."""
    return _error_points(prediction, target).abs().mean()


def mse_loss(prediction: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Return the mean squared error in points of 100 squared, for scores in [0, 1]."""
    return _error_points(prediction, target).square().mean()


def classification_loss(
    logits: Float[Tensor, "batch targets classes"], classes: Int64[Tensor, "batch targets"]
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the classes: mean over the batch, sum over the targets (Eq. 7).

    The paper prints rho log(rho); we read y log(rho), where y is the one-hot class. At chance the loss is
    targets * ln(classes): 8.32 for six targets of four classes.

    Args:
        logits: Class logits before the softmax.
        classes: The true class of each score, from `crnet.models.cr_block.class_indices`.
    """
    batch = logits.shape[0]
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits.float().flatten(0, 1), classes.flatten(), reduction="sum") / batch


LOSSES: dict[LossName, Loss] = {
    "l1": Loss(l1_loss),
    "mse": Loss(mse_loss),
    "bell": Loss(bell_loss),
    "classification": Loss(classification_loss, compares="classes"),
}
"""Every loss by name. Training logs all of them and minimises the sum of those that a stage names."""


def lambda_at(epoch: int, epochs: int) -> float:
    """Return lambda, the weight of the classification loss, in an epoch counted from 0 (Eq. 9).

    It is 4 * epochs in the first epoch and 4 in the last.
    """
    return LAMBDA_FACTOR * epochs / (epoch + 1)


def loss_terms(
    prediction: Float[Tensor, "batch targets"],
    logits: Float[Tensor, "batch targets classes"],
    target: Float[Tensor, "batch targets"],
    classes: Int64[Tensor, "batch targets"],
    classification_weight: float,
) -> LossTerms:
    """Compute every loss of `LOSSES`; `LossTerms.total` adds them up.

    Args:
        prediction: Scores of the network, nominally in [0, 1].
        logits: Class logits before the softmax.
        target: Scores in [0, 1].
        classes: The true class of each score, from `crnet.models.cr_block.class_indices`.
        classification_weight: lambda of this epoch, from `lambda_at`.
    """
    arguments = {"scores": (prediction, target), "classes": (logits, classes)}
    by_name = {name: loss.function(*arguments[loss.compares]) for name, loss in LOSSES.items()}
    return LossTerms(by_name, classification_weight)


def share_outside_bell(
    prediction: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"], sigma: float = BELL_SIGMA
) -> float:
    """Return the share of scores, in [0, 1], that are more than 4 sigma off, where the Bell loss no longer pulls.

    NaN counts as outside.
    """
    inside = _error_points(prediction.detach(), target).abs() <= BELL_REACH * sigma
    return 1.0 - inside.double().mean().item()


def _error_points(prediction: Tensor, target: Tensor) -> Tensor:
    """Return prediction minus target in points of 100, in float32 or better. The shapes must be equal."""
    if prediction.shape != target.shape:
        raise ValueError(f"prediction {list(prediction.shape)} and target {list(target.shape)} differ in shape")
    import torch

    precision = torch.promote_types(prediction.dtype, torch.float32)
    return (prediction.to(precision) - target.to(precision)) * SCORE_SCALE
