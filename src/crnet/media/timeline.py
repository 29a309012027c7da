"""When the packets of a file are presented: one clock for picture and sound, also across joined recordings.

Presentation time stamps decide everything. FFmpeg has applied edit lists and the codecs' start-up samples to them, and
has undone the wraps of MPEG-TS. Recordings that were joined by copying one behind the other restart their time stamps:
here, each continues where the one before it ends, with picture and sound in step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from crnet.errors import MediaError
from crnet.media.container import (
    EDITED_FORMATS,
    FORMATS_WITH_ONE_LENGTH,
    Losses,
    check_size,
    decode_packet,
    no_frame_error,
    open_media,
    read_packets,
)
from crnet.media.recordings import lacking_s, shifts_of
from crnet.media.track import Shifts, Track, shift

DEFAULT_TIME_BASE = Fraction(1, 90_000)
MAX_PACKETS = 2_000_000
"""Files with more packets of picture and sound are refused: five hours have that many, at 60 frames a second."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """The clock of a file.

    Attributes:
        zero_s: Time stamp, in seconds, of the first displayed picture, or of the first sound if there is no picture.
        video_shifts, audio_shifts: What joined recordings add to the time stamps of their packets.
        late_picture_s: How long the file plays before its first picture, as players and subtitles count.
    """

    zero_s: float
    video_shifts: Shifts = ()
    audio_shifts: Shifts = ()
    late_picture_s: float = 0.0


@dataclass(frozen=True, eq=False)
class PacketScan:
    """One pass over the packets of a file.

    Attributes:
        video: The picture, with time stamps that continue across joined recordings.
        video_shifts, audio_shifts: See `Timeline`.
        first_frame: The first frame that can be decoded (`av.VideoFrame`).
        end_s: End of the last packet of any track, in seconds, if the container states one length for all tracks;
            else 0.
        lacking_s: How much time the stamps of the picture lack where they go far back or stand still without a reason.
        losses: What could not be read.
    """

    video: Track
    video_shifts: Shifts
    audio_shifts: Shifts
    first_frame: Any
    end_s: float
    lacking_s: float
    losses: Losses


def scan_packets(container: Any, video: Any, audio: Any | None, path: Path) -> PacketScan:
    """Read all packets of the picture and the sound, and decode the first frame.

    Raises:
        MediaError: No frame can be decoded, or it is too large; or there are more than `MAX_PACKETS` packets.
    """
    streams = [video] if audio is None else [video, audio]
    tracks = {stream.index: Track(stream.time_base or DEFAULT_TIME_BASE) for stream in streams}
    first_frame, end_s, losses, packets = None, 0.0, Losses(), 0
    has_one_length = container.format.name in FORMATS_WITH_ONE_LENGTH
    for packet in read_packets(container, container.streams if has_one_length else streams, losses):
        if has_one_length and packet.pts is not None:
            end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        track = tracks.get(packet.stream_index)
        if track is None:
            continue
        if packet.size or packet.pts is not None:
            track.add(packet, packets)
            packets += 1
        if packets > MAX_PACKETS:
            reason = f"more than {MAX_PACKETS:,} packets of picture and sound are too many"
            raise MediaError(reason, path=path, remedy="cut the video into parts")
        if first_frame is None and packet.stream_index == video.index:
            first_frame = next(iter(decode_packet(packet, losses)), None)
    if first_frame is None:
        raise no_frame_error(video, path)
    check_size(first_frame.width, first_frame.height, path)  # the container may not state a size
    video_shifts, *others = shifts_of(list(tracks.values()), container.format.name)
    if not video_shifts and container.format.name in EDITED_FORMATS and any(tracks[video.index].is_hidden):
        video_shifts = _edit_shift(tracks[video.index], video.index, path)
    shifted = tracks[video.index].shifted(video_shifts)
    return PacketScan(
        shifted, video_shifts, others[0] if others else (), first_frame, end_s, lacking_s(shifted), losses
    )


def _edit_shift(track: Track, stream_index: int, path: Path) -> Shifts:
    """Return what FFmpeg's edit lists miss: an edit that begins between two frames.

    FFmpeg lets the next frame begin at once, up to a frame too early. Its simple edit lists only subtract the start of
    the edit, which is right for a single edit.
    """
    if track.positions[0] is None or not track.is_hidden[0]:
        return ()
    with open_media(path, {"advanced_editlist": "0"}) as container:
        for packet in read_packets(container, [container.streams[stream_index]], Losses()):
            if packet.pos == track.positions[0] and packet.pts is not None and track.pts[0] is not None:
                ticks = packet.pts - track.pts[0]
                return ((0, ticks),) if 0 < ticks <= max(track.durations) else ()
    return ()


def read_shifted(container: Any, stream: Any, shifts: Shifts, losses: Losses) -> Iterator[Any]:
    """Yield the packets of a track with time stamps that continue across joined recordings; the last ones are empty."""
    upcoming, number = list(shifts)[::-1], 0
    ticks: int | None = 0
    for packet in read_packets(container, [stream], losses):
        if packet.size:
            if upcoming and upcoming[-1][0] == number:
                ticks = upcoming.pop()[1]
            number += 1
            if ticks != 0:
                packet.pts, packet.dts = shift(packet.pts, ticks), shift(packet.dts, ticks)
        yield packet
