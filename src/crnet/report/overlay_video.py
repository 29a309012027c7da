"""The overlay video: a video under Grad-CAM, the scene stream's on the left and the face stream's on the right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import Float32, Float64

from crnet.explain.frame_maps import FrameMaps
from crnet.media.video import Frame, VideoInfo, decode, probe
from crnet.report.pictures import Picture, resized, with_gradcam
from crnet.types import TARGETS
from crnet.utils.files import atomic_write
from crnet.utils.progress import Progress, no_progress

LONGEST_S = 60.0
HIGHEST_PX, WIDEST_PX = 360, 640  # of one of the two pictures
MOST_FPS = 15
ENCODER_OPTIONS = {"preset": "veryfast", "crf": "25"}
TASK = "overlay video"


@dataclass(frozen=True, eq=False)
class Heat:
    """Grad-CAM of one stream over time.

    Attributes:
        time_s: float64 [T], the time of each map.
        maps: float32 [T, P, P]; a magnitude of 1 is full colour.
        boxes: float32 [T, 4], the part of the picture that the maps cover: x0 y0 x1 y1 in source pixels; None means
            the whole picture.
    """

    time_s: Float64[np.ndarray, " T"]
    maps: Float32[np.ndarray, "T P P"]
    boxes: Float32[np.ndarray, "T 4"] | None = None

    def at(self, time_s: float) -> tuple[Float32[np.ndarray, "P P"], Float32[np.ndarray, " 4"] | None]:
        """Return map and box at a time, interpolated linearly between the frames that the network saw."""
        after = int(np.clip(np.searchsorted(self.time_s, time_s), 1, max(len(self.time_s) - 1, 1)))
        if len(self.time_s) == 1:
            return self.maps[0], None if self.boxes is None else self.boxes[0]
        start, end = self.time_s[after - 1], self.time_s[after]
        share = np.float32(np.clip((time_s - start) / max(end - start, 1e-9), 0, 1))
        heat = self.maps[after - 1] * (1 - share) + self.maps[after] * share
        return heat, None if self.boxes is None else self.boxes[after - 1] * (1 - share) + self.boxes[after] * share


def heat_panels(frames: FrameMaps, target: str) -> list[Heat]:
    """Return Grad-CAM of one target for each visual stream, from left to right."""
    number = TARGETS.index(target)
    return [
        Heat(frames.times_s, maps.gradcam[number], frames.face_squares if stream == "face" else None)
        for stream, maps in frames.maps.items()
    ]


def write_overlay_video(
    path: Path | str, video: Path | str, panels: Sequence[Heat], progress: Progress = no_progress
) -> None:
    """Write the overlay video as H.264 in mp4, without sound and at most `LONGEST_S` seconds long.

    Args:
        path: The mp4 file.
        video: The video to lay the maps over.
        panels: The maps, from left to right.
        progress: Called after every frame.

    Raises:
        MediaError: The video cannot be read.
        StorageError: The overlay video cannot be written.
    """
    path, video = Path(path), Path(video)
    info = probe(video)
    scale = min(HIGHEST_PX / info.height, WIDEST_PX / info.width, 1.0)
    width, height = (max(2 * round(side * scale / 2), 2) for side in (info.width, info.height))
    frame_s = 1 / min(info.fps, MOST_FPS)
    rate = Fraction(round(1000 / frame_s), 1000)
    end_s = min(info.duration_s, LONGEST_S)
    total = round(end_s * 10)
    progress(TASK, 0, total)
    with atomic_write(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=ENCODER_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = len(panels) * width, height, "yuv420p"
        written = 0
        for frame, repeats in _at_constant_rate(video, info, frame_s, end_s):
            picture = frame.rgb(width, height)
            overlay = np.hstack([_overlay(picture, heat, frame.time_s, info) for heat in panels])
            for _ in range(repeats):
                encoded = av.VideoFrame.from_ndarray(np.ascontiguousarray(overlay), format="rgb24")
                encoded.pts, encoded.time_base = written, 1 / rate
                container.mux(stream.encode(encoded))
                written += 1
            progress(TASK, min(round(frame.time_s * 10), total), total)
        container.mux(stream.encode(None))
    progress(TASK, total, total)


def _at_constant_rate(video: Path, info: VideoInfo, frame_s: float, end_s: float) -> Iterator[tuple[Frame, int]]:
    """Yield the frames to show, each with the number of times it is shown at one frame every `frame_s` seconds."""
    next_s = 0.0
    for frame in decode(video, info):
        if frame.time_s >= end_s:
            return
        repeats = 0
        while next_s <= frame.time_s + 1e-6:
            repeats, next_s = repeats + 1, next_s + frame_s
        if repeats:
            yield frame, repeats


def _overlay(picture: Picture, heat: Heat, time_s: float, source: VideoInfo) -> Picture:
    """Return a picture under the map of its time; a map of a box gets a white frame."""
    height, width = picture.shape[:2]
    values, box = heat.at(time_s)
    if box is None:
        return with_gradcam(picture, resized(values, height, width))
    x0, x1 = (round(float(box[i]) * width / source.width) for i in (0, 2))
    y0, y1 = (round(float(box[i]) * height / source.height) for i in (1, 3))
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    if right <= left or bottom <= top:
        return picture
    inner = resized(values, max(y1 - y0, 1), max(x1 - x0, 1))[top - y0 : bottom - y0, left - x0 : right - x0]
    overlay = picture.copy()
    overlay[top:bottom, left:right] = with_gradcam(picture[top:bottom, left:right], inner)
    overlay[[top, bottom - 1], left:right] = 255
    overlay[top:bottom, [left, right - 1]] = 255
    return overlay
