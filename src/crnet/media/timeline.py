"""When the packets of a file are presented: one clock for picture and sound, also across joined recordings.

Presentation time stamps decide everything. FFmpeg has applied edit lists and the codecs' start-up samples to them, and
has undone the wraps of MPEG-TS. Recordings that were joined by copying one behind the other restart their time stamps:
here, each continues where the one before it ends, with picture and sound in step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from crnet.errors import MediaError
from crnet.media.container import (
    FORMATS_WITH_ONE_LENGTH,
    Losses,
    check_size,
    decode_packet,
    no_frame_error,
    open_media,
    read_packets,
)

DEFAULT_TIME_BASE = Fraction(1, 90_000)
EDITED_FORMATS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2"})
"""Formats whose decoding times may go back without a restart, because of their edit lists."""
BROADCAST_FORMATS = frozenset({"mpegts", "mpeg"})
"""Formats whose clock may be set anew in the middle."""

RESTART_S = 0.5  # decoding times that go back by more than this have been restarted
LONGEST_REORDER_S = 5.0  # no frame is decoded this long before it is shown
MAX_PACKETS = 2_000_000
"""Files with more packets of picture and sound are refused: five hours have that many, at 60 frames a second."""
LONGEST_PAUSE_S = 60.0  # in broadcast formats, a longer time without any packet is a new clock

Shifts = tuple[tuple[int, int], ...]
"""(number of a packet, ticks to add to its time stamps and those of all later packets of the track), ascending."""


@dataclass(eq=False)
class Track:
    """What the packets of a track say; times in ticks of `time_base`.

    Attributes:
        time_base: Seconds per tick.
        pts, dts: Presentation and decoding time of each packet; None if it carries none.
        durations: 0 if a packet carries none.
        positions: Where each packet is in the file; None if unknown.
        is_hidden: Whether an edit list hides the packet.
        parts: Number of the recording that each packet belongs to, from 0, in a file of joined recordings.
        repeats_end: End of the last empty packet, which repeats the frame before it; None without such packets. Empty
            packets are not among the others.
    """

    time_base: Fraction
    pts: list[int | None] = field(default_factory=list)
    dts: list[int | None] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)
    positions: list[int | None] = field(default_factory=list)
    is_hidden: list[bool] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    repeats_end: int | None = None

    def add(self, packet: Any, part: int) -> None:
        """Append a packet of a recording."""
        if not packet.size:
            self.repeats_end = packet.pts + max(packet.duration or 0, 0)
            return
        self.parts.append(part)
        self.pts.append(packet.pts)
        self.dts.append(packet.dts)
        self.durations.append(max(packet.duration or 0, 0))
        self.positions.append(packet.pos)
        self.is_hidden.append(packet.is_discard)

    def shifted(self, shifts: Shifts) -> Track:
        """Return the track with these shifts added to its time stamps."""
        ends = [first for first, _ in shifts[1:]] + [len(self.pts)]
        pts, dts = list(self.pts), list(self.dts)
        for (first, ticks), end in zip(shifts, ends, strict=False):
            for stamps in (pts, dts):
                stamps[first:end] = [None if stamp is None else stamp + ticks for stamp in stamps[first:end]]
        return replace(self, pts=pts, dts=dts)

    def shown(self) -> list[int]:
        """Return the numbers of the packets that no edit list hides."""
        return [number for number, is_hidden in enumerate(self.is_hidden) if not is_hidden]


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
        losses: What could not be read.
    """

    video: Track
    video_shifts: Shifts
    audio_shifts: Shifts
    first_frame: Any
    end_s: float
    losses: Losses


