"""The heads that the paper compares the CR-block with: none at all (Tables 4 and 5), and expectations (Table 6).

They take the place of `crnet.models.cr_block.CRBlock` and answer in the same form, so that training, fusion and
evaluation need not know which one they deal with. Neither has features of its own for each target: what they hand
to the trees is the backbone's vector `a`, six times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from crnet.models.cr_block import EDGES, class_of, means_of
from crnet.types import TARGETS

if TYPE_CHECKING:
    HeadOutput = tuple[Float[Tensor, "B 6 F"], Float[Tensor, "B 6 n"], Float[Tensor, "B 6"]]


class PlainHead(nn.Module):
    """The backbone's vector to six numbers by one linear layer: "ResNet-34 only" (Sec. 5.2).

    It knows no classes. Its logits are all 0, so that a log shows their cross-entropy at chance (6 ln n); they have
    no gradient, and a training that wants one is refused.

    Its weights start at 0, so that every score starts at its training mean. From PyTorch's range, which the CR-block
    has, a third to a half of the scores would start beyond the Bell's reach, and Bell alone would not bring them back
    (docs/paper.md, section 3).

    Args:
        width: Length F of `a`.
        classes: n, decides nothing but the shape of the logits.
        generator: Not used: nothing here starts at random.
    """

    def __init__(self, width: int, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.classes = classes
        self.score_weight = nn.Parameter(torch.zeros(len(TARGETS), width))
        self.score_bias = nn.Parameter(torch.zeros(len(TARGETS)))

    def forward(self, a: Float[Tensor, "B F"]) -> HeadOutput:
        """`a` for each target, logits of 0, and the scores (in [0, 1] units, unclamped)."""
        with torch.autocast(a.device.type, enabled=False):
            a = a.to(self.score_weight.dtype)
            scores = nn.functional.linear(a, self.score_weight, self.score_bias)  # [B, F] -> [B, 6]
        logits = torch.zeros(len(a), len(TARGETS), self.classes, dtype=a.dtype, device=a.device)
        return for_each_target(a), logits, scores

    def regression_parameters(self) -> list[nn.Parameter]:
        """What classification alone would leave without a gradient."""
        return [self.score_weight, self.score_bias]

    @torch.no_grad()
    def start_from(self, scores: Float64[np.ndarray, "N 6"]) -> None:
        """Let each score start at the training mean of its target."""
        self.score_bias.copy_(torch.from_numpy(means_of(scores)))


class ExpectationHead(nn.Module):
    """Classify, then take the expectation over the classes' centres as the score (Rothe et al. 2015).

    One linear layer gives the class logits; y_p = sum_i softmax(c_p)_i * centre_pi. Trained by the cross-entropy
    alone it is Table 6's "expectation"; with a loss on the expectation as well (Gao et al. 2018), "expectation + reg".

    A class's centre is the mean of the training scores in it, for each target apart; of a class without any, its
    middle. The middle of the lowest class, 0 to 0.5, would be 0.25, where hardly anybody is.

    Args:
        width: Length F of `a`.
        classes: n.
        generator: Source of the initial weights.
    """

    centres: Tensor

    def __init__(self, width: int, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.classes = classes
        self.class_weight = nn.Parameter(torch.empty(len(TARGETS), classes, width))
        self.class_bias = nn.Parameter(torch.zeros(len(TARGETS), classes))
        bound = 1 / math.sqrt(width)  # as in the CR-block
        nn.init.uniform_(self.class_weight, -bound, bound, generator=generator)
        self.register_buffer("centres", torch.tensor(middles(classes)).repeat(len(TARGETS), 1))

    def forward(self, a: Float[Tensor, "B F"]) -> HeadOutput:
        """`a` for each target, the class logits, and the expectations, which lie between the outermost centres."""
        with torch.autocast(a.device.type, enabled=False):
            a = a.to(self.class_weight.dtype)
            logits = torch.einsum("bf,pnf->bpn", a, self.class_weight) + self.class_bias
            scores = (logits.softmax(dim=-1) * self.centres).sum(dim=-1)  # [B, 6, n] -> [B, 6]
        return for_each_target(a), logits, scores

    def regression_parameters(self) -> list[nn.Parameter]:
        """None: the score follows from the classes."""
        return []

    @torch.no_grad()
    def start_from(self, scores: Float64[np.ndarray, "N 6"]) -> None:
        """Take the centres from the training scores."""
        self.centres.copy_(torch.from_numpy(class_centres(scores, self.classes)))


def for_each_target(a: Float[Tensor, "B F"]) -> Float[Tensor, "B 6 F"]:
    """The same vector for each of the six targets, without copying it."""
    return a.unsqueeze(1).expand(-1, len(TARGETS), -1)


def middles(classes: int) -> Sequence[float]:
    """The middle of each class, of which the lowest begins at 0 and the highest ends at 1."""
    edges = (0.0, *EDGES[classes], 1.0)
    return [(low + high) / 2 for low, high in pairwise(edges)]


def class_centres(scores: Float64[np.ndarray, "N 6"], classes: int) -> Float64[np.ndarray, "6 n"]:
    """The mean of the scores in each class of each target; of a class without scores, its middle.

    Raises:
        LabelError: No scores, not float64 in [0, 1], or not of six targets.
    """
    means_of(scores)
    of_class = class_of(scores, classes)
    centres = np.tile(np.array(middles(classes)), (len(TARGETS), 1))
    for target in range(len(TARGETS)):
        for number in range(classes):
            members = scores[of_class[:, target] == number, target]
            if len(members):
                centres[target, number] = members.mean()
    return centres
