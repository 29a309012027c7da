"""The key-point ratio of Sec. 5.6: how often the points of the face lie where the face stream is most active.

Of each frame's feature map the 30% highest pixels are kept; the six points are the eyes, the nose, the corners of the
mouth, and the middle between these. The paper reports 73.96% on the 2,000 test clips of FIv2. Two figures belong
beside it: points thrown at random hit 30%, and a disc of that size in the middle of the crop, which has looked at
nothing, hits far more, because a face crop has the face in its middle.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32
from numpy.typing import NDArray

from crnet.bundle.bundle import Bundle
from crnet.data.manifest import read_manifest
from crnet.data.store import read_clip, source_of
from crnet.data.transforms import TransformConfig, choose_frames, collate, sample
from crnet.errors import LabelError, UsageError
from crnet.explain.heat_maps import Layer, default_layer, look_without_target
from crnet.models.crnet import StreamNet
from crnet.report.overlay_video import face_squares
from crnet.training.distributed import choose_device
from crnet.types import Clip, Split
from crnet.utils.progress import Progress, no_progress

HIGHLIGHTED_SHARE = 0.3  # Sec. 5.6
PAPER_RATIO = 0.7396  # Sec. 5.6, on 2,000 test clips of 32 frames


@dataclass(frozen=True)
class KeyPointRatio:
    """What was counted over a split.

    Attributes:
        split: Which.
        layer: The stage of the backbone whose feature maps were looked at.
        clips, frames, points: How many; frames without a face are left out.
        ratio: Share of the points on highlighted pixels.
        centred_disc: The same for a disc of the same area in the middle of the crop.
        chance: The same for points anywhere: the highlighted share itself.
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
        """As a JSON document."""
        return asdict(self)


def key_point_ratio(
    bundle: Bundle,
    store: Path,
    *,
    split: Split = "test",
    layer: Layer | None = None,
    progress: Progress = no_progress,
) -> KeyPointRatio:
    """Count over every clip of a split.

    Args:
        bundle: A system with a face stream.
        store: A prepared store.
        split: Which clips; they need no scores.
        layer: The stage to read; by default `crnet.explain.heat_maps.default_layer`.
        progress: Told after every clip.

    Raises:
        UsageError: The system has no face stream.
        LabelError: No clips in the split, or none with a face.
        FormatError: A clip file is damaged.
    """
    if "face" not in bundle.nets:
        raise UsageError("the system has no face stream, so there are no key points to look for")
    net, margin = bundle.nets["face"], float(bundle.media["face_margin"])
    net.to(choose_device(bundle.config.training.device))
    return ratio_of_net(net, store, bundle.config.transforms, margin, split=split, layer=layer, progress=progress)


def ratio_of_net(
    net: StreamNet,
    store: Path,
    config: TransformConfig,
    margin: float,
    *,
    split: Split = "test",
    layer: Layer | None = None,
    progress: Progress = no_progress,
) -> KeyPointRatio:
    """`key_point_ratio` of a face network alone, on the device where it is.

    Args:
        net: A face network; it is left in evaluation mode.
        store, split, layer, progress: As there.
        config: What the network is shown.
        margin: With which the faces were cut out, the store's setting `face_margin`.

    Raises:
        LabelError, FormatError: As there.
    """
    rows = read_manifest(store).rows(split)
    device = next(net.parameters()).device
    net.eval()
    disc = centred_disc(config.pixels)
    hits = hits_of_disc = frames = clips = 0
    for done, row in enumerate(rows, start=1):
        clip = read_clip(store / row.file)
        points = crop_points(clip, choose_frames(source_of(clip), config.frames, None), margin) * config.pixels
        seen = np.isfinite(points).all(axis=(1, 2))
        if seen.any():
            batch = collate([sample(source_of(clip), config, None, ["face"], row.clip_id)])
            maps = look_without_target(net, batch.to(device), layer)
            hits += sum(count_inside(highlighted(maps[i]), points[i]) for i in np.flatnonzero(seen))
            hits_of_disc += sum(count_inside(disc, points[i]) for i in np.flatnonzero(seen))
            frames, clips = frames + int(seen.sum()), clips + 1
        progress("key points", done, len(rows))
    if not frames:
        raise LabelError(f"no face in any clip of the {split} split", path=store)
    total = 6 * frames
    name = layer or default_layer(config.pixels)
    return KeyPointRatio(split, name, clips, frames, total, hits / total, hits_of_disc / total)


def crop_points(clip: Clip, frames: NDArray[np.int64], margin: float) -> Float32[np.ndarray, "T 6 2"]:
    """The six points of each frame in the face crop, x and y as parts of its side; NaN without a face."""
    five = clip.face_landmarks[frames]
    six = np.concatenate([five, five[:, 3:5].mean(axis=1, keepdims=True)], axis=1)
    squares = face_squares(clip, frames, margin)
    sides = squares[:, None, 2:] - squares[:, None, :2]
    points = (six - squares[:, None, :2]) / sides
    points[np.isnan(clip.face_box[frames]).any(axis=1)] = np.nan
    return points.astype(np.float32)


def highlighted(heat: Float32[np.ndarray, "P P"]) -> Bool[np.ndarray, "P P"]:
    """The 30% highest pixels of a map, exactly so many."""
    chosen = np.zeros(heat.size, dtype=bool)
    chosen[np.argsort(-heat.ravel(), kind="stable")[: round(HIGHLIGHTED_SHARE * heat.size)]] = True
    return chosen.reshape(heat.shape)


def centred_disc(pixels: int) -> Bool[np.ndarray, "P P"]:
    """A disc in the middle that takes 30% of a square."""
    away = np.arange(pixels) + 0.5 - pixels / 2
    distance = np.hypot(away[:, None], away[None])
    return highlighted(-distance.astype(np.float32))


def count_inside(mask: Bool[np.ndarray, "P P"], points: Float32[np.ndarray, "n 2"]) -> int:
    """How many points, in pixels, lie on the mask; those outside the picture do not."""
    x, y = np.floor(points).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
    return int(mask[y[inside], x[inside]].sum())
