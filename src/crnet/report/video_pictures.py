"""Contact sheets and strips of the frames that the visual streams see, under their heat maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crnet.explain.frame_maps import FrameMaps
from crnet.media.crops import encode_jpeg
from crnet.report.pictures import Picture, TileRow, contact_sheet, strip, with_feature_map, with_gradcam
from crnet.types import TARGETS, Stream, target_label

STRIP_FRAMES = 8  # shown on the page
STRIP_JPEG_QUALITY = 85  # a tenth of the size of a PNG
FRAMES, FEATURES = "frames", "features"

FEATURE_NOTE = "Each frame with its feature map: mean over the channels of {layer}, each frame scaled to its own range."
GRADCAM_NOTE = "Red raises the score of this target, blue lowers it. Read from {layer}; one scale for the whole clip."

Strips = dict[tuple[Stream, str], bytes]
"""JPEG files by stream and kind: `FRAMES`, `FEATURES`, or a target for its Grad-CAM."""


def contact_sheets(frames: FrameMaps) -> dict[str, Picture]:
    """Return every contact sheet by file name."""
    times_s = frames.times_s.tolist()
    sheets: dict[str, Picture] = {}
    for stream in frames.maps:
        rows = [
            TileRow("Frames as the network sees them", list(frames.images[stream]), times_s),
            TileRow("Feature maps", _under_feature_maps(frames, stream), times_s),
        ]
        note = FEATURE_NOTE.format(layer=frames.layer)
        sheets[f"{stream}_maps.png"] = contact_sheet(f"{stream} stream: feature maps", note, rows)
    for target in TARGETS if frames.maps else ():
        rows = [TileRow(f"{stream} stream", _under_gradcam(frames, stream, target), times_s) for stream in frames.maps]
        note = GRADCAM_NOTE.format(layer=frames.layer)
        sheets[f"gradcam_{target}.png"] = contact_sheet(f"{target_label(target)}: Grad-CAM", note, rows)
    return sheets


def page_strips(frames: FrameMaps) -> Strips:
    """Return a strip of `STRIP_FRAMES` frames for each stream and kind of map."""
    count = len(frames.times_s)
    chosen = np.unique(np.linspace(0, count - 1, STRIP_FRAMES).round().astype(int)).tolist()
    strips: Strips = {}
    for stream in frames.maps:
        kinds: dict[str, Sequence[Picture]] = {
            FRAMES: list(frames.images[stream]),
            FEATURES: _under_feature_maps(frames, stream),
            **{target: _under_gradcam(frames, stream, target) for target in TARGETS},
        }
        for kind, pictures in kinds.items():
            strips[stream, kind] = encode_jpeg(strip([pictures[i] for i in chosen]), STRIP_JPEG_QUALITY)
    return strips


def _under_feature_maps(frames: FrameMaps, stream: Stream) -> list[Picture]:
    maps = frames.maps[stream].features
    return [with_feature_map(picture, heat) for picture, heat in zip(frames.images[stream], maps, strict=True)]


def _under_gradcam(frames: FrameMaps, stream: Stream, target: str) -> list[Picture]:
    maps = frames.maps[stream].gradcam[TARGETS.index(target)]
    return [with_gradcam(picture, heat) for picture, heat in zip(frames.images[stream], maps, strict=True)]
