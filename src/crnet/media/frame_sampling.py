"""Which frames of a video are used: equal segments, and the frames to keep of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from numpy.typing import NDArray

from crnet.types import Faces

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

    A segment without frames gets the frame nearest its middle.

    Args:
        times_s: When each frame appears, ascending.
        duration_s: Length of the video.
        segments: Number of equal segments.
        per_segment: Frames to keep of each segment, evenly spaced and always with its middle frame (1: that frame
            alone). None keeps all, up to `MAX_FRAMES_PER_SEGMENT`.
    """
    limit = min(per_segment or MAX_FRAMES_PER_SEGMENT, MAX_FRAMES_PER_SEGMENT)
    segment_of_frame = _segment_of(times_s, duration_s, segments)
    middles = middle_frames(times_s, duration_s, segments)
    frames: list[int] = []
    segment: list[int] = []
    for number, middle in enumerate(middles.tolist()):
        candidates = np.flatnonzero(segment_of_frame == number)
        selected = _spread(candidates, middle, limit) if len(candidates) else [middle]
        frames += selected
        segment += [number] * len(selected)
    indices = np.array(frames, dtype=np.int64)
    return FrameSelection(indices, np.array(segment, dtype=np.int16), indices == middles[segment])


def middle_frames(
    times_s: Float64[np.ndarray, " n"], duration_s: float, segments: int
) -> Int64[np.ndarray, " segments"]:
    """Return the index of each segment's frame nearest its middle; without frames, the nearest of the whole video."""
    segment_of_frame = _segment_of(times_s, duration_s, segments)
    middles = np.zeros(segments, dtype=np.int64)
    for number in range(segments):
        candidates = np.flatnonzero(segment_of_frame == number)
        if not len(candidates):
            candidates = np.arange(len(times_s))
        middles[number] = candidates[nearest(times_s[candidates], (number + 0.5) * duration_s / segments)]
    return middles


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


def nearest(times_s: Float64[np.ndarray, " n"], time_s: float) -> int:
    """Return the index of the time nearest `time_s`; the earlier of two equally near."""
    after = int(np.searchsorted(times_s, time_s))
    if after == 0:
        return 0
    if after == len(times_s) or time_s - times_s[after - 1] <= times_s[after] - time_s:
        return after - 1
    return after


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
