"""Where a visual stream looks: the paper's feature maps (Sec. 5.6) and Grad-CAM (Selvaraju et al. 2017).

Both are read from the output of one stage of the backbone. Which one is a choice: the later the stage, the more a
map has to do with the scores, and the coarser it is. At 112 pixels the four stages give 28, 14, 7 and 4 cells a side.
By default it is the latest that still has `FEWEST_CELLS` a side: `layer3` at 112 pixels, `layer2` at 56.

A *feature map* is the mean of the stage's channels, for each frame scaled to [0, 1]. It shows where the network is
active, whatever the target. *Grad-CAM* weighs the channels by how much the score of one target depends on them. We
take the dependence where it is, cell by cell, as in HiResCAM (Draelos and Carin 2020), instead of its mean over the
frame: at `layer4`, whose cells the network averages, that is the same map, and before it the mean loses the place.
Because a score can be lowered as well as raised, we keep the sign, which the original, made for classes, cuts off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn import functional

from crnet.errors import UsageError
from crnet.models.crnet import StreamNet
from crnet.types import Batch

Layer = Literal["layer1", "layer2", "layer3", "layer4"]
LAYERS: tuple[Layer, ...] = get_args(Layer)
FEWEST_CELLS = 7
PEAK_QUANTILE = 0.98  # a few odd pixels must not make the rest pale
STEM_STRIDE = 4  # stem and pooling together, in pixels; each later stage halves what is left


@dataclass(frozen=True, eq=False)
class Maps:
    """What a visual stream sees in the T frames of one clip, as squares of P pixels like the frames.

    Attributes:
        layer: The stage they are read from.
        features: float32 [T, P, P] in [0, 1], each frame's own range.
        gradcam: float32 [6, T, P, P], order of `TARGETS`: positive where the score is raised, negative where it is
            lowered. Over the clip, all but the largest 2% lie in [-1, 1], so that frames can be compared.
    """

    layer: Layer
    features: Float32[np.ndarray, "T P P"]
    gradcam: Float32[np.ndarray, "6 T P P"]


def default_layer(pixels: int) -> Layer:
    """The latest stage whose map still has `FEWEST_CELLS` cells a side; the first if none has."""
    return next((layer for layer in reversed(LAYERS) if cells_a_side(layer, pixels) >= FEWEST_CELLS), LAYERS[0])


def cells_a_side(layer: Layer, pixels: int) -> int:
    """How fine a stage's map of a square of so many pixels is."""
    return -(-pixels // (STEM_STRIDE << LAYERS.index(layer)))


def look(net: StreamNet, batch: Batch, layer: Layer | None = None) -> Maps:
    """Feature maps and Grad-CAM of a visual stream for a batch of one clip.

    Args:
        net: A trained visual stream, in evaluation mode; with a 2-D or 3-D backbone.
        batch: One clip.
        layer: The stage to read; by default `default_layer`.

    Raises:
        UsageError: Not a visual stream, or more than one clip.
    """
    size = _size(net, batch)
    layer = layer or default_layer(size[2])
    with torch.enable_grad(), _captured(net, layer) as captured:
        scores = net(batch).scores[0]
        activation = captured[0]
        gradients = [torch.autograd.grad(score, activation, retain_graph=True)[0] for score in scores]
    cams = torch.stack([gradcam(_by_frame(net, activation), _by_frame(net, gradient)) for gradient in gradients])
    features = _scaled_to_unit(_resized(feature_maps(_by_frame(net, activation)), size))
    cams = torch.stack([_resized(cam, size) for cam in cams])
    return Maps(layer, features.cpu().numpy(), _scaled_to_peak(cams.cpu().numpy()))


def look_without_target(net: StreamNet, batch: Batch, layer: Layer | None = None) -> Float32[np.ndarray, "T P P"]:
    """The feature maps of `look` alone, which need no gradients."""
    size = _size(net, batch)
    with torch.inference_mode(), _captured(net, layer or default_layer(size[2])) as captured:
        net.feature_map(batch)
    return _scaled_to_unit(_resized(feature_maps(_by_frame(net, captured[0])), size)).cpu().numpy()


def _size(net: StreamNet, batch: Batch) -> tuple[int, int, int]:
    """Frames, height and width of the one clip that a visual stream is shown."""
    frames = batch.scene if net.stream == "scene" else batch.face
    if net.stream == "audio-text" or frames is None or len(batch) != 1:
        raise UsageError("maps are of one clip and of a visual stream")
    return frames.shape[1], frames.shape[3], frames.shape[4]


def feature_maps(activation: Tensor) -> Tensor:
    """Mean over the channels: [t, C, h, w] -> [t, h, w]."""
    return activation.detach().float().mean(1)


def gradcam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Channels weighed by the gradient of the score: 2 x [t, C, h, w] -> [t, h, w], signed."""
    return (gradient.detach().float() * activation.detach().float()).sum(1)


@contextmanager
def _captured(net: StreamNet, layer: Layer) -> Iterator[list[Tensor]]:
    """Collects the output of a stage while the network runs."""
    kept: list[Tensor] = []
    handle = getattr(net.backbone, layer).register_forward_hook(lambda module, given, output: kept.append(output))
    try:
        yield kept
    finally:
        handle.remove()


def _by_frame(net: StreamNet, tensor: Tensor) -> Tensor:
    """[T, C, h, w] of a 2-D backbone as it is; [1, C, t, h, w] of a 3-D one -> [t, C, h, w]."""
    return tensor if net.config.backbone == "r2d34" else tensor[0].transpose(0, 1)


def _resized(maps: Tensor, size: tuple[int, int, int]) -> Tensor:
    """[t, h, w] -> [T, P, P], linear in space and time."""
    return functional.interpolate(maps[None, None], size, mode="trilinear", align_corners=False)[0, 0]


def _scaled_to_unit(maps: Tensor) -> Tensor:
    """Each frame's map to [0, 1]; one that is the same everywhere becomes 0."""
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny)


def _scaled_to_peak(cams: Float32[np.ndarray, "6 T P P"]) -> Float32[np.ndarray, "6 T P P"]:
    """Each target's maps over their `PEAK_QUANTILE` magnitude."""
    peaks = np.quantile(np.abs(cams), PEAK_QUANTILE, axis=(1, 2, 3), keepdims=True)
    scaled = np.divide(cams, peaks, out=np.zeros_like(cams), where=peaks > 0)
    return scaled.astype(np.float32)


def mass_inside(cam: np.ndarray, inside: np.ndarray) -> float:
    """Share of a map's magnitude that lies where `inside` is true; both [..., P, P]."""
    magnitude = np.abs(cam)
    total = float(magnitude.sum())
    return float(magnitude[np.broadcast_to(inside, magnitude.shape)].sum()) / total if total > 0 else 0.0
