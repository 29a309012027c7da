"""Where a visual stream looks: the paper's feature maps (Sec. 5.6) and Grad-CAM (Selvaraju et al. 2017).

Both are read from the output of one backbone stage. Later stages say more about the scores, but are coarser: at 112
pixels the four stages give 28, 14, 7 and 4 cells a side. The default is the latest stage with at least `FEWEST_CELLS`
cells a side: `layer3` at 112 pixels, `layer2` at 56.

A *feature map* is the mean over the stage's channels, scaled to [0, 1] for each frame. It shows where the network is
active, whatever the target. *Grad-CAM* weights the channels by the gradient of one target's score. We multiply the
gradient cell by cell, as HiResCAM does (Draelos and Carin 2020), instead of averaging it over the frame first: at
`layer4`, whose cells the network averages, both give the same map; at earlier stages the average loses the location.
The original Grad-CAM, made for classes, drops negative values; we keep the sign, because a score can also be lowered.

captum's `LayerGradientXActivation` gives the same numbers (the tests compare them), but runs the network once for each
target, where one forward pass here serves all six.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn import functional

from crnet.errors import UsageError
from crnet.explain.layers import HeatMaps, Layer, default_layer
from crnet.models.crnet import StreamNet
from crnet.types import Batch

PEAK_QUANTILE = 0.98  # a few outlying pixels must not make the rest pale


def compute_heat_maps(net: StreamNet, batch: Batch, layer: Layer | None = None) -> HeatMaps:
    """Compute feature maps and Grad-CAM of a visual stream for one clip.

    Args:
        net: A trained visual stream in evaluation mode, with a 2-D or 3-D backbone.
        batch: One clip.
        layer: The stage to read; by default `default_layer`.

    Raises:
        UsageError: The stream is not visual, or the batch holds more than one clip.
    """
    size = _map_size(net, batch)
    layer = layer or default_layer(size[2])
    with torch.enable_grad(), _captured(net, layer) as outputs:
        scores = net(batch).scores[0]
        activation = outputs[0]
        gradients = [torch.autograd.grad(score, activation, retain_graph=True)[0] for score in scores]
    cams = torch.stack([gradcam(_by_frame(net, activation), _by_frame(net, gradient)) for gradient in gradients])
    features = _scaled_to_unit(_resized(feature_maps(_by_frame(net, activation)), size))
    cams = torch.stack([_resized(cam, size) for cam in cams])
    return HeatMaps(layer, features.cpu().numpy(), _scaled_to_peak(cams.cpu().numpy()))


def compute_feature_maps(net: StreamNet, batch: Batch, layer: Layer | None = None) -> Float32[np.ndarray, "T P P"]:
    """Compute the feature maps of `compute_heat_maps` alone, which need no gradients."""
    size = _map_size(net, batch)
    with torch.inference_mode(), _captured(net, layer or default_layer(size[2])) as outputs:
        net.feature_map(batch)
    return _scaled_to_unit(_resized(feature_maps(_by_frame(net, outputs[0])), size)).cpu().numpy()


def _map_size(net: StreamNet, batch: Batch) -> tuple[int, int, int]:
    """Return frames, height and width of the one clip that a visual stream is shown."""
    frames = batch.scene if net.stream == "scene" else batch.face
    if net.stream == "audio-text" or frames is None or len(batch) != 1:
        raise UsageError("heat maps need a visual stream and a batch of one clip")
    return frames.shape[1], frames.shape[3], frames.shape[4]


def feature_maps(activation: Tensor) -> Tensor:
    """Average the channels: [t, C, h, w] -> [t, h, w]."""
    return activation.detach().float().mean(1)


def gradcam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weight the channels by the gradient of the score and add them up: 2 x [t, C, h, w] -> [t, h, w], signed."""
    return (gradient.detach().float() * activation.detach().float()).sum(1)


@contextmanager
def _captured(net: StreamNet, layer: Layer) -> Iterator[list[Tensor]]:
    """Collect the output of a stage while the network runs."""
    outputs: list[Tensor] = []
    handle = getattr(net.backbone, layer).register_forward_hook(lambda module, given, output: outputs.append(output))
    try:
        yield outputs
    finally:
        handle.remove()


def _by_frame(net: StreamNet, tensor: Tensor) -> Tensor:
    """Return [T, C, h, w] of a 2-D backbone unchanged; of a 3-D backbone [1, C, t, h, w] -> [t, C, h, w]."""
    return tensor if net.config.backbone == "r2d34" else tensor[0].transpose(0, 1)


def _resized(maps: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Interpolate linearly in space and time: [t, h, w] -> [T, P, P]."""
    return functional.interpolate(maps[None, None], size, mode="trilinear", align_corners=False)[0, 0]


def _scaled_to_unit(maps: Tensor) -> Tensor:
    """Scale each frame's map to [0, 1]; a constant map becomes 0."""
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny)


def _scaled_to_peak(cams: Float32[np.ndarray, "6 T P P"]) -> Float32[np.ndarray, "6 T P P"]:
    """Divide each target's maps by the `PEAK_QUANTILE` of their magnitude."""
    peaks = np.quantile(np.abs(cams), PEAK_QUANTILE, axis=(1, 2, 3), keepdims=True)
    scaled = np.divide(cams, peaks, out=np.zeros_like(cams), where=peaks > 0)
    return scaled.astype(np.float32)


def mass_inside(cam: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of a map's magnitude where `mask` is true; both are [..., P, P]."""
    magnitude = np.abs(cam)
    total = float(magnitude.sum())
    return float(magnitude[np.broadcast_to(mask, magnitude.shape)].sum()) / total if total > 0 else 0.0
