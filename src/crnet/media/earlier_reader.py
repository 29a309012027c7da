"""Recognise clips that the reader before this one read in the same way, so that they need not be read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crnet.media.audio import read_sound
from crnet.media.colour import HD_WIDTH, SD_HEIGHT, UNSPECIFIED
from crnet.media.container import Losses, decode_packet, open_media, read_packets
from crnet.media.frame_sampling import select_frames
from crnet.media.orientation import Orientation
from crnet.media.settings import MediaSettings
from crnet.media.streams import video_stream
from crnet.media.video import VideoInfo, probe
from crnet.types import Clip
from crnet.utils.on_screen import middle_frames

USUAL_FORMATS = frozenset({"yuv420p", "yuvj420p"})
USUAL_COLOURS = frozenset({0, 1, 2, 5, 6})
"""Codes of H.273 for matrix, transfer function and primaries of usual videos: none stated, BT.709, BT.601."""


def is_read_alike(path: Path | str, clip: Clip, settings: MediaSettings) -> bool:
    """Return whether this reader would extract the clip that the reader of `EARLIER_VERSION` has extracted.

    Sound and times are read and compared. Pictures are not: they are the same if the video is a usual one. In case of
    doubt the answer is no.

    Args:
        path: The video.
        clip: The clip that the earlier reader extracted.
        settings: The settings of both.

    Raises:
        MediaError: The video cannot be read.
    """
    info = probe(path)
    selection = select_frames(info.frame_times_s, info.duration_s, settings.segments, settings.frames_per_segment)
    has_same_times = (
        clip.duration_s == info.duration_s
        and np.array_equal(clip.segment, selection.segment)
        and np.array_equal(clip.time_s, info.frame_times_s[selection.frames])
    )
    if not has_same_times or clip.warnings or not _is_usual(info):
        return False
    middles = middle_frames(clip.time_s, clip.duration_s, clip.segments)
    if not np.isfinite(clip.face_box[middles]).all():  # the warnings may differ
        return False
    return np.array_equal(read_sound(path, info.timeline, settings.max_audio_s).samples, clip.audio)


def _is_usual(info: VideoInfo) -> bool:
    """Return whether both readers show the pictures alike: upright, 8 bits, ordinary colours, no other track."""
    if info.frame_stamps is None or info.truncated or info.warnings or info.orientation != Orientation():
        return False
    with open_media(info.path) as container:
        packets = read_packets(container, [video_stream(container, info.path)], Losses())
        picture = next(frame for packet in packets for frame in decode_packet(packet, Losses()))
    is_hd = picture.width >= HD_WIDTH or picture.height > SD_HEIGHT
    return (
        picture.format.name in USUAL_FORMATS
        and {picture.colorspace, picture.color_trc, picture.color_primaries} <= USUAL_COLOURS
        and not (is_hd and picture.colorspace in (0, UNSPECIFIED))  # the earlier reader took BT.601
        and (info.width, info.height) == (picture.width, picture.height)
    )
