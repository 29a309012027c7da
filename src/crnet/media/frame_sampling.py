"""Which moments of a video are looked at: equal segments, and the frames that are kept of each."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

MAX_FRAMES_PER_SEGMENT = 128
BOUNDARY_SLACK = 1e-6  # of a segment: a frame on a boundary belongs to the later segment, rounding errors or not


def choose_kept(
    times_s: Float64[np.ndarray, " n"], duration_s: float, segments: int, per_segment: int | None
) -> tuple[Int64[np.ndarray, " k"], NDArray[np.int16]]:
    """Which frames to keep of each equal segment of [0, duration_s].

    Args:
        times_s: When each frame is shown, ascending.
        duration_s: Length of the video.
        segments: Number of equal segments.
        per_segment: Frames to keep of each segment, evenly spaced and always with the frame nearest the segment's
            middle (1: that frame alone). None keeps all, up to `MAX_FRAMES_PER_SEGMENT`.

    Returns:
        Indices of frames, ascending, and the segment of each. A segment without a frame of its own gets the frame
        nearest its middle, so an index can occur more than once.
    """
    limit = min(per_segment or MAX_FRAMES_PER_SEGMENT, MAX_FRAMES_PER_SEGMENT)
    owner = _segment_of(times_s, duration_s, segments)
    kept: list[int] = []
    segment: list[int] = []
    for s, middle in enumerate(middle_frames(times_s, duration_s, segments)):
        own = np.flatnonzero(owner == s)
        chosen = _spread(own, int(middle), limit) if len(own) else [int(middle)]
        kept += chosen
        segment += [s] * len(chosen)
    return np.array(kept, dtype=np.int64), np.array(segment, dtype=np.int16)


def middle_frames(
    times_s: Float64[np.ndarray, " n"], duration_s: float, segments: int
) -> Int64[np.ndarray, " segments"]:
    """Of each segment, its frame nearest the middle; of a segment without frames, the nearest of the whole video."""
    owner = _segment_of(times_s, duration_s, segments)
    middles = np.zeros(segments, dtype=np.int64)
    for s in range(segments):
        own = np.flatnonzero(owner == s)
        candidates = own if len(own) else np.arange(len(times_s))
        middles[s] = candidates[nearest(times_s[candidates], (s + 0.5) * duration_s / segments)]
    return middles


def _segment_of(times_s: Float64[np.ndarray, " n"], duration_s: float, segments: int) -> Int64[np.ndarray, " n"]:
    return np.clip(np.floor(times_s * segments / duration_s + BOUNDARY_SLACK), 0, segments - 1).astype(np.int64)


def _spread(own: Int64[np.ndarray, " n"], middle: int, limit: int) -> list[int]:
    """At most `limit` of a segment's frames, evenly spaced, `middle` among them."""
    if len(own) <= limit:
        return [int(i) for i in own]
    places = np.floor((np.arange(limit) + 0.5) * len(own) / limit).astype(np.int64)
    place_of_middle = np.searchsorted(own, middle)
    places[np.argmin(np.abs(places - place_of_middle))] = place_of_middle
    return [int(i) for i in own[places]]


def nearest(times_s: Float64[np.ndarray, " n"], time_s: float) -> int:
    """Index of the time nearest `time_s`; the earlier of two equally near."""
    after = int(np.searchsorted(times_s, time_s))
    if after == 0:
        return 0
    if after == len(times_s) or time_s - times_s[after - 1] <= times_s[after] - time_s:
        return after - 1
    return after