def scan_packets(container: Any, video: Any, audio: Any | None, path: Path) -> PacketScan:
    """Read all packets of the picture and the sound, and decode the first frame.

    Raises:
        MediaError: No frame can be decoded, or it is too large; or there are more than `MAX_PACKETS` packets.
    """
    streams = [video] if audio is None else [video, audio]
    tracks = {stream.index: Track(stream.time_base or DEFAULT_TIME_BASE) for stream in streams}
    recordings = Recordings(container.format.name)
    first_frame, end_s, losses, packets = None, 0.0, Losses(), 0
    has_one_length = container.format.name in FORMATS_WITH_ONE_LENGTH
    for packet in read_packets(container, container.streams if has_one_length else streams, losses):
        if has_one_length and packet.pts is not None:
            end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        track = tracks.get(packet.stream_index)
        if track is None:
            continue
        if packet.size or packet.pts is not None:
            track.add(packet, recordings.part_of(packet))
            packets += 1
        if packets > MAX_PACKETS:
            reason = f"more than {MAX_PACKETS:,} packets of picture and sound are too many"
            raise MediaError(reason, path=path, remedy="cut the video into parts")
        if first_frame is None and packet.stream_index == video.index:
            first_frame = next(iter(decode_packet(packet, losses)), None)
    if first_frame is None:
        raise no_frame_error(video, path)
    check_size(first_frame.width, first_frame.height, path)  # the container may not state a size
    video_shifts, *others = shifts_of(list(tracks.values()))
    if container.format.name in EDITED_FORMATS and any(tracks[video.index].is_hidden):
        video_shifts = _edit_shift(tracks[video.index], video.index, path)
    shifted = tracks[video.index].shifted(video_shifts)
    return PacketScan(shifted, video_shifts, others[0] if others else (), first_frame, end_s, losses)


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


class Recordings:
    """Notices where one recording ends and the next begins in a file of joined recordings.

    Args:
        format_name: FFmpeg's name of the container format.
    """

    def __init__(self, format_name: str) -> None:
        self._can_restart = format_name not in EDITED_FORMATS
        self._longest_pause_s = LONGEST_PAUSE_S if format_name in BROADCAST_FORMATS else float("inf")
        self._end_s: dict[int, float] = {}
        self._part: dict[int, int] = {}
        self._newest = 0

    def part_of(self, packet: Any) -> int:
        """Return the number of the recording that a packet belongs to, from 0; call this once for each packet."""
        stream = packet.stream_index
        part = self._part.setdefault(stream, 0)
        if packet.dts is None or not self._can_restart:
            return part
        time_s = float(packet.dts * packet.time_base)
        shown_s = time_s if packet.pts is None else float(packet.pts * packet.time_base)
        if abs(shown_s - time_s) > LONGEST_REORDER_S:  # FFmpeg has continued the decoding times of the recording before
            time_s = shown_s
        if self._is_new(stream, time_s):
            # The other track may have reached the newest recording before this one does.
            part = self._part[stream] = self._newest if part < self._newest else part + 1
            self._newest = max(self._newest, part)
        self._end_s[stream] = time_s + float((packet.duration or 0) * packet.time_base)
        return part

    def _is_new(self, stream: int, time_s: float) -> bool:
        if stream not in self._end_s:
            return False
        if time_s < self._end_s[stream] - RESTART_S:
            return True
        is_behind = self._part[stream] < self._newest
        latest_s = self._end_s[stream] if is_behind else max(self._end_s.values())
        return time_s - latest_s > self._longest_pause_s


def shifts_of(tracks: Sequence[Track]) -> list[Shifts]:
    """Return, for each track, what makes every recording begin where the one before it ends.

    Args:
        tracks: The tracks of a file, as read.
    """
    parts = 1 + max((part for track in tracks for part in track.parts), default=0)
    if parts == 1:
        return [() for _ in tracks]
    starts, ends = [float("inf")] * parts, [-float("inf")] * parts
    for track in tracks:
        for stamp, duration, part in zip(track.pts, track.durations, track.parts, strict=True):
            if stamp is not None:
                starts[part] = min(starts[part], float(stamp * track.time_base))
                ends[part] = max(ends[part], float((stamp + duration) * track.time_base))
    shift_s = [0.0] * parts
    end_s = ends[0]
    for part in range(1, parts):
        if ends[part] > starts[part] and end_s > -float("inf"):
            shift_s[part] = end_s - starts[part]
        end_s = max(end_s, ends[part] + shift_s[part])
    return [
        tuple(
            (number, round(shift_s[part] / track.time_base))
            for number, part in enumerate(track.parts)
            if part != (track.parts[number - 1] if number else 0)
        )
        for track in tracks
    ]


def read_shifted(container: Any, stream: Any, shifts: Shifts, losses: Losses) -> Iterator[Any]:
    """Yield the packets of a track with time stamps that continue across joined recordings; the last ones are empty."""
    upcoming, ticks, number = list(shifts)[::-1], 0, 0
    for packet in read_packets(container, [stream], losses):
        if packet.size:
            if upcoming and upcoming[-1][0] == number:
                ticks = upcoming.pop()[1]
            number += 1
            if ticks:
                packet.pts = None if packet.pts is None else packet.pts + ticks
                packet.dts = None if packet.dts is None else packet.dts + ticks
        yield packet
