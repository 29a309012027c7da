"""Networks with random weights in every layer: their scores depend on the input, as those of a trained network do."""

from __future__ import annotations

import torch

from crnet.models.config import ModelConfig
from crnet.models.crnet import StreamNet
from crnet.models.score_head import LinearScoreHead
from crnet.types import Stream


def random_net(stream: Stream, config: ModelConfig, seed: int = 0) -> StreamNet:
    """Return an untrained network whose G has random weights too, in PyTorch's range for a linear layer.

    G of a fresh network is zero, so all its scores are the training mean, whatever the input.
    """
    net = StreamNet(stream, config, seed)
    if isinstance(net.head, LinearScoreHead):
        randomise_scores(net.head, seed)
    return net


@torch.no_grad()
def randomise_scores(head: LinearScoreHead, seed: int = 0) -> None:
    """Set the weights of G at random."""
    bound = head.score_weight.shape[1] ** -0.5
    head.score_weight.uniform_(-bound, bound, generator=torch.Generator().manual_seed(seed))
