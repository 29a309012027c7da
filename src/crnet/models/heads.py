"""The heads that the paper compares the CR-block with: no head (Tables 4 and 5) and expectations (Table 6).

They share the interface `ScoreHead` with the CR-block, so training, fusion and evaluation work with any of them.
Neither computes features for each target: the fusion gets the backbone's vector `a` for every target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from crnet.models.classes import class_edges, class_indices
from crnet.models.score_head import HeadOutput, LinearScoreHead, ScoreHead, target_means
from crnet.types import TARGETS


class PlainHead(LinearScoreHead):
    """One linear layer from the backbone's vector to the scores: "ResNet-34 only" (Sec. 5.2).

    It has no classes. Its logits are all 0, so a log shows their cross-entropy at chance (6 ln n for six targets).
    They have no gradient; a training that asks for one is refused.

    The weights start at 0, like G of the CR-block, so every score starts at its training mean. From PyTorch's range for
    a linear layer, a third to a half of the scores would start beyond the reach of the Bell loss, and the Bell loss
    alone would not bring them back (docs/paper.md, section 3).

    Args:
        width: Length F of `a`.
        classes: n; it decides only the shape of the logits.
        targets: P, the number of targets.
        generator: Ignored, because no weight starts at random.
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
        self.score_weight = nn.Parameter(torch.zeros(targets, width))
        self.score_bias = nn.Parameter(torch.zeros(targets))

    def forward(self, a: Float[Tensor, "B F"]) -> HeadOutput:
        """Return `a` for each target, logits of 0, and the scores in [0, 1] units, not clamped."""
        with torch.autocast(a.device.type, enabled=False):
            a = a.to(self.score_weight.dtype)
            scores = nn.functional.linear(a, self.score_weight, self.score_bias)  # [B, F] -> [B, P]
        logits = torch.zeros(len(a), self.targets, self.classes, dtype=a.dtype, device=a.device)
        return repeat_for_targets(a, self.targets), logits, scores


class ExpectationHead(ScoreHead):
    """A classifier whose score is the expectation over the classes' centres (Rothe et al. 2015).

    One linear layer gives the class logits; y_p = sum_i softmax(c_p)_i * centre_pi. Trained by the cross-entropy
    alone it is Table 6's "expectation"; with a loss on the expectation as well (Gao et al. 2018), "expectation + reg".

    The centre of a class is the mean of the training scores in it, computed for each target. A class without training
    scores uses its midpoint. The midpoint of the lowest class, 0 to 0.5, would be 0.25, where almost no label is.

    Args:
        width: Length F of `a`.
        classes: n, the number of classes of each target.
        targets: P, the number of targets.
        edges: Edges between the classes; see `crnet.models.cr_block.class_edges`.
        generator: Random generator of the initial weights; None uses PyTorch's global one.
    """

    centres: Tensor

    def __init__(
        self,
        width: int,
        classes: int = 4,
        targets: int = len(TARGETS),
        *,
        edges: Sequence[float] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(classes, targets)
        self.edges = class_edges(classes, edges)
        self.class_weight = nn.Parameter(torch.empty(targets, classes, width))
        self.class_bias = nn.Parameter(torch.zeros(targets, classes))
        bound = 1 / math.sqrt(width)  # as in the CR-block
        nn.init.uniform_(self.class_weight, -bound, bound, generator=generator)
        self.register_buffer("centres", torch.tensor(class_midpoints(self.edges)).repeat(targets, 1))

    def forward(self, a: Float[Tensor, "B F"]) -> HeadOutput:
        """Return `a` for each target, the class logits, and the expectations, which lie between the outer centres."""
        with torch.autocast(a.device.type, enabled=False):
            a = a.to(self.class_weight.dtype)
            logits = torch.einsum("bf,pnf->bpn", a, self.class_weight) + self.class_bias
            scores = (logits.softmax(dim=-1) * self.centres).sum(dim=-1)  # [B, P, n] -> [B, P]
        return repeat_for_targets(a, self.targets), logits, scores

    def regression_parameters(self) -> list[nn.Parameter]:
        """Return no parameters: the score follows from the classes."""
        return []

    @torch.no_grad()
    def initialise_from_scores(self, scores: Float64[np.ndarray, "N P"]) -> None:
        """Set the centres of the classes from the training scores."""
        self.centres.copy_(torch.from_numpy(class_centres(scores, self.edges, self.targets)))


def repeat_for_targets(a: Float[Tensor, "B F"], targets: int) -> Float[Tensor, "B P F"]:
    """Return the same vector for each target, without copying it."""
    return a.unsqueeze(1).expand(-1, targets, -1)


def class_midpoints(edges: Sequence[float]) -> list[float]:
    """Return the midpoint of each class; the lowest class begins at 0 and the highest ends at 1."""
    return [(low + high) / 2 for low, high in pairwise((0.0, *edges, 1.0))]


def class_centres(
    scores: Float64[np.ndarray, "N P"], edges: Sequence[float], targets: int = len(TARGETS)
) -> Float64[np.ndarray, "P n"]:
    """Return the mean score of each class of each target; the midpoint where a class has no scores.

    Raises:
        LabelError: There are no scores, their number of targets differs, or one is not float64 in [0, 1].
    """
    target_means(scores, targets)  # checks the scores
    indices = class_indices(scores, len(edges) + 1, edges=edges)
    centres = np.tile(np.array(class_midpoints(edges)), (targets, 1))
    for target, target_centres in enumerate(centres):
        for index in range(len(target_centres)):
            members = scores[indices[:, target] == index, target]
            if len(members):
                target_centres[index] = members.mean()
    return centres
