"""What a trained stream says of every clip of a split: the input of the fusion and of the evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from crnet.data.dataset import Batches
from crnet.errors import LabelError
from crnet.models.crnet import StreamNet
from crnet.progress import Progress, no_progress

if TYPE_CHECKING:
    from jaxtyping import Float32


@torch.no_grad()
def extract(
    net: StreamNet, batches: Batches, device: torch.device | None = None, progress: Progress = no_progress
) -> tuple[Float32[np.ndarray, "N 6 F"], Float32[np.ndarray, "N 6"]]:
    """Features f_reg_p and scores of every clip, in the order of the data set's rows, in float32.

    Args:
        net: A trained stream; it is left in evaluation mode on `device`.
        batches: Of a data set that is not for training: middle frames, no clip left out.
        device: Where to compute; None stays where the network is.
        progress: Told after every batch.

    Raises:
        LabelError: The batches are for training (their order is not that of the rows), or there are none.
        CrnetError: A clip cannot be read; names its file.
    """
    if batches.dataset.training or not len(batches):
        raise LabelError("features are extracted from clips in evaluation order, at least one")
    net.eval()
    if device is not None:
        net.to(device)
    device = device or next(net.parameters()).device
    features, scores = [], []
    for done, batch in enumerate(batches, start=1):
        output = net(batch.to(device))
        features.append(output.features.float().cpu().numpy())
        scores.append(output.scores.float().cpu().numpy())
        progress(f"{net.stream}: features", done, len(batches))
    return np.concatenate(features), np.concatenate(scores)
