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
from crnet.media.container import (
    decode_packet,
    is_too_large,
    open_media,
    read_packets,
    scan_packets,
    stated_duration_s,
    video_stream,
)
from crnet.media.frame_sampling import nearest
from crnet.utils.extras import install_command

try:
    import av
    from av.video.reformatter import Interpolation, VideoReformatter
except ImportError as error:
    raise MissingDependencyError("reading videos needs the package av", remedy=install_command("av")) from error

SIMULATED_COMMENT = "crnet simulate: drawn person"
"""Value of the container's `comment` tag that marks a video of `crnet simulate`. Part of the file format."""

DEFAULT_FPS = 25.0  # for a file that states neither times nor a rate
TRUNCATED_BELOW = 0.9  # a file is truncated if it ends before this share of the length that it states

PLAIN_FORMATS = frozenset({"yuv420p", "yuvj420p"})
SCALING = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
"""Area averaging, and the same bytes on every processor."""


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
        rotation_deg: 0, 90, 180 or 270: clockwise rotation that makes the stored picture upright.
        simulated: True for a video of `crnet simulate`.
        truncated: The packets do not reach the length that the file states.
        start_pts: Time stamp of the first frame, in `time_base`; None if the packets carry no times.
        time_base: Seconds per unit of a time stamp.
        frame_bytes: Memory that the first frame takes, decoded.
    """

    path: Path
    width: int
    height: int
    fps: float
    frame_times_s: Float64[np.ndarray, " n"]
    duration_s: float
    has_audio: bool
    rotation_deg: int
    simulated: bool
    truncated: bool
    start_pts: int | None
    time_base: Fraction
    frame_bytes: int


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
        scan = scan_packets(container, stream, path)
        aspect = float(stream.codec_context.sample_aspect_ratio or stream.sample_aspect_ratio or 1)
    times_s, start_pts = _frame_times(scan.time_stamps, time_base, rate)
    last_s = statistics.median(scan.durations) * float(time_base) if scan.durations else 0.0
    duration_s = float(times_s[-1]) + (last_s if 0 < last_s < 10 else 1 / rate)
    first = scan.first_frame
    rotation_deg = -round(first.rotation / 90) * 90 % 360
    width, height = round(first.width * aspect) or 1, first.height
    if rotation_deg in (90, 270):
        width, height = height, width
    return VideoInfo(
        path=path,
        width=width,
        height=height,
        fps=len(times_s) / duration_s,
        frame_times_s=times_s,
        duration_s=duration_s,
        has_audio=has_audio,
        rotation_deg=rotation_deg,
        simulated=simulated,
        truncated=max(duration_s, scan.end_s) < TRUNCATED_BELOW * stated_s,
        start_pts=start_pts,
        time_base=time_base,
        frame_bytes=_bytes(first),
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
        width, height = self.picture.width, self.picture.height
        return (height, width) if self.info.rotation_deg in (90, 270) else (width, height)

    def rgb(self, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """Return the whole frame at another size, without keeping its aspect ratio."""
        if self.info.rotation_deg in (90, 270):
            width, height = height, width
        small = self.scaler.reformat(self.picture, width, height, "rgb24", interpolation=SCALING, threads=1)
        return self._upright(small.to_ndarray())

    def rgb_full(self) -> UInt8[np.ndarray, "h w 3"]:
        """Return the frame at its stored resolution; pixels may not be square (see `info.width`)."""
        return self._upright(self.picture.reformat(format="rgb24", threads=1).to_ndarray())

    def rgb_part(self, box: Float32[np.ndarray, " 4"]) -> tuple[UInt8[np.ndarray, "h w 3"], tuple[int, int]]:
        """Return a part of `rgb_full` that holds a box, and its upper left corner (x, y).

        Of the usual pictures, upright in 8-bit 4:2:0, only the part is converted to RGB, which saves most of the time.
        Other pictures are returned whole.

        Args:
            box: x0 y0 x1 y1 in pixels of `rgb_full`.
        """
        width, height = self.picture.width, self.picture.height
        if self.info.rotation_deg or self.picture.format.name not in PLAIN_FORMATS or width % 2 or height % 2:
            return self.rgb_full(), (0, 0)
        # Squares of two by two pixels share their colour, so the part starts and ends at even pixels.
        x0, y0 = (min(max(int(low) // 2 * 2, 0), size - 2) for low, size in zip(box[:2], (width, height), strict=True))
        x1, y1 = (max(min(-(-int(high + 1) // 2) * 2, size), low + 2)
                  for high, size, low in zip(box[2:], (width, height), (x0, y0), strict=True))  # fmt: skip
        parts = []
        for plane, step in zip(self.picture.planes, (1, 2, 2), strict=True):
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            parts.append(rows[y0 // step : y1 // step, x0 // step : x1 // step].ravel())
        part = av.VideoFrame.from_ndarray(np.concatenate(parts).reshape(-1, x1 - x0), format=self.picture.format.name)
        part.colorspace, part.color_range = self.picture.colorspace, self.picture.color_range
        return part.reformat(format="rgb24", threads=1).to_ndarray(), (x0, y0)

    def _upright(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
        return np.rot90(image, k=-self.info.rotation_deg // 90)  # rot90 turns counterclockwise


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
