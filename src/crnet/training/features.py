"""What a trained stream says of every clip of a split: the input of the fusion and of the evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from crnet.data.dataset import Batches, ClipDataset, loader
from crnet.data.manifest import ClipRow
from crnet.data.transforms import TransformConfig
from crnet.errors import LabelError
from crnet.models.crnet import StreamNet
from crnet.types import Stream
from crnet.utils.progress import Progress, no_progress

if TYPE_CHECKING:
    from jaxtyping import Float32

BATCH_SIZE = 30  # as in training; decides speed and memory only


def extract_all(
    nets: Mapping[Stream, StreamNet],
    store: Path,
    rows: Sequence[ClipRow],
    transforms: TransformConfig,
    *,
    workers: int = 0,
    device: torch.device | None = None,
    progress: Progress = no_progress,
) -> tuple[dict[Stream, Float32[np.ndarray, "N 6 F"]], dict[Stream, Float32[np.ndarray, "N 6"]]]:
    """Features and scores of every clip by every stream, from middle frames; see `extract`.

    Args:
        nets: Trained streams; each is left on the CPU, so that only one takes up the device.
        store: A prepared store.
        rows: Which clips, in the order of the results.
        transforms: What a network is shown.
        workers: Processes that read and decode.
        device: Where to compute; None stays on the CPU.
        progress: Told after every batch.
    """
    features, scores = {}, {}
    for stream, net in nets.items():
        clips = ClipDataset(store, rows, transforms, [stream])
        features[stream], scores[stream] = extract(net, loader(clips, BATCH_SIZE, workers=workers), device, progress)
        net.to("cpu")
    return features, scores


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
