"""Read videos through FFmpeg (PyAV): when each frame appears, and its picture, upright and in square pixels."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crnet.errors import MediaError
from crnet.media.colour import colour_warning, complete_tags, to_rgb
from crnet.media.container import (
    EDITED_FORMATS,
    NOT_A_VIDEO_REMEDY,
    Losses,
    decode_packet,
    is_too_large,
    open_media,
    stated_duration_s,
)
from crnet.media.frame_times import FrameTimes, display_times, frame_times, last_frame_s
from crnet.media.orientation import Orientation
from crnet.media.planes import can_cut, cut
from crnet.media.pyav import VideoReformatter
from crnet.media.streams import audio_stream, track_warnings_of, video_stream
from crnet.media.timeline import Timeline, read_shifted, scan_packets
from crnet.media.track import Shifts, Track, is_joined
from crnet.types import LONGEST_S

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, UInt8

SIMULATED_COMMENT = "crnet simulate: drawn person"
"""Value of the container's `comment` tag that marks a video of `crnet simulate`. Part of the file format."""

MOST_FPS = 1e6  # high-speed cameras reach it with strips of a few pixels
DEFAULT_FPS = 25.0  # for a file that states neither times nor a rate
FORMATS_WITHOUT_PTS = frozenset({"avi"})
"""Containers that store the order of decoding only, which is not that of display if frames refer to later ones."""
TRUNCATED_BELOW = 0.9  # a file is truncated if it ends before this share of the length that it states


