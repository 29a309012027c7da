"""Open media files safely through FFmpeg (PyAV), and read their packets."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnet.errors import MediaError
from crnet.media.pyav import av

logger = logging.getLogger(__name__)

MAX_PIXELS = 8192 * 8192
"""Larger frames are refused before any is decoded."""
MAX_SIDE = 16_384
"""So are longer ones; only damaged files have them, and a row of pixels can be much memory."""

FORMATS_THAT_OPEN_OTHER_FILES = frozenset({"hls", "applehttp", "dash", "concat", "imf", "sdp", "rtsp", "rtp", "sap"})
"""Playlists and similar formats: a file from outside must not make us read another file, or the network."""

EDITED_FORMATS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2"})
"""Formats with edit lists."""

FORMATS_WITH_ONE_LENGTH = frozenset({"matroska,webm", "flv"})
"""Containers that state one length for sound and picture together, and none for each."""

NOT_A_VIDEO_REMEDY = "check that the file opens in a video player, or download it again"


@contextlib.contextmanager
def open_media(path: Path, format_options: Mapping[str, str] | None = None) -> Iterator[Any]:
    """Open one regular media file for reading, but nothing that it refers to.

    Args:
        path: The file.
        format_options: Options of FFmpeg's reader of the format.

    Raises:
        MediaError: The file is missing, a folder, empty, or of no known format.
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
    options["pattern_type"] = "none"  # a picture named p%d.jpg is one file, not those that its name would match
    options |= format_options or {}
    try:
        container = av.open(f"file:{path.resolve()}", options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        logger.debug("%s: %s", path, error)
        raise MediaError(
            "not a video, or its beginning or index is missing", path=path, remedy=NOT_A_VIDEO_REMEDY
        ) from error
    with container:
        for stream in container.streams.audio:
            if stream.codec_context is not None:
                _replace_own_layout(stream.codec_context)
        yield container


def _replace_own_layout(codec_context: Any) -> None:
    """Let a decoder that has not started yield channels without a list of its own that says what each is for.

    PyAV 18 frees such a list, which files can have (mov, caf), once with every object that it was copied to, and that
    ends the process. Only `layout` may hold it when it is freed, so nothing may read the context's layout before.
    Channels are not rearranged, and which is which does not matter here.
    """
    layout = codec_context.layout
    if layout.nb_channels:  # else the file does not say
        # Brackets list the channels one by one. What a name without them means needs no list.
        codec_context.layout = f"{layout.nb_channels} channels" if "(" in layout.name else layout.name


def is_too_large(width: int, height: int) -> bool:
    """Return whether frames of this size are refused."""
    return width * height > MAX_PIXELS or max(width, height) > MAX_SIDE


def check_size(width: int, height: int, path: Path) -> None:
    """Refuse frames that are too large.

    Raises:
        MediaError: They are.
    """
    if is_too_large(width, height):
        reason = f"frames of {width}x{height} pixels are too large"
        raise MediaError(reason, path=path, remedy="scale the video down first")


def no_frame_error(stream: Any, path: Path) -> MediaError:
    """Return the error for a video track of which no frame can be decoded."""
    too_large = "" if stream.codec_context.width else f", or its frames have more than {MAX_PIXELS} pixels"
    reason = f"no frame of the video can be decoded{too_large}"
    return MediaError(reason, path=path, remedy=NOT_A_VIDEO_REMEDY)


def stated_duration_s(container: Any, stream: Any) -> float:
    """Return the duration that the file states; 0 if it states none, for example a live recording."""
    if container.format.name in FORMATS_WITH_ONE_LENGTH:
        # Without a duration in the container, FFmpeg guesses one for the stream from the size of the file.
        return 0.0 if stream.duration else (container.duration or 0) / av.time_base
    return float((stream.duration or 0) * (stream.time_base or 0))


@dataclass
class Losses:
    """What of a file could not be read.

    Attributes:
        packets: Number of packets that cannot be decoded.
        stopped: Whether reading stopped before the end of the file.
    """

    packets: int = 0
    stopped: bool = False


def read_packets(container: Any, streams: Sequence[Any], losses: Losses) -> Iterator[Any]:
    """Yield the packets of these streams up to the end, or to where the file is damaged; the last ones are empty."""
    try:
        for packet in container.demux(*streams):
            yield _shown(packet) if packet.is_discard and container.format.name in EDITED_FORMATS else packet
    except (av.FFmpegError, OSError) as error:
        logger.debug("%s: reading stops early: %s", container.name, error)
        losses.stopped = True
    except IndexError:
        # PyAV 18 fails at the very end if tracks have begun within the file: it then looks for their last packets too,
        # in memory that it did not reserve. The packets of our tracks have all come before.
        logger.debug("%s: tracks begin within the file", container.name)


def _shown(packet: Any) -> Any:
    """Return a packet that is not hidden if its file is fragmented.

    Edit lists hide packets of other files. Here, FFmpeg hides those whose times are not later than all before them, as
    in joined recordings; and it hides all of a fragment if the first of them is.
    """
    if packet.stream.frames:
        return packet
    shown = av.Packet(bytes(packet))
    shown.stream, shown.is_keyframe = packet.stream, packet.is_keyframe
    shown.pts, shown.dts, shown.duration, shown.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    return shown


def decode_packet(packet: Any, losses: Losses) -> list[Any]:
    """Return the frames that a packet completes; none if it is damaged.

    An empty packet with a time repeats the frame before it. Sent to the decoder, it would end the track.
    """
    if not packet.size and packet.pts is not None:
        return []
    try:
        frames: list[Any] = packet.decode()
    except av.EOFError:  # empty packets after the last frame
        return []
    except (av.FFmpegError, OSError, ValueError) as error:
        logger.debug("a packet cannot be decoded: %s", error)
        losses.packets += 1
        return []
    return frames
