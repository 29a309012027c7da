"""From trained networks to NumPy arrays: the features and scores that fusion, evaluation and prediction use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from crnet.data.dataset import Batches, ClipDataset, load_batches
from crnet.data.manifest import ClipRow
from crnet.data.transforms import TransformConfig
from crnet.errors import LabelError
from crnet.models.crnet import StreamNet
from crnet.types import Batch, Stream
from crnet.utils.device import ComputePrecision
from crnet.utils.progress import Progress, no_progress

if TYPE_CHECKING:
    from jaxtyping import Float32

    from crnet.models.openvino_networks import Outputs

BATCH_SIZE = 30  # as in training; decides speed and memory only
CLIPS_AT_ONCE = 50 * BATCH_SIZE  # features take 12 kB a clip and stream at full size


@torch.inference_mode()
def run_networks(
    networks: Mapping[Stream, StreamNet], batch: Batch, precision: ComputePrecision = "float32"
) -> Outputs:
    """Run trained networks on one batch.

    Args:
        networks: Networks in evaluation mode.
        batch: What the networks see; it moves to their device.
        precision: What the backbones compute in.

    Returns:
        The features f_reg_p [B, 6, F] and the scores [B, 6] of each stream, in float32. The scores are not bounded.

    Raises:
        FormatError: The batch lacks a stream.
    """
    features: dict[Stream, Float32[np.ndarray, "B 6 F"]] = {}
    scores: dict[Stream, Float32[np.ndarray, "B 6"]] = {}
    for stream, net in networks.items():
        device = next(net.parameters()).device
        batch = batch.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            output = net(batch)
        features[stream] = output.features.float().cpu().numpy()
        scores[stream] = output.scores.float().cpu().numpy()
    return features, scores


class TorchNetworks:
    """Networks that PyTorch runs, on a GPU for example; see `crnet.models.openvino_networks.Networks`.

    Args:
        networks: Trained networks.
        device: Where to compute.
        precision: What the backbones compute in.
    """

    def __init__(
        self, networks: Mapping[Stream, StreamNet], device: torch.device, precision: ComputePrecision = "float32"
    ) -> None:
        self.threads: int | None = None  # PyTorch has its own
        self._networks = {stream: net.to(device).eval() for stream, net in networks.items()}
        self._precision = precision

    def compile(self) -> None:
        """Do nothing: they are ready."""

    def run(self, batch: Batch) -> Outputs:
        """Run every network."""
        return run_networks(self._networks, batch, self._precision)

    def run_one(self, stream: Stream, batch: Batch) -> Outputs:
        """Run one network."""
        return run_networks({stream: self._networks[stream]}, batch, self._precision)


def extract_all(
    networks: Mapping[Stream, StreamNet],
    store: Path,
    rows: Sequence[ClipRow],
    transforms: TransformConfig,
    *,
    workers: int = 0,
    device: torch.device | None = None,
    progress: Progress = no_progress,
) -> tuple[dict[Stream, Float32[np.ndarray, "N 6 F"]], dict[Stream, Float32[np.ndarray, "N 6"]]]:
    """Extract the features and scores of every clip from every stream's middle frames; see `extract`.

    Args:
        networks: Trained streams. Each returns to the CPU, so that only one at a time occupies the device.
        store: A prepared store.
        rows: The clips, in the order of the results.
        transforms: What a network sees of a clip.
        workers: Processes that read and decode.
        device: Where to compute; None computes on the CPU.
        progress: Called after every batch.
    """
    features, scores = {}, {}
    for stream, net in networks.items():
        clips = ClipDataset(store, rows, transforms, [stream])
        features[stream], scores[stream] = extract(
            net, load_batches(clips, BATCH_SIZE, workers=workers), device, progress
        )
        net.to("cpu")
    return features, scores


def extract_in_blocks(
    networks: Mapping[Stream, StreamNet],
    store: Path,
    rows: Sequence[ClipRow],
    transforms: TransformConfig,
    *,
    workers: int = 0,
    device: torch.device | None = None,
    progress: Progress = no_progress,
) -> Iterator[tuple[dict[Stream, Float32[np.ndarray, "n 6 F"]], dict[Stream, Float32[np.ndarray, "n 6"]]]]:
    """Yield what `extract_all` returns for `CLIPS_AT_ONCE` clips at a time, for those who need no features at the end.

    The arguments are those of `extract_all`.
    """
    batches = -(-len(rows) // BATCH_SIZE)
    for start in range(0, len(rows), CLIPS_AT_ONCE):
        block = rows[start : start + CLIPS_AT_ONCE]
        of_block = _progress_of_block(progress, start // BATCH_SIZE, batches)
        yield extract_all(networks, store, block, transforms, workers=workers, device=device, progress=of_block)


def _progress_of_block(progress: Progress, before: int, in_all: int) -> Progress:
    """Return the progress of a block of clips, which reports that of all clips."""

    def report(task: str, done: int, total: int, note: str = "") -> None:
        progress(task, before + done, in_all, note)

    return report


def extract(
    net: StreamNet, batches: Batches, device: torch.device | None = None, progress: Progress = no_progress
) -> tuple[Float32[np.ndarray, "N 6 F"], Float32[np.ndarray, "N 6"]]:
    """Extract the features f_reg_p and scores of every clip, in the order of the dataset's rows, in float32.

    Args:
        net: A trained stream. It stays in evaluation mode on `device`.
        batches: Batches of an evaluation dataset: middle frames, every clip once.
        device: Where to compute; None computes where the network is.
        progress: Called after every batch.

    Raises:
        LabelError: The batches are training batches (their order is not that of the rows), or there are none.
        CrnetError: A clip cannot be read; the message names its file.
    """
    if batches.dataset.training or not len(batches):
        raise LabelError("features are extracted from clips in evaluation order, at least one")
    net.eval()
    if device is not None:
        net.to(device)
    features, scores = [], []
    for done, batch in enumerate(batches, start=1):
        batch_features, batch_scores = run_networks({net.stream: net}, batch)
        features.append(batch_features[net.stream])
        scores.append(batch_scores[net.stream])
        progress(f"{net.stream}: features", done, len(batches))
    return np.concatenate(features), np.concatenate(scores)
