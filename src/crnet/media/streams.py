"""Which of a file's video and sound tracks are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from crnet.errors import MediaError
from crnet.media.container import Losses, check_size, decode_packet, open_media, read_packets
from crnet.media.pyav import Disposition
from crnet.media.samples import read_pieces

NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails
STILL_CODECS = frozenset({"png", "mjpeg", "bmp", "tiff", "webp", "jpeg2000", "jpegls"})
"""Codecs of cover art. A file may hold its cover as an ordinary track, so other codecs are preferred to these."""

SIGNAL_RMS = 0.003  # of full scale: -50 dB
SIGNAL_SEARCH_S = 60.0
MAX_TRACKS_HEARD = 8


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


def track_warnings_of(container: Any, video: Any, audio: Any | None, path: Path) -> list[str]:
    """Say which video and audio tracks are read where the file has several."""
    return [w for w in (_video_track_warning(container, video), _audio_track_warning(container, audio, path)) if w]


def _video_track_warning(container: Any, stream: Any) -> str | None:
    """Say which video track is read if the file has several; else None."""
    count = len(video_streams(container))
    if count < 2:
        return None
    number = [s.index for s in container.streams.video].index(stream.index) + 1
    size = f"{stream.codec_context.width}x{stream.codec_context.height}"
    return f"the file has {count} video tracks; video track {number} ({size}) was read"


def audio_streams(container: Any) -> list[Any]:
    """Return the audio tracks that can be decoded: the default ones, then the others.

    In a broadcast of several programmes, only those of the picture's count.
    """
    streams = [s for s in container.streams.audio if s.codec_context is not None]
    pictures = video_streams(container)
    if len(pictures) > 1:
        programme = _programme(container, pictures[0])
        streams = [s for s in streams if _programme(container, s) == programme]
    return sorted(streams, key=lambda s: not _is_default(s))


def _programme(container: Any, stream: Any) -> int:
    """Return a number that is the same for all tracks of a programme: that of FFmpeg's first choice of its pictures."""
    first = container.streams.best("video", related=stream)
    return -1 if first is None else int(first.index)


def audio_stream(container: Any, path: Path) -> Any | None:
    """Return the audio track to read: the first of `audio_streams` with a signal, or else the first; None without any.

    Recorders leave muted tracks beside the voice. Only a file with several tracks is opened again to listen.
    """
    streams = audio_streams(container)
    if len(streams) < 2:
        return next(iter(streams), None)
    return next((s for s in streams[:MAX_TRACKS_HEARD] if _has_signal(path, s.index, Losses())), streams[0])


def _audio_track_warning(container: Any, stream: Any | None, path: Path) -> str | None:
    """Say which audio track is read if the file has several; else None."""
    count = len(container.streams.audio)
    if count < 2 or stream is None:
        return None
    numbers = {s.index: number for number, s in enumerate(container.streams.audio, start=1)}
    warning = f"the file has {count} audio tracks; audio track {numbers[stream.index]} was read"
    preferred = audio_streams(container)[0]
    if stream.index == preferred.index:
        return warning
    losses = Losses()
    _has_signal(path, preferred.index, losses)
    silent = "has no sound that can be decoded" if losses.packets or losses.stopped else "is silent"
    return f"{warning}; track {numbers[preferred.index]} {silent}"


def _has_signal(path: Path, index: int, losses: Losses) -> bool:
    """Return whether a track has a frame louder than `SIGNAL_RMS` in its first `SIGNAL_SEARCH_S` seconds."""
    with open_media(path) as container:
        heard_s = 0.0
        packets = read_packets(container, [container.streams[index]], losses)
        for piece in read_pieces((frame for packet in packets for frame in decode_packet(packet, losses)), losses):
            heard_s += piece.samples.shape[1] / piece.rate_hz
            if piece.samples.size and float(np.sqrt(np.mean(piece.samples**2))) >= SIGNAL_RMS:
                return True
            if heard_s >= SIGNAL_SEARCH_S:
                break
    return False


def _is_default(stream: Any) -> bool:
    return bool(stream.disposition & Disposition.default)


def _looks_still(stream: Any) -> bool:
    is_still = bool(stream.disposition & Disposition.still_image) or stream.frames == 1
    return is_still or stream.codec_context.name in STILL_CODECS


def _pixels(stream: Any) -> int:
    return int(stream.codec_context.width * stream.codec_context.height)
