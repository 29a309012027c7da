"""Precise batch norm: recompute the running statistics of all batch norms with the current weights (Wu & Johnson 2021).

Running statistics are an average over the last tens of steps, so they belong to earlier weights. Where the weights move
fast, as in the first epochs of stage 2, each layer is normalised wrongly by a small factor, and the error is multiplied
from layer to layer (docs/paper.md, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from crnet.training.distributed import DistributedContext
from crnet.types import Batch


@torch.no_grad()
def recompute_batchnorm(
    net: nn.Module, batches: Iterable[Batch], context: DistributedContext, autocast: AbstractContextManager[None]
) -> None:
    """Replace the running statistics by the mean over `batches` of each batch's mean and unbiased variance.

    Args:
        net: A network that takes a batch. It is left in training mode.
        batches: This process's training batches, at least one and equally many in every process.
        context: The training processes. All of them end with the mean over all processes.
        autocast: A context with the precision of the forward pass.
    """
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average, in which all batches have equal weight
    net.train()
    with autocast:
        for batch in batches:
            net(batch.to(context.device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        for statistic in (norm.running_mean, norm.running_var):
            if statistic is not None:
                statistic.copy_(context.mean(statistic))
