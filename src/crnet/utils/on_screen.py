"""Which frame of a video is on screen: a frame stays until the next one appears."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64

ON_SCREEN_SLACK_S = 2e-3  # a frame that starts this much later is on screen: containers round times to milliseconds


def middle_frames(
    times_s: Float64[np.ndarray, " n"], duration_s: float, segments: int
) -> Int64[np.ndarray, " segments"]:
    """Return the index of the frame on screen at the middle of each equal segment of [0, duration_s].

    That is the last frame that has appeared, or the first frame of the video.
    """
    segment_s = duration_s / segments
    slack_s = min(ON_SCREEN_SLACK_S, segment_s / 4)
    middles_s = (np.arange(segments) + 0.5) * segment_s
    return np.maximum(np.searchsorted(times_s, middles_s + slack_s, side="right") - 1, 0)