@dataclass(frozen=True, eq=False)
class VideoInfo:
    """Properties of a video that are known without decoding it.

    Attributes:
        path: The file.
        width, height: Size as displayed, after rotation and in square pixels.
        fps: Mean frames per second.
        frame_times_s: float64 [n], when each frame appears, ascending from 0.
        duration_s: Seconds from the appearance of the first frame to the end of the last, which stays on screen for as
            long as the file says.
        has_audio: Whether there is an audio track.
        orientation: How the stored picture is turned and mirrored for display.
        simulated: True for a video of `crnet simulate`.
        truncated: The packets do not reach the length that the file states.
        frame_stamps: The time stamp of each frame; None if the packets do not say when frames appear: then all frames
            were decoded once, and are counted.
        timeline: The clock that the picture shares with the sound.
        lost_frames: Number of frames that cannot be decoded, as far as known.
        frame_bytes: Memory that the first frame takes, decoded.
        warnings: What a user should know about the tracks that are read and the colours.
        is_still: Whether it holds a single picture, and so is a photo and not a video.
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
    frame_stamps: tuple[int, ...] | None
    timeline: Timeline
    lost_frames: int
    frame_bytes: int
    warnings: tuple[str, ...] = ()
    is_still: bool = False


def probe(path: Path | str, *, count_frames: bool = False) -> VideoInfo:
    """Read the properties of a video from its packets; only the first frame is decoded.

    If the packets do not say when each frame appears (time stamps are missing, repeated or restarted, or the first
    frames cannot be shown), all frames are decoded and counted.

    Args:
        path: The video.
        count_frames: Decode and count all frames in any case.

    Raises:
        MediaError: The file is missing, a folder, empty or not a video; it has no video track, no frames, frames beyond
            `container.MAX_PIXELS`, or would last longer than any clip.
    """
    path = Path(path)
    with open_media(path) as container:
        stream = video_stream(container, path)
        has_audio = bool(container.streams.audio)
        simulated = container.metadata.get("comment") == SIMULATED_COMMENT
        rate = float(stream.average_rate or stream.guessed_rate or 0) or DEFAULT_FPS
        stated_s = stated_duration_s(container, stream)
        file_start_s = None if container.start_time is None else container.start_time / 1_000_000  # microseconds
        audio = audio_stream(container, path)
        track_warnings = track_warnings_of(container, stream, audio, path)
        scan = scan_packets(container, stream, audio, path)
        # As in players, the container decides where it disagrees with the bitstream.
        aspect = float(stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or 1)
        stated_frames = stream.frames  # 0 if the file does not say
        lacks_pts = container.format.name in FORMATS_WITHOUT_PTS
        has_edits = container.format.name in EDITED_FORMATS
        is_reordered = bool(stream.codec_context.has_b_frames)
    first, times, lost = scan.first_frame, None, 0
    if not (count_frames or (lacks_pts and is_reordered)):
        times = frame_times(scan.video, first.pts, scan.video_shifts, lacks_pts=lacks_pts)
    if times is None:
        times, lost = _counted(path, scan.video_shifts, scan.video, rate, lacks_pts=lacks_pts)
    if is_joined(scan.video_shifts):
        stated_s = 0.0  # at most, the length of one of the joined recordings
    duration_s = float(times.times_s[-1]) + last_frame_s(scan.video, times, stated_s, rate)
    if not len(times.times_s) / MOST_FPS < duration_s <= LONGEST_S:
        reason = f"its time stamps are damaged: {len(times.times_s)} frames would last {duration_s:.3g} s"
        raise MediaError(reason, path=path, remedy=NOT_A_VIDEO_REMEDY)
    late_picture_s = 0.0 if file_start_s is None else max(times.zero_s - file_start_s, 0.0)
    start_s = max(times.zero_s, 0.0) if has_edits else 0.0  # the length that is stated may include an empty edit
    truncated = scan.losses.stopped or max(start_s + duration_s, scan.end_s) < TRUNCATED_BELOW * stated_s
    orientation = Orientation.of_frame(first)
    width, height = orientation.size(round(first.width * aspect) or 1, first.height)
    return VideoInfo(
        path=path,
        width=width,
        height=height,
        fps=len(times.times_s) / duration_s,
        frame_times_s=times.times_s,
        duration_s=duration_s,
        has_audio=has_audio,
        orientation=orientation,
        simulated=simulated,
        truncated=truncated,
        frame_stamps=times.stamps,
        timeline=Timeline(times.zero_s, scan.video_shifts, scan.audio_shifts, late_picture_s),
        lost_frames=lost,
        frame_bytes=_bytes(first),
        is_still=len(times.times_s) + lost == 1 and (stated_frames == 1 or not truncated),
        warnings=tuple(filter(None, (*track_warnings, colour_warning(first), _lacking_warning(scan.lacking_s)))),
    )


def _lacking_warning(lacking_s: float) -> str | None:
    if not lacking_s:
        return None
    return f"time stamps of the picture lack {lacking_s:.1f} s: it may be out of step with the sound"


def _counted(path: Path, shifts: Shifts, track: Track, rate: float, *, lacks_pts: bool) -> tuple[FrameTimes, int]:
    """Decode all frames; return when each appears, and how many cannot be decoded."""
    with open_media(path) as container:
        losses = Losses()
        pictures = _decoded_pictures(container, video_stream(container, path), shifts, None, losses)
        stamps = [picture.pts for picture in pictures if not is_too_large(picture.width, picture.height)]
    times = display_times(stamps, track, rate, lacks_pts=lacks_pts)
    start = round(times.zero_s / track.time_base)
    unshown = sum(stamp is not None and stamp < start for stamp in (track.pts[number] for number in track.shown()))
    return times, losses.packets + (0 if lacks_pts else unshown)


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
        stamps = info.frame_stamps
        wanted = None if stamps is None or requested is None else {stamps[index] for index in requested}
        pictures = _decoded_pictures(container, stream, info.timeline.video_shifts, wanted, Losses())
        shown = (picture for picture in pictures if not is_too_large(picture.width, picture.height))
        for index, picture in _numbered(shown, stamps):
            if index < len(info.frame_times_s):
                complete_tags(picture)
                yield Frame(index, float(info.frame_times_s[index]), info, picture, scaler)


def _numbered(pictures: Iterator[Any], stamps: tuple[int, ...] | None) -> Iterator[tuple[int, Any]]:
    """Yield the pictures in order of time with the index of each; a picture of unknown time is left out."""
    if stamps is None:
        yield from enumerate(pictures)
        return
    indices, previous = {stamp: index for index, stamp in enumerate(stamps)}, -1
    for picture in pictures:
        index = indices.get(picture.pts, -1)
        if index > previous:
            previous = index
            yield index, picture


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


def _decoded_pictures(
    container: Any, stream: Any, shifts: Shifts, time_stamps: Collection[int] | None, losses: Losses
) -> Iterator[Any]:
    """Yield the decoded frames with these time stamps (None: all), and the frames that others refer to."""
    for packet in read_shifted(container, stream, shifts, losses):
        if time_stamps is not None and packet.size:
            is_requested = packet.pts is None or packet.pts in time_stamps
            stream.codec_context.skip_frame = "DEFAULT" if is_requested else "NONREF"
        yield from decode_packet(packet, losses)


def _bytes(picture: Any) -> int:
    return sum(plane.buffer_size for plane in picture.planes)
