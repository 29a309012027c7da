"""Read videos through FFmpeg (PyAV): when each frame appears, and its picture, upright and in square pixels."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from crnet.errors import MissingDependencyError
from crnet.media.colour import colour_warning, complete_tags, to_rgb
from crnet.media.container import (
    decode_packet,
    is_too_large,
    open_media,
    read_packets,
    scan_packets,
    stated_duration_s,
)
from crnet.media.frame_sampling import nearest
from crnet.media.orientation import Orientation
from crnet.media.planes import can_cut, cut
from crnet.media.streams import track_warnings_of, video_stream
from crnet.utils.extras import install_command

try:
    from av.video.reformatter import VideoReformatter
except ImportError as error:
    raise MissingDependencyError("reading videos needs the package av", remedy=install_command("av")) from error

SIMULATED_COMMENT = "crnet simulate: drawn person"
"""Value of the container's `comment` tag that marks a video of `crnet simulate`. Part of the file format."""

DEFAULT_FPS = 25.0  # for a file that states neither times nor a rate
TRUNCATED_BELOW = 0.9  # a file is truncated if it ends before this share of the length that it states


@dataclass(frozen=True, eq=False)
class VideoInfo:
    """Properties of a video that are known without decoding it.

    Attributes:
        path: The file.
        width, height: Size as displayed, after rotation and in square pixels.
        fps: Mean frames per second.
        frame_times_s: float64 [n], when each frame appears, ascending from 0.
        duration_s: Seconds from the appearance of the first frame to the end of the last.
        has_audio: Whether there is an audio track.
        orientation: How the stored picture is turned and mirrored for display.
        simulated: True for a video of `crnet simulate`.
        truncated: The packets do not reach the length that the file states.
        start_pts: Time stamp of the first frame, in `time_base`; None if the packets carry no times.
        time_base: Seconds per unit of a time stamp.
        frame_bytes: Memory that the first frame takes, decoded.
        warnings: What a user should know about the tracks that are read and the colours.
    """

    path: Path
    width: int
    height: int
    fps: float
    frame_times_s: Float64[np.ndarray, " n"]
    duration_s: float
    has_audio: bool
    orientation: Orientation
    simulated: bool
    truncated: bool
    start_pts: int | None
    time_base: Fraction
    frame_bytes: int
    warnings: tuple[str, ...] = ()


def probe(path: Path | str) -> VideoInfo:
    """Read the properties of a video from its packets; only the first frame is decoded.

    Raises:
        MediaError: The file is missing, a folder, empty or not a video; it has no video track, no frames, or frames
            beyond `container.MAX_PIXELS`.
    """
    path = Path(path)
    with open_media(path) as container:
        stream = video_stream(container, path)
        has_audio = bool(container.streams.audio)
        simulated = container.metadata.get("comment") == SIMULATED_COMMENT
        time_base = stream.time_base or Fraction(1, 90_000)
        rate = float(stream.average_rate or stream.guessed_rate or 0) or DEFAULT_FPS
        stated_s = stated_duration_s(container, stream)
        track_warnings = track_warnings_of(container, stream, path)
        scan = scan_packets(container, stream, path)
        # As in players, the container decides where it disagrees with the bitstream.
        aspect = float(stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or 1)
    times_s, start_pts = _frame_times(scan.time_stamps, time_base, rate)
    last_s = statistics.median(scan.durations) * float(time_base) if scan.durations else 0.0
    duration_s = float(times_s[-1]) + (last_s if 0 < last_s < 10 else 1 / rate)
    first = scan.first_frame
    orientation = Orientation.of_frame(first)
    width, height = orientation.size(round(first.width * aspect) or 1, first.height)
    return VideoInfo(
        path=path,
        width=width,
        height=height,
        fps=len(times_s) / duration_s,
        frame_times_s=times_s,
        duration_s=duration_s,
        has_audio=has_audio,
        orientation=orientation,
        simulated=simulated,
        truncated=max(duration_s, scan.end_s) < TRUNCATED_BELOW * stated_s,
        start_pts=start_pts,
        time_base=time_base,
        frame_bytes=_bytes(first),
        warnings=tuple(filter(None, (*track_warnings, colour_warning(first)))),
    )


