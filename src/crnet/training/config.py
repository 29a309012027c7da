"""Training configuration of a stream: the paper's two stages with the numbers of Sec. 4.2.1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from crnet.errors import ConfigError
from crnet.models.config import Head
from crnet.models.losses import LOSSES, PAPER_LOSSES, LossName, lambda_at
from crnet.utils.device import Device

if TYPE_CHECKING:
    from torch import nn, optim


@dataclass(frozen=True)
class StageConfig:
    """One stage of training. The defaults are the values that both stages of the paper share (Sec. 4.2.1).

    Attributes:
        terms: Losses to sum. `classification` is the cross-entropy of the classes. On its own it has weight 1; combined
            with regression losses, its weight is lambda (Eqs. 8 and 9). Omitted losses are still logged.
        optimizer: `sgd` uses `momentum`, `adam` uses `betas`.
        epochs: Passes over the training split; 0 skips the stage.
        batch_size: Clips in a global batch, shared evenly by the processes.
        lr: Initial learning rate.
        lr_step_epochs: Number of epochs between learning-rate changes.
        lr_factor: Factor by which the learning rate is multiplied at each change.
        weight_decay: L2 penalty in the gradient.
        momentum: Momentum of SGD.
        betas: Betas of Adam.
    """

    terms: tuple[LossName, ...] = PAPER_LOSSES
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
        unknown = [term for term in self.terms if term not in LOSSES]
        if not self.terms or unknown or len(set(self.terms)) != len(self.terms):
            raise ConfigError(
                f"terms {list(self.terms)} are not valid",
                remedy=f"name at least one of {', '.join(LOSSES)}, each once",
            )
        if self.optimizer not in ("sgd", "adam"):
            raise ConfigError(f"unknown optimizer {self.optimizer!r}", remedy="choose sgd or adam")
        if self.epochs < 0 or self.batch_size < 1 or self.lr_step_epochs < 1:
            raise ConfigError("epochs must be 0 or more, batch_size and lr_step_epochs 1 or more")
        if not (self.lr > 0 and self.lr_factor > 0 and self.weight_decay >= 0):
            raise ConfigError("lr and lr_factor must be positive, weight_decay must not be negative")
        if not all(0 <= number < 1 for number in (self.momentum, *self.betas)):
            raise ConfigError("momentum and betas must be in [0, 1)")

    @property
    def trains_regression(self) -> bool:
        """True if a loss compares scores; False for a stage that trains only the classification."""
        return any(LOSSES[term].compares == "scores" for term in self.terms)

    def lr_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        return self.lr * self.lr_factor ** (epoch // self.lr_step_epochs)

    def classification_weight_at(self, epoch: int) -> float:
        """Return the weight of the cross-entropy in an epoch, counted from 0: lambda of Eq. 9, or 1 if it is alone."""
        return lambda_at(epoch, self.epochs) if self.trains_regression else 1.0

    def make_optimizer(self, parameters: Iterator[nn.Parameter]) -> optim.Optimizer:
        """Return a new optimizer of the parameters that require a gradient."""
        from torch import optim

        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        if self.optimizer == "sgd":
            return optim.SGD(trainable, self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
        return optim.Adam(trainable, self.lr, betas=self.betas, weight_decay=self.weight_decay)


CLASSIFICATION = StageConfig(terms=("classification",), optimizer="sgd")  # Sec. 3.4, first stage
JOINT = StageConfig()  # Sec. 3.4, second stage


@dataclass(frozen=True)
class TrainingConfig:
    """Training configuration of every stream.

    Attributes:
        stages: Classification alone, then all losses (Sec. 3.4). Options count from 0 (`--training.stages.0`), logs and
            messages from 1 (stage 1).
        seed: Random seed for the initial weights, the order of clips and the choice of frames.
        workers: Data-loading processes per training process. They do not affect the contents of the batches.
        threads: CPU threads per training process; None uses torch's default. A small network gains nothing from a
            second thread, and slows down considerably if other programs compete for the CPU.
        device: Where the networks run; `auto` uses a GPU if there is one.
        precision: `auto` computes the forward pass in bfloat16 on a GPU that supports it, otherwise in float32.
            Losses, CR-blocks and weights are always float32.
        freeze_batchnorm: Freeze the running statistics of batch norm, so that a clip's result does not depend on its
            batch; `no-freeze-batchnorm` updates them. Freeze them when fine-tuning from --model.init, or when comparing
            runs with different numbers of processes.
        patience: Stop the final stage when validation has not improved for this many epochs; None trains all epochs.
            With or without it, the kept network is that of the best epoch.
        precise_batchnorm_batches: Before each validation, recompute the running statistics of batch norm from this many
            training batches with the current weights (all batches of the epoch if it has fewer); None keeps the
            running statistics. Saved networks contain the recomputed statistics.
        tensorboard: Write TensorBoard files, if TensorBoard is installed; `no-tensorboard` does not write them.
    """

    stages: tuple[StageConfig, StageConfig] = (CLASSIFICATION, JOINT)
    seed: int = 0
    workers: int = 2
    threads: int | None = None
    device: Device = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    freeze_batchnorm: bool = False
    patience: int | None = None
    precise_batchnorm_batches: int | None = None
    tensorboard: bool = True

    def __post_init__(self) -> None:
        if self.workers < 0 or self.seed < 0 or (self.threads is not None and self.threads < 1):
            raise ConfigError("workers and seed must be 0 or more, threads 1 or more")
        if not any(stage.epochs for stage in self.stages):
            raise ConfigError("no stage has an epoch", remedy="train stage 2: --training.stages.1.epochs 1 or more")
        if self.patience is not None and self.patience < 1:
            raise ConfigError("patience must be 1 epoch or more, or None")
        if self.precise_batchnorm_batches is not None:
            if self.precise_batchnorm_batches < 1:
                raise ConfigError("precise_batchnorm_batches must be 1 or more, or None")
            if self.freeze_batchnorm:
                raise ConfigError(
                    "batch norm is frozen, so its statistics cannot be recomputed",
                    remedy="give freeze_batchnorm or precise_batchnorm_batches, not both",
                )

    @property
    def final_stage(self) -> int:
        """Number, from 1, of the last stage with an epoch; it selects the network."""
        return max(number for number, stage in enumerate(self.stages, start=1) if stage.epochs)

    def require_losses_fit(self, head: Head) -> None:
        """Check that the losses of all stages can train such a head.

        Raises:
            ConfigError: A loss has nothing to train, or one that the head needs is missing.
        """
        terms = {term for stage in self.stages if stage.epochs for term in stage.terms}
        if head == "plain" and any(LOSSES[term].compares == "classes" for term in terms):
            raise ConfigError(
                "a plain head has no classes for the cross-entropy to train",
                remedy="skip stage 1 with --training.stages.0.epochs 0, and give stage 2 other losses, such as "
                "--training.stages.1.terms l1 mse bell",
            )
        if head == "expectation" and terms != {"classification"}:
            raise ConfigError(
                "the head 'expectation' is trained by the cross-entropy alone",
                remedy="train stage 2 by it too, with --training.stages.1.terms classification, or choose "
                "--model.head expectation+regression",
            )
