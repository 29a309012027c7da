"""The stages of a backbone that heat maps are read from, and the maps. Reading them needs no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float32

Layer = Literal["layer1", "layer2", "layer3", "layer4"]
LAYERS: tuple[Layer, ...] = get_args(Layer)
FEWEST_CELLS = 7
STEM_STRIDE = 4  # of stem and pooling together, in pixels; each later stage halves the resolution


@dataclass(frozen=True, eq=False)
class HeatMaps:
    """Heat maps of one visual stream for the T frames of one clip, at the frames' size of P x P pixels.

    Attributes:
        layer: The backbone stage that they are read from.
        features: float32 [T, P, P] in [0, 1], scaled to each frame's own range.
        gradcam: float32 [6, T, P, P], order of `TARGETS`: positive where the score is raised, negative where it is
            lowered. Over the clip, all but the largest 2% lie in [-1, 1], so that frames can be compared.
    """

    layer: Layer
    features: Float32[np.ndarray, "T P P"]
    gradcam: Float32[np.ndarray, "6 T P P"]


def default_layer(pixels: int) -> Layer:
    """Return the latest stage whose map has at least `FEWEST_CELLS` cells a side, or the first if none has."""
    return next((layer for layer in reversed(LAYERS) if cells_a_side(layer, pixels) >= FEWEST_CELLS), LAYERS[0])


def cells_a_side(layer: Layer, pixels: int) -> int:
    """Return the side of a stage's map, in cells, for square frames of `pixels` pixels a side."""
    return -(-pixels // (STEM_STRIDE << LAYERS.index(layer)))
