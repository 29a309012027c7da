"""The classification-regression block (Sec. 3.2, Eqs. 1-5)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crnet.models.score_head import HeadOutput, LinearScoreHead
from crnet.types import TARGETS


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
