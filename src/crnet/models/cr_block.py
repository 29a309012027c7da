"""The classification-regression block (Sec. 3.2, Eqs. 1-5) and the classes of scores (Secs. 4.2.2 and 5.4)."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from crnet.errors import ConfigError, LabelError
from crnet.types import TARGETS

EDGES: dict[int, tuple[float, ...]] = {
    4: (0.5, 0.6, 0.7),  # Sec. 4.2.2
    7: (0.3556, 0.4383, 0.5003, 0.5575, 0.6143, 0.6849),  # Sec. 5.4
    10: (0.3220, 0.3962, 0.4466, 0.4903, 0.5307, 0.5708, 0.6078, 0.6528, 0.7102),  # Sec. 5.4
}
"""Where one class ends and the next begins, by the number of classes. An edge belongs to the upper class."""


def class_of(scores: Float64[np.ndarray, "*shape"], classes: int = 4) -> Int64[np.ndarray, "*shape"]:
    """The class of each score, 0 being the lowest scores.

    Args:
        scores: In [0, 1] and in float64. In float32 a label of 63/90 = 0.7 would fall below its edge.
        classes: 4, 7 or 10.

    Raises:
        ConfigError: The paper gives no edges for so many classes.
        LabelError: Scores are not float64, not numbers, or outside [0, 1].
    """
    if classes not in EDGES:
        raise ConfigError(f"no edges for {classes} classes", remedy=f"choose one of {', '.join(map(str, EDGES))}")
    if scores.dtype != np.float64:
        raise LabelError(
            f"classes of {scores.dtype} scores are asked for, but rounding moves scores across an edge",
            remedy="compute the classes from the float64 scores",
        )
    if not np.all((scores >= 0) & (scores <= 1)):
        raise LabelError("a score is not a number in [0, 1]")
    return np.searchsorted(EDGES[classes], scores, side="right").astype(np.int64)


class CRBlock(nn.Module):
    """Six CR-blocks, one for each target, side by side.

    For target p and class i: a feature f_pi from the backbone's vector `a` (Eq. 1); the class's logit
    c_pi = u_pi . f_pi + b_pi and its weight w_p = softmax(c_p) (Eq. 2, which prints the softmax of a vector);
    f_reg_p = sum_i w_pi f_pi (Eq. 3); the score y_p = G(f_reg_p) (Eqs. 4 and 5). A 1x1 convolution of a vector is
    a linear layer, so linear layers they are. The network leaves autocast here: scores need more digits than
    bfloat16 has.

    Args:
        width: Length F of `a` and of every feature (512 in the paper).
        classes: n, how many classes a target has.
        generator: Source of the initial weights.
    """

    def __init__(self, width: int, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.classes = classes
        self.class_features = nn.Linear(width, len(TARGETS) * classes * width)
        self.class_weight = nn.Parameter(torch.empty(len(TARGETS), classes, width))
        self.class_bias = nn.Parameter(torch.zeros(len(TARGETS), classes))
        self.score_weight = nn.Parameter(torch.empty(len(TARGETS), width))
        self.score_bias = nn.Parameter(torch.zeros(len(TARGETS)))
        # The paper is silent; this is the range that PyTorch, which it names, gives a convolution.
        bound = 1 / math.sqrt(width)
        for weight in (self.class_features.weight, self.class_weight, self.score_weight):
            nn.init.uniform_(weight, -bound, bound, generator=generator)
        nn.init.zeros_(self.class_features.bias)

    def forward(
        self, a: Float[Tensor, "B F"]
    ) -> tuple[Float[Tensor, "B 6 F"], Float[Tensor, "B 6 n"], Float[Tensor, "B 6"]]:
        """The regression features f_reg_p, the class logits c_p and the scores y_p (in [0, 1] units, unclamped)."""
        with torch.autocast(a.device.type, enabled=False):
            # [B, F] -> [B, 6 n F] -> [B, 6, n, F]
            f = self.class_features(a.to(self.score_weight.dtype)).unflatten(1, (len(TARGETS), self.classes, -1))
            logits = torch.einsum("bpnf,pnf->bpn", f, self.class_weight) + self.class_bias
            weights = logits.softmax(dim=-1)  # over the classes of each target, which sum to one
            f_reg = torch.einsum("bpn,bpnf->bpf", weights, f)
            scores = torch.einsum("bpf,pf->bp", f_reg, self.score_weight) + self.score_bias
        return f_reg, logits, scores

    def regression_parameters(self) -> list[nn.Parameter]:
        """Those of G, which classification alone leaves without a gradient."""
        return [self.score_weight, self.score_bias]

    @torch.no_grad()
    def start_from(self, scores: Float64[np.ndarray, "N 6"]) -> None:
        """Let each score start at the training mean of its target, instead of at 0.

        From 0, a score of 0.5 is 50 points off, where the Bell loss has no gradient.
        """
        self.score_bias.copy_(torch.from_numpy(means_of(scores)))


def means_of(scores: Float64[np.ndarray, "N 6"]) -> Float64[np.ndarray, " 6"]:
    """The mean score of each target.

    Raises:
        LabelError: No scores, not of six targets, or not in [0, 1].
    """
    if scores.ndim != 2 or scores.shape[1] != len(TARGETS) or not len(scores):
        raise LabelError(f"scores of shape {scores.shape}, expected one row or more of {len(TARGETS)} targets")
    if not np.all((scores >= 0) & (scores <= 1)):
        raise LabelError("a score is not a number in [0, 1]")
    return scores.mean(axis=0)
