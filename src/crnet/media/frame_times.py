"""When each frame of a video appears, and when the last one ends."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crnet.media.track import Shifts, Track, is_joined

if TYPE_CHECKING:
    from jaxtyping import Float64

LONGEST_LAST_FRAME_S = 10.0  # of a file that states no duration: a longer last frame is damage
ROUNDING_S = 0.1  # a duration that the file states may be this much shorter than its frames
KNOWN_SHARE = 0.5  # of the frames must have a time stamp, else frames are spaced evenly


@dataclass(frozen=True, eq=False)
class FrameTimes:
    """When the frames of a video appear.

    Attributes:
        times_s: float64 [n], ascending from 0.
        zero_s: Time stamp of the first frame in seconds.
        stamps: The time stamp of each frame in ticks; None if frames are counted.
    """

    times_s: Float64[np.ndarray, " n"]
    zero_s: float
    stamps: tuple[int, ...] | None


def frame_times(
    track: Track, first_frame: int | None, shifts: Shifts = (), *, lacks_pts: bool = False
) -> FrameTimes | None:
    """Return when each frame appears by the packets; None if they do not tell.

    Args:
        track: The packets of the video.
        first_frame: Time stamp of the first frame that can be decoded, as read.
        shifts: What was added to the time stamps of the track.
        lacks_pts: Whether the container stores decoding times only. Without reordering, frames are shown at these.
    """
    stamps = [track.pts[number] for number in track.shown()]
    known = sorted({stamp for stamp in stamps if stamp is not None})
    if not known or len(known) < len(stamps) or is_joined(shifts):
        return None
    if first_frame is None or first_frame + sum(ticks or 0 for _, ticks in shifts) != known[0]:
        return None
    times_s = (np.array(known, dtype=np.int64) - known[0]) * float(track.time_base)
    decoding = [stamp for number in track.shown() if (stamp := track.dts[number]) is not None]
    zero = min(decoding) if lacks_pts and decoding else known[0]
    return FrameTimes(times_s, float(zero * track.time_base), tuple(known))


def display_times(stamps: Sequence[int | None], track: Track, rate: float, *, lacks_pts: bool) -> FrameTimes:
    """Return when each decoded frame appears.

    A frame without a time stamp, or whose stamp is not later than all before it, appears at an even distance between
    its neighbours.

    Args:
        stamps: Time stamps of all frames that can be decoded, in the order of display.
        track: The packets of the video.
        rate: Frames per second that the file states.
        lacks_pts: Whether the container stores decoding times only. Then, the n-th frame is shown at the n-th of these.
    """
    if lacks_pts:
        decoding = sorted(stamp for number in track.shown() if (stamp := track.dts[number]) is not None)
        stamps = [*decoding[: len(stamps)], *[None] * (len(stamps) - len(decoding))]
    latest, known, values = -float("inf"), [], []
    for number, stamp in enumerate(stamps):
        if stamp is not None and stamp > latest:
            latest = stamp
            known.append(number)
            values.append(float(stamp * track.time_base))
    count = len(stamps)
    if len(known) < max(KNOWN_SHARE * count, 1):
        return FrameTimes(np.arange(count) / rate, values[0] if values else 0.0, None)
    numbers = np.arange(count, dtype=np.float64)
    times_s = np.interp(numbers, known, values)
    within = np.diff(times_s[known[0] : known[-1] + 1])
    step_s = float(np.median(within)) if len(within) else 1 / rate
    times_s += step_s * (np.maximum(numbers - known[-1], 0) - np.maximum(known[0] - numbers, 0))
    return FrameTimes(times_s - times_s[0], float(times_s[0]), None)


def last_frame_s(track: Track, times: FrameTimes, stated_s: float, rate: float) -> float:
    """Return how long the last frame stays on screen, in seconds: as long as the file says, if that can be true.

    Args:
        track: The packets of the video.
        times: When the frames appear.
        stated_s: Duration of the video that the file states; 0 if it states none.
        rate: Frames per second that the file states.
    """
    shown = track.shown()
    last = max(shown, key=lambda number: track.pts[number] or 0, default=None)
    duration_s = 0.0 if last is None else float(track.durations[last] * track.time_base)
    if times.stamps is None and len(times.times_s) > 1:  # packets that do not tell frames apart may be single fields
        duration_s = max(duration_s, float(np.median(np.diff(times.times_s))))
    if track.repeats_end is not None:
        end_s = float(track.repeats_end * track.time_base) - times.zero_s
        duration_s = max(duration_s, end_s - float(times.times_s[-1]))
    limit_s = stated_s - float(times.times_s[-1]) + ROUNDING_S if stated_s else LONGEST_LAST_FRAME_S
    if 0 < duration_s < max(limit_s, 2 / rate):
        return duration_s
    durations = [track.durations[number] for number in shown if track.durations[number]]
    typical_s = statistics.median(durations) * float(track.time_base) if durations else 0.0
    return typical_s if 0 < typical_s < LONGEST_LAST_FRAME_S else 1 / rate
