"""The key-point ratio of Sec. 5.6: how often the points of the face lie where the face stream is most active.

Each frame's feature map keeps its 30% highest pixels. The six points are the eyes, the nose, the corners of the mouth,
and the middle between these corners. The paper reports 73.96% on the 2,000 test clips of FIv2. Two figures belong
beside it: random points reach 30%, and a disc of the same area in the middle of the crop, which depends on no network,
reaches far more, because a face crop has the face in its middle.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32
from numpy.typing import NDArray

from crnet.bundle.bundle import Bundle
from crnet.data.dataset import collate
from crnet.data.manifest import read_manifest
from crnet.data.store import as_clip_source, read_clip
from crnet.data.transforms import TransformConfig, choose_frames, read_sample
from crnet.errors import LabelError, UsageError
from crnet.explain.frame_maps import face_squares
from crnet.explain.heat_maps import compute_feature_maps
from crnet.explain.layers import Layer, default_layer
from crnet.models.crnet import StreamNet
from crnet.types import Clip, Split
from crnet.utils.device import Device, choose_device
from crnet.utils.progress import Progress, no_progress
from crnet.utils.storage import as_path

HIGHLIGHTED_SHARE = 0.3  # Sec. 5.6
PAPER_RATIO = 0.7396  # Sec. 5.6, on 2,000 test clips of 32 frames
POINTS = 6


@dataclass(frozen=True)
class KeyPointRatio:
    """The key-point ratio over a split.

    Attributes:
        split: The split.
        layer: The backbone stage of the feature maps.
        clips, frames, points: Their numbers; frames without a face are skipped.
        ratio: Share of the points that lie on highlighted pixels.
        centred_disc: The same share for a disc of the same area in the middle of the crop.
        chance: The same share for random points: the highlighted share itself.
    """

    split: Split
    layer: Layer
    clips: int
    frames: int
    points: int
    ratio: float
    centred_disc: float
    chance: float = HIGHLIGHTED_SHARE

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as a JSON document."""
        return asdict(self)


def key_point_ratio(
    bundle: Bundle,
    store: Path | str,
    *,
    split: Split = "test",
    layer: Layer | None = None,
    device: Device = "auto",
    progress: Progress = no_progress,
) -> KeyPointRatio:
    """Compute the key-point ratio over every clip of a split.

    Args:
        bundle: A system with a face stream.
        store: A clip store.
        split: The split; its clips need no scores.
        layer: The stage to read; by default `crnet.explain.heat_maps.default_layer`.
        device: Where the network runs; auto uses a GPU if there is one.
        progress: Called after every clip.

    Raises:
        UsageError: The system has no face stream.
        LabelError: The split holds no clip, or none with a face.
        FormatError: A clip file is damaged.
    """
    if "face" not in bundle.networks:
        raise UsageError("the key-point ratio needs a face stream, and this system has none")
    net, margin = bundle.networks["face"], float(bundle.media["face_margin"])
    net.to(choose_device(device))
    return ratio_of_net(net, store, bundle.config.transforms, margin, split=split, layer=layer, progress=progress)


def ratio_of_net(
    net: StreamNet,
    store: Path | str,
    config: TransformConfig,
    margin: float,
    *,
    split: Split = "test",
    layer: Layer | None = None,
    progress: Progress = no_progress,
) -> KeyPointRatio:
    """Compute the key-point ratio of a face network alone, on its own device.

    Args:
        net: A face network; it is left in evaluation mode.
        store, split, layer, progress: See `key_point_ratio`.
        config: The network's input.
        margin: The margin that the face crops were cut with, the store's setting `face_margin`.

    Raises:
        LabelError, FormatError: See `key_point_ratio`.
    """
    rows = read_manifest(as_path(store)).rows(split)
    device = next(net.parameters()).device
    net.eval()
    disc = centred_disc(config.pixels)
    hits = disc_hits = frames = clips = 0
    for done, row in enumerate(rows, start=1):
        clip = read_clip(as_path(store) / row.file, row.clip_id)
        points = crop_points(clip, choose_frames(as_clip_source(clip), config.frames, None), margin) * config.pixels
        with_face = np.flatnonzero(np.isfinite(points).all(axis=(1, 2)))
        if len(with_face):
            batch = collate([read_sample(as_clip_source(clip), config, None, ["face"], row.clip_id)])
            maps = compute_feature_maps(net, batch.to(device), layer)
            hits += sum(count_inside(highlighted(maps[i]), points[i]) for i in with_face)
            disc_hits += sum(count_inside(disc, points[i]) for i in with_face)
            frames, clips = frames + len(with_face), clips + 1
        progress("key points", done, len(rows))
    if not frames:
        raise LabelError(f"no face in any clip of the {split} split", path=as_path(store))
    total = POINTS * frames
    used_layer = layer or default_layer(config.pixels)
    return KeyPointRatio(split, used_layer, clips, frames, total, hits / total, disc_hits / total)


def crop_points(clip: Clip, frames: NDArray[np.int64], margin: float) -> Float32[np.ndarray, "T 6 2"]:
    """Return the six points of each frame, x and y as parts of the face crop's side; NaN without a face."""
    landmarks = clip.face_landmarks[frames]
    points = np.concatenate([landmarks, landmarks[:, 3:5].mean(axis=1, keepdims=True)], axis=1)
    squares = face_squares(clip, frames, margin)
    sides = squares[:, None, 2:] - squares[:, None, :2]
    in_crop = (points - squares[:, None, :2]) / sides
    in_crop[np.isnan(clip.face_box[frames]).any(axis=1)] = np.nan
    return in_crop.astype(np.float32)


def highlighted(heat: Float32[np.ndarray, "P P"]) -> Bool[np.ndarray, "P P"]:
    """Return the mask of a map's 30% highest pixels, exactly that many."""
    mask = np.zeros(heat.size, dtype=bool)
    mask[np.argsort(-heat.ravel(), kind="stable")[: round(HIGHLIGHTED_SHARE * heat.size)]] = True
    return mask.reshape(heat.shape)


def centred_disc(pixels: int) -> Bool[np.ndarray, "P P"]:
    """Return the mask of a disc in the middle that covers 30% of a square."""
    offset = np.arange(pixels) + 0.5 - pixels / 2
    distance = np.hypot(offset[:, None], offset[None])
    return highlighted(-distance.astype(np.float32))


def count_inside(mask: Bool[np.ndarray, "P P"], points: Float32[np.ndarray, "n 2"]) -> int:
    """Count the points, in pixels, that lie on the mask; points outside the picture do not."""
    x, y = np.floor(points).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
    return int(mask[y[inside], x[inside]].sum())
