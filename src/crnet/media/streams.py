"""Which of a file's video and sound tracks are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crnet.errors import MediaError, MissingDependencyError
from crnet.media.container import check_size
from crnet.utils.extras import install_command

try:
    from av.stream import Disposition
except ImportError as error:
    raise MissingDependencyError("reading videos needs the package av", remedy=install_command("av")) from error

NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails
STILL_CODECS = frozenset({"png", "mjpeg", "bmp", "tiff", "webp", "jpeg2000", "jpegls"})
"""Codecs of cover art. A file may hold its cover as an ordinary track, so other codecs are preferred to these."""


def video_streams(container: Any) -> list[Any]:
    """Return the video tracks, the one to read first.

    Covers and thumbnails do not count. A track that looks like a cover comes after the others, then the default track
    is preferred, then the largest picture, then the first track.
    """
    streams = [s for s in container.streams.video if not s.disposition & NO_VIDEO and s.codec_context is not None]
    return sorted(streams, key=lambda s: (_looks_still(s), not _is_default(s), -_pixels(s)))


def video_stream(container: Any, path: Path) -> Any:
    """Return the video track to read.

    Raises:
        MediaError: There is none, or its frames are too large.
    """
    streams = video_streams(container)
    if not streams:
        kind = "sound but no picture" if container.streams.audio else "no video track"
        raise MediaError(f"the file has {kind}", path=path, remedy="give a video file")
    check_size(streams[0].codec_context.width, streams[0].codec_context.height, path)
    return streams[0]


def video_track_warning(container: Any, stream: Any) -> str | None:
    """Say which video track is read if the file has several; else None."""
    count = len(video_streams(container))
    if count < 2:
        return None
    number = [s.index for s in container.streams.video].index(stream.index) + 1
    size = f"{stream.codec_context.width}x{stream.codec_context.height}"
    return f"the file has {count} video tracks; video track {number} ({size}) was read"


def _is_default(stream: Any) -> bool:
    return bool(stream.disposition & Disposition.default)


def _looks_still(stream: Any) -> bool:
    is_still = bool(stream.disposition & Disposition.still_image) or stream.frames == 1
    return is_still or stream.codec_context.name in STILL_CODECS


def _pixels(stream: Any) -> int:
    return int(stream.codec_context.width * stream.codec_context.height)
