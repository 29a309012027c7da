"""The classification-regression block (Sec. 3.2, Eqs. 1-5) and the classes of scores (Secs. 4.2.2 and 5.4)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from crnet.errors import ConfigError, LabelError
from crnet.models.score_head import HeadOutput, LinearScoreHead
from crnet.types import TARGETS

EDGES: dict[int, tuple[float, ...]] = {
    4: (0.5, 0.6, 0.7),  # Sec. 4.2.2
    7: (0.3556, 0.4383, 0.5003, 0.5575, 0.6143, 0.6849),  # Sec. 5.4
    10: (0.3220, 0.3962, 0.4466, 0.4903, 0.5307, 0.5708, 0.6078, 0.6528, 0.7102),  # Sec. 5.4
}
"""The paper's edges between neighbouring classes, by number of classes. An edge belongs to the upper class."""


def class_edges(classes: int, edges: Sequence[float] | None = None) -> tuple[float, ...]:
    """Return the edges between `classes` classes: the given ones, or the paper's.

    Args:
        classes: n. Without `edges`: 4, 7 or 10.
        edges: n - 1 increasing numbers between 0 and 1.

    Raises:
        ConfigError: The paper gives no edges for this number of classes, or the given edges do not divide [0, 1]
            into that many classes.
    """
    if edges is None:
        if classes not in EDGES:
            raise ConfigError(
                f"the paper gives no edges for {classes} classes",
                remedy=f"choose {', '.join(map(str, EDGES))} classes, or give the edges",
            )
        return EDGES[classes]
    bounds = np.array([0.0, *edges, 1.0])
    if len(edges) != classes - 1 or not np.all(np.diff(bounds) > 0):
        raise ConfigError(f"edges {list(edges)} are not {classes - 1} increasing numbers between 0 and 1")
    return tuple(edges)


def class_indices(
    scores: Float64[np.ndarray, "*shape"], classes: int = 4, *, edges: Sequence[float] | None = None
) -> Int64[np.ndarray, "*shape"]:
    """Return the class of each score; class 0 holds the lowest scores.

    Args:
        scores: In [0, 1], float64. In float32 a label of 63/90 = 0.7 would fall below its edge.
        classes: 4, 7 or 10; any number if `edges` are given.
        edges: See `class_edges`.

    Raises:
        ConfigError: See `class_edges`.
        LabelError: The scores are not float64, are NaN, or lie outside [0, 1].
    """
    edges = class_edges(classes, edges)
    if scores.dtype != np.float64:
        raise LabelError(
            f"the scores are {scores.dtype}, and rounding may have moved some across a class edge",
            remedy="compute the classes from the float64 scores",
        )
    if not np.all((scores >= 0) & (scores <= 1)):
        raise LabelError("a score is not a number in [0, 1]")
    return np.searchsorted(edges, scores, side="right").astype(np.int64)


class CRBlock(LinearScoreHead):
    """CR-blocks for several targets, computed side by side.

    For target p and class i, a feature f_pi is computed from the backbone's vector `a` (Eq. 1). Its logit is
    c_pi = u_pi . f_pi + b_pi, and w_p = softmax(c_p) weights the classes (Eq. 2; the paper prints the softmax of a
    vector). Then f_reg_p = sum_i w_pi f_pi (Eq. 3), and the score is y_p = G(f_reg_p) (Eqs. 4 and 5). A 1x1
    convolution of a vector is a linear layer, so this module uses linear layers. It leaves autocast: bfloat16 has
    too few digits for scores.

    G starts at zero weights, like the plain head, so every score starts at the training mean of its target. From random
    weights, most scores start far from it, and the first steps that bring them back destroy the classes that stage 1
    learned (docs/paper.md, section 3).

    Args:
        width: Length F of `a` and of every feature (512 in the paper).
        classes: n, the number of classes of each target.
        targets: P, the number of targets (6 in the paper).
        generator: Random generator of the initial weights; None uses PyTorch's global one.
    """

    def __init__(
        self,
        width: int,
        classes: int = 4,
        targets: int = len(TARGETS),
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(classes, targets)
        self.class_features = nn.Linear(width, targets * classes * width)
        self.class_weight = nn.Parameter(torch.empty(targets, classes, width))
        self.class_bias = nn.Parameter(torch.zeros(targets, classes))
        self.score_weight = nn.Parameter(torch.zeros(targets, width))
        self.score_bias = nn.Parameter(torch.zeros(targets))
        # The paper does not say how weights start; this is PyTorch's range for a convolution.
        bound = 1 / math.sqrt(width)
        for weight in (self.class_features.weight, self.class_weight):
            nn.init.uniform_(weight, -bound, bound, generator=generator)
        nn.init.zeros_(self.class_features.bias)

    def forward(self, a: Float[Tensor, "B F"]) -> HeadOutput:
        """Return the regression features f_reg_p, the class logits c_p and the scores y_p.

        Scores are in [0, 1] units and not clamped.
        """
        with torch.autocast(a.device.type, enabled=False):
            # [B, F] -> [B, P n F] -> [B, P, n, F]
            f = self.class_features(a.to(self.score_weight.dtype)).unflatten(1, (self.targets, self.classes, -1))
            logits = torch.einsum("bpnf,pnf->bpn", f, self.class_weight) + self.class_bias
            weights = logits.softmax(dim=-1)  # sums to 1 over the classes of each target
            f_reg = torch.einsum("bpn,bpnf->bpf", weights, f)
            scores = torch.einsum("bpf,pf->bp", f_reg, self.score_weight) + self.score_bias
        return f_reg, logits, scores
