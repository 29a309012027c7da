"""Meters of an epoch: losses and predictions of its steps, and the time spent waiting for data."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import Tensor

from crnet.data.dataset import Batches
from crnet.errors import ConfigError
from crnet.models.crnet import StreamOutput
from crnet.models.losses import LOSSES, LossTerms, share_outside_bell
from crnet.training.distributed import DistributedContext
from crnet.training.log import EpochMetrics
from crnet.types import Batch


def require_labels(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the true scores and classes of a batch.

    Raises:
        ConfigError: The batch has none.
    """
    if batch.scores is None or batch.classes is None:
        raise ConfigError("a batch without scores cannot be used for training or validation")
    return batch.scores, batch.classes


def logged_losses(terms: LossTerms, total: Tensor) -> dict[str, Tensor]:
    """Return the losses that the log holds: the total that a stage minimises, then every loss of `LOSSES`."""
    return dict(zip(("total", *terms.by_name), (total, *terms.by_name.values()), strict=True))


class EpochMeter:
    """Collects losses and predictions of an epoch's steps. They stay on the device, so that no step waits for them."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.rows: list[Tensor] = []

    def add(self, output: StreamOutput, batch: Batch, terms: LossTerms, loss: Tensor) -> None:
        """Add the losses, scores, truth and correct classes of one step."""
        truth, classes = require_labels(batch)
        self.losses.append(torch.stack(tuple(logged_losses(terms, loss).values())).detach())
        correct = (output.logits.argmax(-1) == classes).to(truth.dtype)
        self.rows.append(torch.stack([output.scores.detach().to(truth.dtype), truth, correct], dim=1))

    def metrics(self, context: DistributedContext) -> EpochMetrics:
        """Return the metrics over all processes. All steps have equally many clips, so means of means are means."""
        means = context.mean(torch.stack(self.losses).mean(0)).tolist()
        scores, truth, correct = context.gather(torch.cat(self.rows)).cpu().unbind(1)  # [N, 3, 6] -> 3 x [N, 6]
        return EpochMetrics(
            dict(zip(("total", *LOSSES), means, strict=True)),
            scores.numpy(),
            truth.numpy(),
            correct.double().mean().item(),
            share_outside_bell(scores, truth),
        )


class DataTimer:
    """Measures how long a loop waits for its batches."""

    def __init__(self) -> None:
        self.waited_s = 0.0

    def iterate(self, batches: Batches) -> Iterator[Batch]:
        """Yield the batches."""
        iterator = iter(batches)
        while True:
            request_s = time.perf_counter()
            batch = next(iterator, None)
            self.waited_s += time.perf_counter() - request_s
            if batch is None:
                return
            yield batch
