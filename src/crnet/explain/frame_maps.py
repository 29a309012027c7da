"""The frames of a clip that the visual streams see, the region of the picture they come from, and their heat maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from numpy.typing import NDArray

from crnet.bundle.bundle import Bundle
from crnet.data.store import as_clip_source
from crnet.data.transforms import choose_frames
from crnet.explain.layers import HeatMaps, Layer, default_layer
from crnet.media.crops import with_margin
from crnet.types import Batch, Clip, Stream


@dataclass(frozen=True, eq=False)
class FrameMaps:
    """The T frames that each visual stream sees of one clip, and where the streams look.

    Attributes:
        layer: The backbone stage that the maps are read from.
        times_s: float64 [T], the time of each frame.
        images: uint8 [T, P, P, 3] by visual stream, the frames as the network sees them.
        maps: Feature maps and Grad-CAM by visual stream.
        face_squares: float32 [T, 4], see `face_squares`.
    """

    layer: Layer
    times_s: Float64[np.ndarray, " T"]
    images: Mapping[Stream, UInt8[np.ndarray, "T P P 3"]]
    maps: Mapping[Stream, HeatMaps]
    face_squares: Float32[np.ndarray, "T 4"]


def map_frames(
    bundle: Bundle, clip: Clip, batch: Batch, layer: Layer | None = None, *, gradients: bool = True
) -> FrameMaps:
    """Compute the heat maps of every visual stream for one clip.

    Args:
        bundle: The trained system.
        clip: The clip.
        batch: The same clip, as the networks see it.
        layer: The backbone stage to read; by default `default_layer`.
        gradients: Whether there can be heat maps, see `crnet.bundle.stored_networks.why_no_gradients`.
    """
    config = bundle.config.transforms
    layer = layer or default_layer(config.pixels)
    frames = choose_frames(as_clip_source(clip), config.frames, None)
    streams = [stream for stream in bundle.networks if stream != "audio-text"]
    return FrameMaps(
        layer=layer,
        times_s=clip.time_s[frames],
        images={stream: _images(batch, stream) for stream in streams},
        maps={stream: _maps(bundle, batch, stream, layer) for stream in streams} if gradients else {},
        face_squares=face_squares(clip, frames, float(bundle.media["face_margin"])),
    )


def _maps(bundle: Bundle, batch: Batch, stream: Stream, layer: Layer) -> HeatMaps:
    from crnet.explain.heat_maps import compute_heat_maps  # needs PyTorch

    net = bundle.networks[stream]
    return compute_heat_maps(net, batch.to(next(net.parameters()).device), layer)


def face_squares(clip: Clip, frames: NDArray[np.int64], margin: float) -> Float32[np.ndarray, "T 4"]:
    """Return the square that the face stream sees of each frame; the central square where no face was found.

    Args:
        clip: The clip.
        frames: int64 [T], frame numbers.
        margin: The margin that the face crops were cut with, the store's setting `face_margin`.

    Returns:
        float32 [T, 4], x0 y0 x1 y1 in source pixels.
    """
    boxes = clip.face_box[frames]
    squares = np.stack([with_margin(box, margin) for box in boxes])
    half = min(clip.width, clip.height) / 2
    centre = np.array([clip.width / 2, clip.height / 2] * 2, np.float32) + half * np.array([-1, -1, 1, 1], np.float32)
    return np.where(np.isnan(boxes).any(axis=1, keepdims=True), centre, squares).astype(np.float32)


def _images(batch: Batch, stream: Stream) -> UInt8[np.ndarray, "T P P 3"]:
    """Return the frames of a batch of one clip as images."""
    frames = batch.scene if stream == "scene" else batch.face
    assert frames is not None  # noqa: S101  (a system with this stream was given its frames)
    return np.asarray(frames[0]).transpose(0, 2, 3, 1)
