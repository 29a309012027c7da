"""Train heads of `crnet.models` on cues, with its losses, stages and choice of the best epoch, but without a ResNet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor, nn

from benchmarks.evidence.worlds import Clips
from crnet.models.classes import class_indices
from crnet.models.cr_block import CRBlock
from crnet.models.losses import LossName, loss_terms
from crnet.models.score_head import HeadOutput, LinearScoreHead, ScoreHead
from crnet.simulate.cues import CUES
from crnet.training.config import CLASSIFICATION, JOINT, StageConfig
from crnet.types import TARGETS, TRAIT_INDICES, Stream

BATCH = 50
STAGE_EPOCHS = (10, 20)
STEP_EPOCHS = 8
TRUNK_WIDTH = 64

MakeHead = Callable[[int, torch.Generator], ScoreHead]
"""Makes a head for vectors of a width, with initial weights from a generator."""


@dataclass(frozen=True)
class Recipe:
    """What to train.

    Attributes:
        head: Makes the head.
        stages: The stages of training.
        trunk: Whether two layers of 64 units stand between the cues and the head, in the place of a backbone. Without
            them, the cues themselves are the head's input.
        keep: The epoch of the last stage to keep: the one with the best 1 - MAE on the validation clips, as in
            `crnet train`, or the last one.
    """

    head: MakeHead
    stages: tuple[StageConfig, ...]
    trunk: bool = True
    keep: Literal["best", "last"] = "best"


class CueNet(nn.Module):
    """A head on cues, with or without a trunk.

    Args:
        recipe: The head and the trunk.
        seed: Seed of the initial weights.
    """

    def __init__(self, recipe: Recipe, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        layers: list[nn.Module] = []
        width = len(CUES)
        for _ in range(2 if recipe.trunk else 0):
            layer = nn.Linear(width, TRUNK_WIDTH)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)
            layers += [layer, nn.ReLU()]
            width = TRUNK_WIDTH
        self.trunk = nn.Sequential(*layers)
        self.head = recipe.head(width, generator)

    def forward(self, cues: Float[Tensor, "B cues"]) -> HeadOutput:
        """Return features, class logits and scores."""
        output: HeadOutput = self.head(self.trunk(cues))
        return output

    @torch.no_grad()
    def outputs(self, cues: Float64[np.ndarray, "N cues"]) -> tuple[Float32[np.ndarray, "N 6 F"], np.ndarray]:
        """Return features and scores [N, 6] of clips."""
        features, _, scores = self(torch.from_numpy(cues).float())
        return features.numpy(), scores.double().numpy()


class MlpHead(LinearScoreHead):
    """A hidden layer with as many parameters as a CR-block has, and one linear layer to the scores; no classes.

    Args:
        width: Length of its input.
        generator: Random generator of the hidden layer. The last layer starts at 0, as in the other heads.
    """

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__(4, len(TARGETS))
        block = sum(parameter.numel() for parameter in CRBlock(width).parameters())
        units = round((block - len(TARGETS)) / (width + 1 + len(TARGETS)))
        self.hidden = nn.Linear(width, units)
        nn.init.kaiming_normal_(self.hidden.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(self.hidden.bias)
        self.score_weight = nn.Parameter(torch.zeros(len(TARGETS), units))
        self.score_bias = nn.Parameter(torch.zeros(len(TARGETS)))

    def forward(self, a: Float[Tensor, "B F"]) -> HeadOutput:
        """Return the hidden units for each target, logits of 0, and the scores."""
        units = self.hidden(a).relu()
        scores = nn.functional.linear(units, self.score_weight, self.score_bias)
        logits = torch.zeros(len(a), self.targets, self.classes)
        return units.unsqueeze(1).expand(-1, self.targets, -1), logits, scores


def stages(*terms: LossName, classify: bool, long: bool = False) -> tuple[StageConfig, ...]:
    """Return the stages of the paper, shorter.

    Args:
        terms: Losses of the last stage.
        classify: Whether a stage of classification alone comes first.
        long: Without such a stage, train with the losses of the last one for as many epochs as both stages have.
    """
    first, last = STAGE_EPOCHS
    joint = replace(JOINT, terms=terms, batch_size=BATCH, epochs=last, lr_step_epochs=STEP_EPOCHS)
    if classify:
        step = STEP_EPOCHS
        return replace(CLASSIFICATION, batch_size=BATCH, epochs=first, lr_step_epochs=step), joint
    return (replace(joint, epochs=first + last, lr_step_epochs=STEP_EPOCHS + first),) if long else (joint,)


def train(recipe: Recipe, train_clips: Clips, val_clips: Clips, seed: int, stream: Stream = "scene") -> CueNet:
    """Train a network on the cues of a stream; see `Recipe.keep`. The start of the last stage is a candidate too."""
    net = CueNet(recipe, seed)
    net.head.initialise_from_scores(train_clips.scores)
    rng = np.random.default_rng([seed, 1])
    best, best_error = deepcopy(net.state_dict()), np.inf
    for number, stage in enumerate(recipe.stages, start=1):
        is_last = number == len(recipe.stages)
        if is_last:
            best, best_error = deepcopy(net.state_dict()), _error(net, val_clips, stream)
        for error in _epochs(net, stage, train_clips, val_clips, stream, rng):
            if is_last and (error < best_error or recipe.keep == "last"):
                best, best_error = deepcopy(net.state_dict()), error
    net.load_state_dict(best)
    return net


def _epochs(
    net: CueNet, stage: StageConfig, train_clips: Clips, val_clips: Clips, stream: Stream, rng: np.random.Generator
) -> Iterator[float]:
    """Train the epochs of a stage, and yield the validation error after each."""
    cues = torch.from_numpy(train_clips.cues[stream]).float()
    truth = torch.from_numpy(train_clips.scores).float()
    classes = torch.from_numpy(class_indices(train_clips.scores, net.head.classes))
    for parameter in net.head.regression_parameters():
        parameter.requires_grad_(stage.trains_regression)
    optimizer = stage.make_optimizer(net.parameters())
    for epoch in range(stage.epochs):
        for group in optimizer.param_groups:
            group["lr"] = stage.lr_at(epoch)
        for batch in torch.split(torch.from_numpy(rng.permutation(len(cues))), stage.batch_size):
            optimizer.zero_grad(set_to_none=True)
            _, logits, scores = net(cues[batch])
            weight = stage.classification_weight_at(epoch)
            loss = loss_terms(scores, logits, truth[batch], classes[batch], weight).total(stage.terms)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        yield _error(net, val_clips, stream)


def _error(net: CueNet, clips: Clips, stream: Stream) -> float:
    """Return the mean absolute error of the traits."""
    _, scores = net.outputs(clips.cues[stream])
    return float(np.abs(scores - clips.scores)[:, TRAIT_INDICES].mean())
