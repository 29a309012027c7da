"""Reading videos through FFmpeg (PyAV): when each frame is shown, and its picture, upright and in square pixels."""

from __future__ import annotations

import contextlib
import logging
import statistics
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from crnet.errors import MediaError, MissingDependencyError
from crnet.media.frame_sampling import nearest

try:
    import av
    from av.video.reformatter import Interpolation, VideoReformatter
except ImportError as error:
    raise MissingDependencyError("reading videos needs PyAV", remedy='pip install "crnet[media]"') from error

logger = logging.getLogger(__name__)

SIMULATED_COMMENT = "crnet simulate: drawn person"
"""The container's `comment` tag that marks a clip of `crnet simulate`."""

MAX_PIXELS = 8192 * 8192
"""Larger frames are refused before anything is decoded."""

DEFAULT_FPS = 25.0  # where a file states neither times nor a rate
TRUNCATED_BELOW = 0.9  # share of the announced length from which on a file counts as whole

FORMATS_THAT_OPEN_OTHER_FILES = frozenset({"hls", "applehttp", "dash", "concat", "imf", "sdp", "rtsp", "rtp", "sap"})
"""Playlists and the like: a foreign file must not make us read another file, or the network."""

FORMATS_WITH_ONE_LENGTH = frozenset({"matroska,webm", "flv"})
"""Containers that announce one length for sound and picture together, none for each."""

NOT_A_VIDEO_REMEDY = "check that the file opens in a video player, or download it again"
PLAIN_FORMATS = frozenset({"yuv420p", "yuvj420p"})
SCALING = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
"""Area averaging, and the same bytes on every processor."""


