"""Which frames of a video are used: equal segments, and the frames to keep of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crnet.types import Faces
from crnet.utils.on_screen import middle_frames

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Float64, Int64
    from numpy.typing import NDArray

MAX_FRAMES_PER_SEGMENT = 128
BOUNDARY_SLACK = 1e-6  # of a segment: a frame on a boundary belongs to the later segment, despite rounding


@dataclass(frozen=True, eq=False)
class FrameSelection:
    """The frames to keep of a video, in order of time.

    Attributes:
        frames: int64 [k], indices of the frames, ascending. A frame can occur more than once.
        segment: int16 [k], the segment of each.
        is_middle: bool [k], whether a frame is the middle frame of its segment.
    """

    frames: Int64[np.ndarray, " k"]
    segment: NDArray[np.int16]
    is_middle: Bool[np.ndarray, " k"]


def select_frames(
    times_s: Float64[np.ndarray, " n"], duration_s: float, segments: int, per_segment: int | None
) -> FrameSelection:
    """Select the frames to keep of each equal segment of [0, duration_s].

    They are the frames that appear in the segment, and the one on screen at its middle, which may have appeared before.

    Args:
        times_s: When each frame appears, ascending.
        duration_s: Length of the video.
        segments: Number of equal segments.
        per_segment: Frames to keep of each segment, evenly spaced and always with its middle frame (1: that frame
            alone). None keeps all, up to `MAX_FRAMES_PER_SEGMENT`.
    """
    limit = min(per_segment or MAX_FRAMES_PER_SEGMENT, MAX_FRAMES_PER_SEGMENT)
    starts = np.searchsorted(_segment_of(times_s, duration_s, segments), np.arange(segments + 1))
    middles = middle_frames(times_s, duration_s, segments)
    frames: list[int] = []
    segment: list[int] = []
    for number, middle in enumerate(middles.tolist()):
        candidates = np.arange(starts[number], starts[number + 1])
        if middle < starts[number]:
            candidates = np.concatenate([[middle], candidates])
        selected = _spread(candidates, middle, limit)
        frames += selected
        segment += [number] * len(selected)
    indices = np.array(frames, dtype=np.int64)
    return FrameSelection(indices, np.array(segment, dtype=np.int16), indices == middles[segment])


def count_faces(
    times_s: Float64[np.ndarray, " k"], duration_s: float, segments: int, boxes: Float32[np.ndarray, "k 4"]
) -> Faces:
    """Count the segments whose middle frame shows the person's face.

    Args:
        times_s: When each kept frame appears, ascending.
        duration_s: Length of the video.
        segments: Number of equal segments.
        boxes: The person's face in each frame; NaN where it is not in view.
    """
    middles = middle_frames(times_s, duration_s, segments)
    return Faces(int(np.isfinite(boxes[middles]).all(axis=1).sum()), len(middles))


def _segment_of(times_s: Float64[np.ndarray, " n"], duration_s: float, segments: int) -> Int64[np.ndarray, " n"]:
    return np.clip(np.floor(times_s * segments / duration_s + BOUNDARY_SLACK), 0, segments - 1).astype(np.int64)


def _spread(candidates: Int64[np.ndarray, " n"], middle: int, limit: int) -> list[int]:
    """Return at most `limit` of a segment's frames, evenly spaced, with `middle` among them."""
    if len(candidates) <= limit:
        return [int(index) for index in candidates]
    places = np.floor((np.arange(limit) + 0.5) * len(candidates) / limit).astype(np.int64)
    middle_place = np.searchsorted(candidates, middle)
    places[np.argmin(np.abs(places - middle_place))] = middle_place
    return [int(index) for index in candidates[places]]
