"""Cost of the planned networks: floating-point operations, and hours on the device found or on an assumed GPU.

A multiplication with an addition counts as two operations. Reading the clips and growing the trees are not counted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from crnet.data.splits import split_validation
from crnet.data.transforms import TransformConfig
from crnet.experiments.net_spec import NetSpec, is_trained
from crnet.experiments.plan import PlannedNet
from crnet.experiments.workspace import Workspace
from crnet.models.config import ModelConfig
from crnet.models.crnet import HEADS, StreamNet
from crnet.models.geometry import GEOMETRY_1D, GEOMETRY_2D, GEOMETRY_3D, Geometry
from crnet.training.loop import forward_precision
from crnet.training.stream import reproducible
from crnet.types import SPLITS, TARGETS, TEXT_DIMENSIONS, Batch, Stream
from crnet.utils.cores import available_cores
from crnet.utils.device import choose_device

ASSUMED_GPU = "a GPU at an assumed 100 TFLOP/s"
ASSUMED_FLOP_PER_S = 100e12  # what a current GPU may sustain in bfloat16; stated wherever it is used
FEWEST_CLIPS = 2  # batch norm needs more than one value for each channel, and a small network may end with one a clip
LONG_STEP_S = 0.5  # a step that takes longer is not repeated, nor tried with more clips


@dataclass(frozen=True)
class ClipFlop:
    """Floating-point operations of one clip.

    Attributes:
        forward: In evaluation.
        training: In a training step, forward and backward.
    """

    forward: int
    training: int


@dataclass(frozen=True)
class DeviceCost:
    """Estimated time of the networks that are not yet trained.

    Attributes:
        device: Name of the device.
        hours: Hours of computing.
        measured: True if the speed was measured on this machine, False if it is assumed.
    """

    device: str
    hours: float
    measured: bool


@dataclass(frozen=True)
class PlanCost:
    """Cost of a plan.

    Attributes:
        flop: Floating-point operations of each network, in the order of the plan.
        flop_left: The same, without what has been trained already.
        devices: The time on the device that would train the networks, and on an assumed GPU if that is none.
    """

    flop: tuple[int, ...]
    flop_left: tuple[int, ...]
    devices: tuple[DeviceCost, ...]


def plan_cost(workspace: Workspace, planned: Sequence[PlannedNet], at_once: int) -> PlanCost:
    """Count the operations of the planned networks, and time a step of each kind of network that is to be trained.

    Args:
        workspace: The workspace of the plan.
        planned: The networks.
        at_once: Number of networks to train at once; see `crnet.experiments.plan.networks_at_once`.

    Raises:
        ConfigError: The configured device is not available.
    """
    folds = {protocol: replace(workspace, protocol=protocol) for protocol in {net.protocol for net in planned}}
    selecting = {protocol: len(split_validation(fold.rows("val"))[0]) for protocol, fold in folds.items()}
    costs = [network_flop(net, folds[net.protocol], selecting[net.protocol]) for net in planned]
    left = tuple(remaining for _, remaining in costs)
    return PlanCost(tuple(total for total, _ in costs), left, _device_costs(workspace, planned, left, at_once))


def network_flop(net: PlannedNet, fold: Workspace, selecting: int) -> tuple[int, int]:
    """Return the operations of a network's training, validation and outputs: all, and those still to be done.

    Args:
        net: The network.
        fold: The workspace of its protocol.
        selecting: Number of validation clips that select the network, after every epoch.
    """
    config = net.spec.config
    clip = clip_flop(net.spec.stream, config.model, config.transforms)
    train = net.spec.train_clips or len(fold.rows("train"))
    batches = config.training.precise_batchnorm_batches or 0
    epochs = sum(
        stage.epochs * (train * clip.training + (selecting + min(batches * stage.batch_size, train)) * clip.forward)
        for stage in config.training.stages
    )
    outputs = sum(train if name == "train" else len(fold.rows(name)) for name in SPLITS) * clip.forward
    if is_trained(net.folder):
        return epochs + outputs, 0
    return epochs + outputs, epochs * (net.epochs - net.epochs_done) // net.epochs + outputs


def clip_flop(stream: Stream, model: ModelConfig, transforms: TransformConfig) -> ClipFlop:
    """Return the operations of one clip in a network's convolutions, its head and its regression of text.

    Args:
        stream: The network's stream.
        model: Its shape.
        transforms: The size of its input; for sound, with its length.
    """
    features = 8 * model.width
    with torch.device("meta"):
        head = HEADS[model.head](features, model.classes)
    # Each weight is used once for a clip; biases have no dimension of that length.
    head_flop = 2 * sum(w.numel() for w in head.parameters() if w.ndim > 1 and w.shape[-1] == features)
    stem_flop, other_flop = _backbone_flop(stream, model, transforms)
    text_flop = 2 * len(TARGETS) * TEXT_DIMENSIONS if stream == "audio-text" and model.regresses_text else 0
    forward = stem_flop + other_flop + head_flop + text_flop
    # Backward, each layer has two products of the same size. The first convolution needs no gradient of its input, and
    # the regression of text none at all.
    return ClipFlop(forward, 3 * forward - stem_flop - 2 * text_flop)


def _backbone_flop(stream: Stream, model: ModelConfig, transforms: TransformConfig) -> tuple[int, int]:
    """Return the operations of one clip in the first convolution of the backbone and in the others, forward."""
    side = transforms.pixels
    if stream != "audio-text" and model.backbone == "r2d34":
        flop = _resnet_flop(GEOMETRY_2D, 3, model, (side, side))
        return transforms.frames * flop[0], transforms.frames * flop[1]
    if stream != "audio-text":
        return _resnet_flop(GEOMETRY_3D, 3, model, (transforms.frames, side, side))
    length = 0 if model.audio_text == "text" else transforms.audio_samples or 1
    if model.audio_text != "audio" and not model.regresses_text:
        length += TEXT_DIMENSIONS
    return _resnet_flop(GEOMETRY_1D, 1, model, (length,)) if length else (0, 0)


def _resnet_flop(geometry: Geometry, channels_in: int, model: ModelConfig, size: tuple[int, ...]) -> tuple[int, int]:
    """Return the operations of a ResNet's first convolution and of the others, for an input of `size` positions."""
    ones = (1,) * len(size)
    size = _strided(size, geometry.stem_stride)
    stem = math.prod(size) * math.prod(geometry.stem_kernel) * channels_in * model.width
    size = _strided(size, tuple(geometry.pool_stride * one for one in ones))
    others, channels_before = 0, model.width
    for number, blocks in enumerate(model.blocks):
        channels = model.width * 2**number
        size = _strided(size, tuple(geometry.stride * one for one in ones)) if number else size
        pairs = channels_before * channels + (2 * blocks - 1) * channels**2  # of channels, in two convolutions a block
        others += math.prod(size) * geometry.kernel ** len(size) * pairs
        if number and geometry.projection:
            others += math.prod(size) * channels_before * channels
        channels_before = channels
    return 2 * stem, 2 * others