@dataclass(frozen=True, eq=False)
class VideoInfo:
    """What a video's packets tell without decoding the whole.

    Attributes:
        path: The file.
        width, height: Size as displayed, after rotation and in square pixels.
        fps: Mean frames per second.
        frame_times_s: float64 [n], when each frame is shown, ascending from 0.
        duration_s: From the first frame's appearance to the last one's end.
        has_audio: Whether there is an audio track.
        rotation_deg: 0, 90, 180 or 270: clockwise turn that makes the stored picture upright.
        simulated: True for a clip of `crnet simulate`.
        truncated: The file announces a length that its packets do not reach.
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


def probe(path: Path) -> VideoInfo:
    """Look at a video's packets, and decode its first frame only.

    Raises:
        MediaError: Missing, a folder, empty, not a video, no video track, no frames, or frames beyond `MAX_PIXELS`.
    """
    with open_media(path) as container:
        stream = _video_stream(container, path)
        has_audio = bool(container.streams.audio)
        simulated = container.metadata.get("comment") == SIMULATED_COMMENT
        time_base = stream.time_base or Fraction(1, 90_000)
        rate = float(stream.average_rate or stream.guessed_rate or 0) or DEFAULT_FPS
        announced_s = _announced_s(container, stream)
        stamps, durations, first, reached_s = _scan(container, stream)
        if first is None:
            large = "" if stream.codec_context.width else f", or its frames have more than {MAX_PIXELS} pixels"
            reason = f"no frame of the video can be decoded{large}"
            raise MediaError(reason, path=path, remedy=NOT_A_VIDEO_REMEDY)
        _check_size(first.width, first.height, path)  # where the container names no size
        aspect = float(stream.codec_context.sample_aspect_ratio or stream.sample_aspect_ratio or 1)
    times_s, start_pts = _times(stamps, time_base, rate)
    last_s = statistics.median(durations) * float(time_base) if durations else 0.0
    duration_s = float(times_s[-1]) + (last_s if 0 < last_s < 10 else 1 / rate)
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
        truncated=max(duration_s, reached_s) < TRUNCATED_BELOW * announced_s,
        start_pts=start_pts,
        time_base=time_base,
        frame_bytes=_bytes(first),
    )


def decode(path: Path, info: VideoInfo, wanted: Collection[int] | None = None) -> Iterator[Frame]:
    """Every frame that can be decoded, in order of time; damaged packets are passed over.

    Args:
        path: The video.
        info: What `probe` found.
        wanted: The indices of the frames that matter. Of the others, those are not decoded that no frame refers to:
            in H.264 about half of all frames. Keeping 4 of 14 frames, this saves a quarter of the decoding.

    Raises:
        MediaError: The file cannot be opened (any more).
    """
    with open_media(path) as container:
        stream = _video_stream(container, path)
        scaler = VideoReformatter()
        previous = -1
        for picture in _pictures(container, stream, _stamps_of(info, wanted)):
            index = previous + 1
            if info.start_pts is not None and picture.pts is not None:
                time_s = float((picture.pts - info.start_pts) * info.time_base)
                index = nearest(info.frame_times_s, time_s)
            if previous < index < len(info.frame_times_s) and picture.width * picture.height <= MAX_PIXELS:
                previous = index
                yield Frame(index, float(info.frame_times_s[index]), info, picture, scaler)


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded frame. Its pictures are upright.

    Attributes:
        index: Which of `info.frame_times_s` it is.
        time_s: Seconds from the first frame.
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
        turned = self.info.rotation_deg in (90, 270)
        width, height = self.picture.width, self.picture.height
        return (height, width) if turned else (width, height)

    def rgb(self, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """The whole frame at another size; the aspect is not kept."""
        if self.info.rotation_deg in (90, 270):
            width, height = height, width
        small = self.scaler.reformat(self.picture, width, height, "rgb24", interpolation=SCALING, threads=1)
        return self._upright(small.to_ndarray())

    def rgb_full(self) -> UInt8[np.ndarray, "h w 3"]:
        """The frame at its stored resolution, upright; pixels may not be square (see `info.width`)."""
        return self._upright(self.picture.reformat(format="rgb24", threads=1).to_ndarray())

    def rgb_part(self, box: Float32[np.ndarray, " 4"]) -> tuple[UInt8[np.ndarray, "h w 3"], tuple[int, int]]:
        """A part of `rgb_full` that holds what it shows of a box, and the corner (x, y) where the part lies in it.

        Of the usual pictures, upright in 8-bit 4:2:0, no more than the part is converted: a face in 720p takes
        0.05 ms instead of 0.3.

        Args:
            box: x0 y0 x1 y1 in pixels of `rgb_full`.
        """
        width, height = self.picture.width, self.picture.height
        if self.info.rotation_deg or self.picture.format.name not in PLAIN_FORMATS or width % 2 or height % 2:
            return self.rgb_full(), (0, 0)
        # Pixels share their colour in squares of two by two, so a part begins and ends at even ones.
        x0, y0 = (min(max(int(low) // 2 * 2, 0), size - 2) for low, size in zip(box[:2], (width, height), strict=True))
        x1, y1 = (max(min(-(-int(high + 1) // 2) * 2, size), low + 2)
                  for high, size, low in zip(box[2:], (width, height), (x0, y0), strict=True))  # fmt: skip
        parts = []
        for plane, shared in zip(self.picture.planes, (1, 2, 2), strict=True):
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            parts.append(rows[y0 // shared : y1 // shared, x0 // shared : x1 // shared].ravel())
        part = av.VideoFrame.from_ndarray(np.concatenate(parts).reshape(-1, x1 - x0), format=self.picture.format.name)
        part.colorspace, part.color_range = self.picture.colorspace, self.picture.color_range
        return part.reformat(format="rgb24", threads=1).to_ndarray(), (x0, y0)

    def _upright(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
        return np.rot90(image, k=-self.info.rotation_deg // 90)  # rot90 turns counterclockwise


@contextlib.contextmanager
def open_media(path: Path) -> Iterator[Any]:
    """Open a media file for reading: one regular file of ours, nothing it may refer to.

    Raises:
        MediaError: Missing, a folder, empty, or of no known format.
    """
    av.logging.set_level(None)  # damaged files must not write to the terminal
    if not path.exists():
        raise MediaError("no such file", path=path, remedy="check the name")
    if not path.is_file():
        raise MediaError("not a file", path=path, remedy="give the video file itself")
    if path.stat().st_size == 0:
        raise MediaError("the file is empty", path=path, remedy="download or copy it again")
    formats = ",".join(sorted(av.formats_available - FORMATS_THAT_OPEN_OTHER_FILES))
    options = {"protocol_whitelist": "file", "format_whitelist": formats, "max_pixels": str(MAX_PIXELS)}
    try:
        container = av.open(f"file:{path.resolve()}", options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        logger.debug("%s: %s", path, error)
        raise MediaError(
            "not a video, or its beginning or index is missing", path=path, remedy=NOT_A_VIDEO_REMEDY
        ) from error
    with container:
        yield container


def _video_stream(container: Any, path: Path) -> Any:
    """The first video track that is not a cover picture.

    Raises:
        MediaError: There is none, or its frames are absurdly large.
    """
    cover = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & cover and s.codec_context is not None]
    if not streams:
        kind = "sound but no picture" if container.streams.audio else "no video track"
        raise MediaError(f"the file has {kind}", path=path, remedy="give a video file")
    context = streams[0].codec_context
    _check_size(context.width, context.height, path)
    return streams[0]


def _check_size(width: int, height: int, path: Path) -> None:
    if width * height > MAX_PIXELS:
        reason = f"frames of {width}x{height} pixels are too large"
        raise MediaError(reason, path=path, remedy="scale the video down first")


def _announced_s(container: Any, stream: Any) -> float:
    """How long the file says it is; 0 where it does not, as one that was written live: it passes as whole."""
    if container.format.name in FORMATS_WITH_ONE_LENGTH:
        # For the stream FFmpeg could only guess, from the file's size, if the container does not tell.
        return 0.0 if stream.duration else (container.duration or 0) / av.time_base
    return float((stream.duration or 0) * (stream.time_base or 0))


def _scan(container: Any, stream: Any) -> tuple[list[int | None], list[int], Any, float]:
    """All packets' time stamps and durations (in time bases), the first frame that can be decoded, and the end.

    The end is that of the last packet of any kind, in seconds, where the container's length counts them all; else 0.
    """
    stamps: list[int | None] = []
    durations: list[int] = []
    first = None
    end_s = 0.0
    one_length = container.format.name in FORMATS_WITH_ONE_LENGTH
    for packet in _packets(container, *(container.streams if one_length else [stream])):
        if one_length and packet.pts is not None:
            end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream.index != stream.index:
            continue
        if packet.size and not packet.is_discard:
            stamps.append(packet.pts)
            durations += [packet.duration] if packet.duration else []
        if first is None:
            first = next(iter(decoded(packet)), None)
    return stamps, durations, first, end_s


def _packets(container: Any, *streams: Any) -> Iterator[Any]:
    """The packets of these streams, up to the end or to where the file is broken; the last ones are empty (a flush)."""
    try:
        yield from container.demux(*streams)
    except (av.FFmpegError, OSError) as error:
        logger.debug("%s: reading stops early: %s", container.name, error)


def decoded(packet: Any) -> list[Any]:
    """The frames that a packet completes; none if it is damaged."""
    try:
        frames: list[Any] = packet.decode()
    except (av.FFmpegError, OSError, ValueError) as error:
        logger.debug("a packet cannot be decoded: %s", error)
        return []
    return frames


def _pictures(container: Any, stream: Any, wanted: Collection[int] | None) -> Iterator[Any]:
    """The decoded frames; of those whose time stamp is not wanted, only what others refer to."""
    for packet in _packets(container, stream):
        if wanted is not None and packet.size:
            needed = packet.pts is None or packet.pts in wanted
            stream.codec_context.skip_frame = "DEFAULT" if needed else "NONREF"
        yield from decoded(packet)


def _stamps_of(info: VideoInfo, wanted: Collection[int] | None) -> Collection[int] | None:
    """The time stamps of frames; None (all) where the packets carry none."""
    if wanted is None or info.start_pts is None:
        return None
    return {info.start_pts + round(float(info.frame_times_s[index]) / info.time_base) for index in wanted}


def _bytes(picture: Any) -> int:
    return sum(plane.buffer_size for plane in picture.planes)


def _times(stamps: list[int | None], time_base: Fraction, rate: float) -> tuple[Float64[np.ndarray, " n"], int | None]:
    """When each frame is shown, from 0, and the first time stamp; evenly by `rate` where packets carry no stamps."""
    known = sorted({stamp for stamp in stamps if stamp is not None})
    if len(known) < len(stamps) / 2 or not known:
        return np.arange(max(len(stamps), 1), dtype=np.float64) / rate, None
    return (np.array(known, dtype=np.int64) - known[0]) * float(time_base), known[0]
