"""How a stream is trained: the paper's two stages and the numbers of Sec. 4.2.1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from crnet.errors import ConfigError
from crnet.models.crnet import Head
from crnet.models.losses import LossTerms, lambda_at
from crnet.utils.device import Device

Term = Literal["l1", "mse", "bell", "guide"]
ALL_TERMS: tuple[Term, ...] = ("l1", "mse", "bell", "guide")  # Eq. 8


@dataclass(frozen=True)
class StageConfig:
    """One stage of training; the defaults are those that both stages of the paper share (Sec. 4.2.1).

    Attributes:
        terms: Which losses are summed. `guide` is the cross-entropy of the classes: alone it counts once, beside
            others it is weighted by lambda (Eqs. 8 and 9). The terms left out are still logged.
        optimizer: `sgd` uses `momentum`, `adam` uses `betas`.
        epochs: Passes over the training split; 0 leaves the stage out.
        batch_size: Clips of a global batch, shared evenly by the processes.
        lr: Learning rate of the first epochs.
        lr_step_epochs, lr_factor: Every so many epochs the learning rate is multiplied by the factor.
        weight_decay: L2 penalty in the gradient.
        momentum: Of SGD.
        betas: Of Adam.
    """

    terms: tuple[Term, ...] = ALL_TERMS
    optimizer: Literal["sgd", "adam"] = "adam"
    epochs: int = 50
    batch_size: int = 30
    lr: float = 0.002
    lr_step_epochs: int = 10
    lr_factor: float = 0.1
    weight_decay: float = 0.005
    momentum: float = 0.9
    betas: tuple[float, float] = (0.5, 0.999)

    def __post_init__(self) -> None:
        unknown = [term for term in self.terms if term not in ALL_TERMS]
        if not self.terms or unknown or len(set(self.terms)) != len(self.terms):
            raise ConfigError(f"terms {list(self.terms)} are not some of {', '.join(ALL_TERMS)}, each once")
        if self.optimizer not in ("sgd", "adam"):
            raise ConfigError(f"unknown optimizer {self.optimizer!r}", remedy="choose sgd or adam")
        if self.epochs < 0 or self.batch_size < 1 or self.lr_step_epochs < 1:
            raise ConfigError("epochs must be 0 or more, batch_size and lr_step_epochs 1 or more")
        if not (self.lr > 0 and self.lr_factor > 0 and self.weight_decay >= 0):
            raise ConfigError("lr and lr_factor must be positive, weight_decay must not be negative")
        if not all(0 <= number < 1 for number in (self.momentum, *self.betas)):
            raise ConfigError("momentum and betas must be in [0, 1)")

    @property
    def regresses(self) -> bool:
        """False for a stage of classification alone."""
        return self.terms != ("guide",)

    def lr_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        return self.lr * self.lr_factor ** (epoch // self.lr_step_epochs)

    def guide_weight_at(self, epoch: int) -> float:
        """The weight of the cross-entropy in an epoch, counted from 0: lambda of Eq. 9, or 1 where it is alone."""
        return lambda_at(epoch, self.epochs) if self.regresses else 1.0

    def loss(self, terms: LossTerms) -> torch.Tensor:
        """What this stage minimises: the sum of its own terms."""
        weighted = {"l1": terms.l1, "mse": terms.mse, "bell": terms.bell, "guide": terms.guide_weight * terms.guide}
        chosen = [value for name, value in weighted.items() if name in self.terms]
        return sum(chosen[1:], start=chosen[0])

    def make_optimizer(self, parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
        """A fresh optimizer of those parameters that learn in this stage."""
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        if self.optimizer == "sgd":
            return torch.optim.SGD(learning, self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
        return torch.optim.Adam(learning, self.lr, betas=self.betas, weight_decay=self.weight_decay)


CLASSIFICATION = StageConfig(terms=("guide",), optimizer="sgd")  # Sec. 3.4, first stage
JOINT = StageConfig()  # Sec. 3.4, second stage


@dataclass(frozen=True)
class TrainingConfig:
    """How every stream is trained.

    Attributes:
        stages: Classification alone, then everything (Sec. 3.4).
        seed: Of the initial weights, the order of clips and the choice of frames.
        workers: Processes that read and decode, for each training process; the batches do not depend on it.
        threads: Of the CPU, for each training process; None leaves it to torch. Small nets gain nothing from a second
            one, and lose much where other programs compete for it.
        device: `auto` takes a GPU if there is one.
        precision: `auto` computes the forward pass in bfloat16 on a GPU that has it, in float32 elsewhere. Losses,
            CR-blocks and weights are float32 always.
        freeze_batchnorm: Batch norm keeps its running statistics as they are, so that a clip's result does not
            depend on its batch; for fine-tuning from `ModelConfig.init`, and for comparing process counts.
        tensorboard: Write TensorBoard files too, if it is installed.
    """

    stages: tuple[StageConfig, StageConfig] = (CLASSIFICATION, JOINT)
    seed: int = 0
    workers: int = 2
    threads: int | None = None
    device: Device = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    freeze_batchnorm: bool = False
    tensorboard: bool = True

    def __post_init__(self) -> None:
        if self.workers < 0 or self.seed < 0 or (self.threads is not None and self.threads < 1):
            raise ConfigError("workers and seed must be 0 or more, threads 1 or more")
        if not any(stage.epochs for stage in self.stages):
            raise ConfigError("no stage has an epoch", remedy="give a stage 1 epoch or more")

    def refuse_for(self, head: Head) -> None:
        """Raise ConfigError if a loss of a stage finds nothing to train in such a head."""
        terms = {term for stage in self.stages if stage.epochs for term in stage.terms}
        if head == "plain" and "guide" in terms:
            raise ConfigError(
                "a plain head has no classes for the cross-entropy to train",
                remedy="leave guide out of the stages' terms, and give stage 1 no epochs",
            )
        if head == "expectation" and terms != {"guide"}:
            raise ConfigError(
                "the head 'expectation' is trained by the cross-entropy alone",
                remedy="give both stages the terms guide, or choose the head expectation+regression",
            )