def decode(path: Path | str, info: VideoInfo, requested: Collection[int] | None = None) -> Iterator[Frame]:
    """Yield every frame that can be decoded, in order of time; damaged packets are skipped.

    Args:
        path: The video.
        info: The result of `probe`.
        requested: Indices of the frames to decode; None means all. Other frames are decoded only if a frame refers to
            them, which saves about half of all frames in H.264.

    Raises:
        MediaError: The file cannot be opened.
    """
    path = Path(path)
    with open_media(path) as container:
        stream = video_stream(container, path)
        scaler = VideoReformatter()
        previous = -1
        for picture in _decoded_pictures(container, stream, _time_stamps_of(info, requested)):
            index = previous + 1
            if info.start_pts is not None and picture.pts is not None:
                time_s = float((picture.pts - info.start_pts) * info.time_base)
                index = nearest(info.frame_times_s, time_s)
            if previous < index < len(info.frame_times_s) and not is_too_large(picture.width, picture.height):
                previous = index
                complete_tags(picture)
                yield Frame(index, float(info.frame_times_s[index]), info, picture, scaler)


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded frame. All pictures taken from it are upright.

    Attributes:
        index: Its index in `info.frame_times_s`.
        time_s: Seconds from the first frame.
        info: The video.
        picture: The frame as PyAV decodes it.
        scaler: Reused for all frames of a video.
    """

    index: int
    time_s: float
    info: VideoInfo
    picture: Any  # av.VideoFrame
    scaler: VideoReformatter

    @property
    def bytes(self) -> int:
        """Memory that the decoded picture takes."""
        return _bytes(self.picture)

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height of `rgb_full`."""
        return self.info.orientation.size(self.picture.width, self.picture.height)

    def rgb(self, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """Return the whole frame at another size, without keeping its aspect ratio."""
        orientation = self.info.orientation
        return orientation.apply(to_rgb(self.picture, self.scaler, orientation.size(width, height)))

    def rgb_full(self) -> UInt8[np.ndarray, "h w 3"]:
        """Return the frame at its stored resolution; pixels may not be square (see `info.width`)."""
        return self.rgb_part(np.array([0, 0, *self.stored_size], dtype=np.float32))[0]

    def rgb_part(self, box: Float32[np.ndarray, " 4"]) -> tuple[UInt8[np.ndarray, "h w 3"], tuple[int, int]]:
        """Return a part of `rgb_full` that holds a box, and its upper left corner (x, y).

        Pictures in an unusual format are returned whole.

        Args:
            box: x0 y0 x1 y1 in pixels of `rgb_full`.
        """
        orientation, size = self.info.orientation, self.stored_size
        if not can_cut(self.picture):
            return orientation.apply(to_rgb(self.picture)), (0, 0)
        part, (left, top, _, _), inner = cut(self.picture, orientation.stored_box(box, *size))
        x0, y0, x1, y1 = inner
        image = to_rgb(part)[y0 - top : y1 - top, x0 - left : x1 - left]
        return orientation.apply(image), orientation.displayed_box(inner, *size)[:2]


def _decoded_pictures(container: Any, stream: Any, time_stamps: Collection[int] | None) -> Iterator[Any]:
    """Yield the decoded frames with these time stamps (None: all), and the frames that others refer to."""
    for packet in read_packets(container, stream):
        if time_stamps is not None and packet.size:
            is_requested = packet.pts is None or packet.pts in time_stamps
            stream.codec_context.skip_frame = "DEFAULT" if is_requested else "NONREF"
        yield from decode_packet(packet)


def _time_stamps_of(info: VideoInfo, frames: Collection[int] | None) -> Collection[int] | None:
    """Return the time stamps of frames; None (all) if the packets carry none."""
    if frames is None or info.start_pts is None:
        return None
    return {info.start_pts + round(float(info.frame_times_s[index]) / info.time_base) for index in frames}


def _bytes(picture: Any) -> int:
    return sum(plane.buffer_size for plane in picture.planes)


def _frame_times(
    time_stamps: list[int | None], time_base: Fraction, rate: float
) -> tuple[Float64[np.ndarray, " n"], int | None]:
    """Return when each frame appears, in seconds from 0, and the first time stamp.

    If most packets carry no time stamp, frames are spaced evenly by `rate`, and the first time stamp is None.
    """
    stamps = sorted({stamp for stamp in time_stamps if stamp is not None})
    if len(stamps) < len(time_stamps) / 2 or not stamps:
        return np.arange(max(len(time_stamps), 1), dtype=np.float64) / rate, None
    return (np.array(stamps, dtype=np.int64) - stamps[0]) * float(time_base), stamps[0]