def _strided(size: tuple[int, ...], stride: tuple[int, ...]) -> tuple[int, ...]:
    """Return the positions after a layer whose padding is half its (odd) kernel."""
    return tuple(-(-positions // step) for positions, step in zip(size, stride, strict=True))


def random_batch(stream: Stream, transforms: TransformConfig, clips: int, device: torch.device) -> Batch:
    """Return a batch of noise for one stream."""
    ids = tuple(f"noise {number}" for number in range(clips))
    if stream == "audio-text":
        audio = torch.rand(clips, transforms.audio_samples or 1, device=device)
        return Batch(ids, audio=audio, text=torch.rand(clips, TEXT_DIMENSIONS, device=device))
    shape = (clips, transforms.frames, 3, transforms.pixels, transforms.pixels)
    return Batch(ids, **{stream: torch.randint(256, shape, dtype=torch.uint8, device=device)})


def _device_costs(
    workspace: Workspace, planned: Sequence[PlannedNet], flop_left: Sequence[int], at_once: int
) -> tuple[DeviceCost, ...]:
    """Return the time on the device found, if anything is left to train, and on an assumed GPU if that is none."""
    device = choose_device(workspace.base.training.device)
    assumed = DeviceCost(ASSUMED_GPU, sum(flop_left) / ASSUMED_FLOP_PER_S / 3600, measured=False)
    waiting = [(net.spec, flop) for net, flop in zip(planned, flop_left, strict=True) if flop]
    if not waiting:
        return ()
    threads = 1 if at_once > 1 else workspace.base.training.threads
    seconds = 0.0
    for kind in {_kind(spec) for spec, _ in waiting}:
        specs = [(flop, spec) for spec, flop in waiting if _kind(spec) == kind]
        _, largest = max(specs, key=lambda pair: pair[0])
        seconds += sum(flop for flop, _ in specs) / measure_flop_per_s(largest, device, threads)
    # Several networks on a GPU share its speed; on a CPU, each has a core of its own while there are enough.
    parallel = max(1, min(at_once, len(waiting), available_cores())) if device.type == "cpu" else 1
    found = DeviceCost(device_name(device), seconds / parallel / 3600, measured=True)
    return (found,) if device.type == "cuda" else (found, assumed)


def _kind(spec: NetSpec) -> str:
    """Return what decides how fast a device computes a network: the dimensions of its convolutions."""
    return spec.stream if spec.stream == "audio-text" else spec.config.model.backbone


def device_name(device: torch.device) -> str:
    """Return the name of a device for a reader: "NVIDIA H100 80GB HBM3", "this CPU (2 cores)"."""
    if device.type == "cuda":
        count = torch.cuda.device_count()
        return torch.cuda.get_device_name(device) + (f" (one of {count}; the others stay idle)" if count > 1 else "")
    return f"this CPU ({available_cores()} cores)" if device.type == "cpu" else f"this {device.type} device"


def measure_flop_per_s(spec: NetSpec, device: torch.device, threads: int | None) -> float:
    """Return how many operations a second a device computes in a training step of a network, on noise.

    The batch grows from two clips to the configured size, unless a step takes long or the memory is used up.
    """
    model, training = replace(spec.config.model, init=None), spec.config.training
    clip, stage = clip_flop(spec.stream, model, spec.config.transforms), training.stages[training.final_stage - 1]
    net = StreamNet(spec.stream, model).to(device).train()
    optimizer = stage.make_optimizer(net.parameters())

    def step_seconds(clips: int) -> float:
        batch = random_batch(spec.stream, spec.config.transforms, clips, device)
        _synchronise(device)
        start_s = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with forward_precision(training, device):
            output = net(batch)
        (output.scores.sum() + output.logits.sum()).backward()
        optimizer.step()
        _synchronise(device)
        return time.perf_counter() - start_s

    rate, clips = 0.0, FEWEST_CLIPS
    with reproducible(device, threads):
        while True:
            try:
                seconds = step_seconds(clips)
                if seconds < LONG_STEP_S or device.type != "cpu":  # a GPU searches for algorithms in the first step
                    seconds = step_seconds(clips)
            except torch.OutOfMemoryError:
                if not rate:
                    raise
                return rate
            rate = max(rate, clips * clip.training / seconds)
            if seconds > LONG_STEP_S or clips >= stage.batch_size:
                return rate
            clips = min(4 * clips, stage.batch_size)


def _synchronise(device: torch.device) -> None:
    """Wait until a GPU has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
