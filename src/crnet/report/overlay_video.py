"""The overlay film: the video itself under Grad-CAM, the whole picture's on the left and the face's on the right."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import Float32, Float64
from numpy.typing import NDArray

from crnet.media.mtcnn import squared
from crnet.media.video import decode, probe
from crnet.report.pictures import Picture, resized, with_gradcam
from crnet.types import Clip
from crnet.utils.files import replacing
from crnet.utils.progress import Progress, no_progress

LONGEST_S = 60.0
HIGHEST_PX, WIDEST_PX = 360, 640  # of one of the two pictures
MOST_FPS = 15
OPTIONS = {"preset": "veryfast", "crf": "25"}


@dataclass(frozen=True, eq=False)
class Heat:
    """Grad-CAM of one stream over time.

    Attributes:
        time_s: float64 [T], when each map is taken.
        maps: float32 [T, P, P], 1 being full colour.
        boxes: float32 [T, 4], which part of the picture the maps cover: x0 y0 x1 y1 in source pixels; None: all of it.
    """

    time_s: Float64[np.ndarray, " T"]
    maps: Float32[np.ndarray, "T P P"]
    boxes: Float32[np.ndarray, "T 4"] | None = None

    def at(self, time_s: float) -> tuple[Float32[np.ndarray, "P P"], Float32[np.ndarray, " 4"] | None]:
        """Map and box at a moment, linear between the frames that the network saw."""
        after = int(np.clip(np.searchsorted(self.time_s, time_s), 1, max(len(self.time_s) - 1, 1)))
        if len(self.time_s) == 1:
            return self.maps[0], None if self.boxes is None else self.boxes[0]
        start, end = self.time_s[after - 1], self.time_s[after]
        part = np.float32(np.clip((time_s - start) / max(end - start, 1e-9), 0, 1))
        mixed = [
            None if values is None else values[after - 1] * (1 - part) + values[after] * part
            for values in (self.maps, self.boxes)
        ]
        return mixed[0], mixed[1]  # type: ignore[return-value]


def face_squares(clip: Clip, frames: NDArray[np.int64], margin: float) -> Float32[np.ndarray, "T 4"]:
    """Which part of the picture the face stream saw in each frame; the central square where no face was found."""
    boxes = clip.face_box[frames]
    squares = squared(boxes)
    side = squares[:, 2:3] - squares[:, 0:1]
    squares = squares + side * np.float32(margin) * np.array([-1, -1, 1, 1], np.float32)
    half = min(clip.width, clip.height) / 2
    centre = np.array([clip.width / 2, clip.height / 2] * 2, np.float32) + half * np.array([-1, -1, 1, 1], np.float32)
    return np.where(np.isnan(boxes).any(axis=1, keepdims=True), centre, squares).astype(np.float32)


def write_film(path: Path, video: Path, panels: list[Heat], progress: Progress = no_progress) -> None:
    """Write the film as H.264 in mp4, without sound; at most `LONGEST_S` seconds of it.

    Args:
        path: The mp4.
        video: Where its pictures come from.
        panels: What is laid over them, from left to right.
        progress: Told after every frame.

    Raises:
        MediaError: The video cannot be read.
        StorageError: The film cannot be written.
    """
    info = probe(video)
    scale = min(HIGHEST_PX / info.height, WIDEST_PX / info.width, 1.0)
    width, height = (max(2 * round(side * scale / 2), 2) for side in (info.width, info.height))
    every_s = 1 / min(info.fps, MOST_FPS)
    rate = Fraction(round(1000 / every_s), 1000)
    end_s, next_s = min(info.duration_s, LONGEST_S), 0.0
    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=OPTIONS)
        stream.width, stream.height, stream.pix_fmt = len(panels) * width, height, "yuv420p"
        written = 0
        for frame in decode(video, info):
            if frame.time_s >= end_s:
                break
            if frame.time_s < next_s - 1e-6:
                continue
            picture = frame.rgb(width, height)
            painted = np.hstack([_painted(picture, heat, frame.time_s, info.width, info.height) for heat in panels])
            while next_s <= frame.time_s + 1e-6:  # a frame that is shown for longer stands in for the missing ones
                shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(painted), format="rgb24")
                shown.pts, shown.time_base = written, 1 / rate
                container.mux(stream.encode(shown))
                written, next_s = written + 1, next_s + every_s
            progress("overlay film", min(round(frame.time_s * 10), round(end_s * 10)), round(end_s * 10))
        container.mux(stream.encode(None))
    progress("overlay film", round(end_s * 10), round(end_s * 10))


def _painted(picture: Picture, heat: Heat, time_s: float, width: int, height: int) -> Picture:
    """A picture with the map of a moment where it belongs; `width` and `height` are the source's."""
    shown_height, shown_width = picture.shape[:2]
    values, box = heat.at(time_s)
    if box is None:
        return with_gradcam(picture, resized(values, shown_height, shown_width))
    x0, x1 = (round(float(box[i]) * shown_width / width) for i in (0, 2))
    y0, y1 = (round(float(box[i]) * shown_height / height) for i in (1, 3))
    inner = resized(values, max(y1 - y0, 1), max(x1 - x0, 1))
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, shown_width), min(y1, shown_height)
    if right <= left or bottom <= top:
        return picture
    painted = picture.copy()
    inner = inner[top - y0 : bottom - y0, left - x0 : right - x0]
    painted[top:bottom, left:right] = with_gradcam(picture[top:bottom, left:right], inner)
    return _framed(painted, top, bottom, left, right)


def _framed(picture: Picture, top: int, bottom: int, left: int, right: int) -> Picture:
    """A thin white line round a part of a picture."""
    picture[[top, bottom - 1], left:right] = 255
    picture[top:bottom, [left, right - 1]] = 255
    return picture
