"""Picture and sound on one clock: every container, late and early tracks, gaps, joined recordings, edit lists."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from flash_and_beep import END_S, FLASH_S, FPS, Form, beep, find_flash_and_beep, write_flash_and_beep

from crnet.media.audio import read_audio, read_sound
from crnet.media.frame_times import display_times, frame_times
from crnet.media.recordings import shifts_of
from crnet.media.track import Shifts, Track
from crnet.media.video import decode, probe

X264 = (("preset", "ultrafast"), ("qp", "10"), ("bf", "3"), ("b_strategy", "0"))
MP4 = Form("mp4", "libx264", "aac", options=X264)
FORMS = [
    MP4,
    Form("mp4", "libx264", "libmp3lame", 44_100, "stereo"),
    Form("mp4", "mpeg4", "ac3"),
    Form("mp4", "libx264", "aac", container_options=(("movflags", "frag_keyframe+empty_moov"),)),
    Form("mov", "libx264", "pcm_s16le", options=X264),
    Form("mkv", "libx264", "aac", 44_100, options=X264),
    Form("mkv", "libx264", "libopus"),
    Form("webm", "libvpx", "libopus"),
    Form("flv", "libx264", "aac", 44_100, options=X264),
    Form("mkv", "libx264", "ac3", options=X264),
    Form("mp4", "libx264", "libopus", options=X264),
    Form("3gp", "mpeg4", "aac"),
    Form("ts", "libx264", "ac3", options=X264),
    Form("nut", "mpeg4", "libmp3lame"),
    Form("mpg", "mpeg2video", "mp2"),
    Form("ts", "libx264", "aac", options=X264),
    Form("ts", "mpeg2video", "mp2", 44_100),
]
PROGRAM_STREAM, TRANSPORT_STREAM_H264, TRANSPORT_STREAM = FORMS[-3:]
WRAP_S = 2**33 / 90_000  # when the clock of MPEG starts again


@pytest.mark.parametrize("delay_s", [-2.0, -0.3, 0.0, 0.5, 2.0])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_flash_and_beep_agree(tmp_path: Path, form: Form, delay_s: float) -> None:
    flash_s, beep_s = find_flash_and_beep(write_flash_and_beep(tmp_path / f"a.{form.suffix}", form, delay_s))
    assert beep_s == pytest.approx(flash_s, abs=0.005)
    if not form.container_options:
        assert flash_s == pytest.approx(FLASH_S - max(-delay_s, 0), abs=0.002)  # zero is the first picture


# AVI stores no start of a track, and its frames have no time stamps: the tracks start together.
@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_flash_and_beep_agree_in_avi(tmp_path: Path, codec: str) -> None:
    form = Form("avi", codec, "pcm_s16le", options=(("bf", "0"),))
    flash_s, beep_s = find_flash_and_beep(write_flash_and_beep(tmp_path / "a.avi", form))
    assert (flash_s, beep_s) == pytest.approx((FLASH_S, FLASH_S), abs=0.002)


# Other containers store these samples, which encoders put before the sound; docs/data.md tells of the difference.
@pytest.mark.parametrize(("codec", "priming"), [("libmp3lame", 1105), ("aac", 1024), ("ac3", 256)])
def test_avi_does_not_say_how_many_samples_its_encoder_added(tmp_path: Path, codec: str, priming: int) -> None:
    form = Form("avi", "mpeg4", codec, layout="stereo", options=(("bf", "0"),))
    flash_s, beep_s = find_flash_and_beep(write_flash_and_beep(tmp_path / "a.avi", form))
    assert beep_s == pytest.approx(FLASH_S + priming / form.sound_hz, abs=0.002)
    assert flash_s - FLASH_S in (pytest.approx(0), pytest.approx(2 / FPS))  # FFmpeg repeats frames to wait for them


def test_a_start_that_the_header_of_avi_states_counts(tmp_path: Path) -> None:
    path = write_flash_and_beep(tmp_path / "a.avi", Form("avi", "mpeg4", "pcm_s16le", options=(("bf", "0"),)))
    content = bytearray(path.read_bytes())
    header = content.index(b"auds")  # fccType; 20 bytes later dwScale, dwRate and dwStart, which counts in their units
    scale, rate, start = struct.unpack_from("<3I", content, header + 20)
    assert start == 0
    struct.pack_into("<I", content, header + 28, rate // scale // 2)
    path.write_bytes(content)
    assert find_flash_and_beep(path) == pytest.approx((FLASH_S, FLASH_S + 0.5), abs=0.005)


@pytest.mark.parametrize(
    ("form", "start_s"),
    [
        (MP4, 1000.0),
        (FORMS[5], 1000.0),
        (PROGRAM_STREAM, 1000.0),
        (TRANSPORT_STREAM, 1000.0),
        (PROGRAM_STREAM, WRAP_S - 1.5),
        (TRANSPORT_STREAM, WRAP_S - 3.2),
    ],
    ids=str,
)
def test_the_start_of_the_clock_does_not_matter(tmp_path: Path, form: Form, start_s: float) -> None:
    path = write_flash_and_beep(tmp_path / f"a.{form.suffix}", form, 0.3, start_s=start_s)
    assert find_flash_and_beep(path) == pytest.approx((FLASH_S, FLASH_S), abs=0.005)
    info = probe(path)
    assert info.duration_s == pytest.approx(END_S, abs=0.002) and len(info.frame_times_s) == END_S * FPS


@pytest.mark.parametrize("form", [form for form in FORMS if form.suffix != "mov"], ids=str)  # its PCM has no gaps
def test_gaps_in_the_sound_are_silence(tmp_path: Path, form: Form) -> None:
    path = write_flash_and_beep(tmp_path / f"a.{form.suffix}", form, silent_s=[(0.5, 0.9), (1.5, 2.5)])
    flash_s, beep_s = find_flash_and_beep(path)
    assert beep_s == pytest.approx(flash_s, abs=0.005)


@pytest.mark.parametrize("form", [MP4, TRANSPORT_STREAM_H264], ids=str)
@pytest.mark.parametrize("delay_s", [-1.0, 0.5])
def test_subtitles_count_from_the_start_of_the_file(tmp_path: Path, form: Form, delay_s: float) -> None:
    info = probe(write_flash_and_beep(tmp_path / f"a.{form.suffix}", form, delay_s, start_s=20.0))
    assert info.timeline.late_picture_s == pytest.approx(max(-delay_s, 0), abs=0.03)


def test_sound_before_the_first_picture_is_counted(tmp_path: Path) -> None:
    path = write_flash_and_beep(tmp_path / "a.mkv", FORMS[5], -1.0)
    assert read_sound(path, probe(path).timeline).before_s == pytest.approx(1.0, abs=0.002)
    assert (read_audio(path) == read_sound(path, probe(path).timeline).samples).all()


FRAGMENTED = replace(MP4, container_options=(("movflags", "frag_keyframe+empty_moov+default_base_moof"),))
JOINED = [
    *((form, starts_s) for form in FORMS[-3:] for starts_s in ((0.0, 0.0), (0.0, 1000.0), (1000.0, 0.0))),
    (TRANSPORT_STREAM_H264, (0.0, END_S - 0.3)),  # the second one starts before the first one ends
    (PROGRAM_STREAM, (0.0, END_S - 0.2)),
    (FRAGMENTED, (0.0, 0.0)),
    (replace(FRAGMENTED, options=(*X264, ("g", "10"))), (0.0, 0.0)),
]


@pytest.mark.parametrize(("form", "starts_s"), JOINED)
def test_joined_recordings_play_one_after_the_other(tmp_path: Path, form: Form, starts_s: tuple[float, float]) -> None:
    check_joined(join(tmp_path, form, starts_s))


def squeezed_copy(path: Path, copy: Path) -> Path:
    """Copy the packets of a file as FFmpeg does: time stamps that go back become the first that the format allows."""
    with av.open(str(path)) as source, av.open(str(copy), "w") as container:
        streams = {stream.index: container.add_stream_from_template(stream) for stream in source.streams}
        latest: dict[int, int] = {}
        for packet in source.demux():
            if packet.dts is not None:
                packet.dts = max(packet.dts, latest.get(packet.stream_index, packet.dts - 2) + 2)  # a tick of MP4
                packet.pts = max(packet.pts, packet.dts)
                latest[packet.stream_index] = packet.dts
                packet.stream = streams[packet.stream_index]
                container.mux(packet)
    return copy


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
@pytest.mark.parametrize("first_s", [END_S, 1.2])  # the later stamps are squeezed to the end, or until they catch up
def test_a_copy_of_joined_recordings_plays_all_of_them(tmp_path: Path, suffix: str, first_s: float) -> None:
    joined = join(tmp_path, TRANSPORT_STREAM_H264, (0.0, 0.0), first_s)
    # Nothing in the copy tells how much later than the sound the second picture began: within a frame.
    check_joined(squeezed_copy(joined, tmp_path / f"copy.{suffix}"), first_s, within_s=1 / FPS)


def join(folder: Path, form: Form, starts_s: tuple[float, float], first_s: float = END_S) -> Path:
    """Join two recordings, the first of which begins `first_s` before the end of a grey picture that turns white."""
    parts = [
        write_flash_and_beep(folder / f"{number}.{form.suffix}", form, start_s=start_s, cut_s=cut_s)
        for number, (start_s, cut_s) in enumerate(zip(starts_s, (END_S - first_s, 0.0), strict=True))
    ]
    path = folder / f"joined.{form.suffix}"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def check_joined(path: Path, first_s: float = END_S, within_s: float = 0.005) -> None:
    info = probe(path)
    assert len(info.frame_times_s) == (first_s + END_S) * FPS and np.all(np.diff(info.frame_times_s) > 0)
    assert info.duration_s == pytest.approx(first_s + END_S, abs=0.06) and not info.truncated
    levels = np.array([frame.rgb(8, 8).mean() for frame in decode(path, info)])
    second = info.frame_times_s[np.flatnonzero((levels[1:] > 180) & (levels[:-1] < 120))[1] + 1]
    sound = np.abs(read_sound(path, info.timeline).samples / 32768)
    silent_s = first_s + 0.5  # in the second recording, before its tone
    beep_s = silent_s + np.argmax(sound[round(silent_s * 16_000) :] > 0.2) / 16_000
    assert second == pytest.approx(first_s + FLASH_S, abs=0.06) and beep_s == pytest.approx(second, abs=within_s)


def edit(path: Path, start_s: float) -> Path:
    """Let an mp4 file begin `start_s` later: change the start of each track's edit in place."""
    content = bytearray(path.read_bytes())
    at = 0
    while (at := content.find(b"elst", at)) >= 0:
        timescale_at = content.index(b"mdhd", at) + 16
        (timescale,) = struct.unpack_from(">I", content, timescale_at)
        duration, media_time = struct.unpack_from(">Ii", content, at + 12)
        struct.pack_into(
            ">Ii", content, at + 12, duration - round(1000 * start_s), media_time + round(start_s * timescale)
        )
        at += 4
    path.write_bytes(content)
    return path


def test_a_late_picture_whose_start_is_cut_is_not_truncated(tmp_path: Path) -> None:
    path = write_flash_and_beep(tmp_path / "a.mp4", MP4, -2.0)
    content = bytearray(path.read_bytes())
    at = content.index(b"elst") + 12  # the first edit is empty, and each has a duration, a media time and a rate
    (timescale,) = struct.unpack_from(">I", content, content.index(b"mdhd") + 16)
    assert struct.unpack_from(">Ii", content, at) == (2000, -1)
    duration, media_time = struct.unpack_from(">Ii", content, at + 12)
    struct.pack_into(">Ii", content, at + 12, duration - 800, media_time + round(0.8 * timescale))
    path.write_bytes(content)
    info = probe(path)
    assert info.duration_s == pytest.approx(END_S - 2.0 - 0.8, abs=0.03) and not info.truncated


@pytest.mark.parametrize("start_s", [0.5, 1.0, 1.01, 1.307])
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_an_edit_list_cuts_picture_and_sound_at_the_same_time(tmp_path: Path, suffix: str, start_s: float) -> None:
    form = Form(suffix, "libx264", "aac", options=X264)
    path = edit(write_flash_and_beep(tmp_path / f"a.{suffix}", form), start_s)
    flash_s, beep_s = find_flash_and_beep(path)
    assert beep_s == pytest.approx(flash_s, abs=0.005)
    assert flash_s == pytest.approx(FLASH_S - start_s, abs=1 / FPS)


def test_frames_of_avi_are_in_order_without_time_stamps(tmp_path: Path) -> None:
    transport_stream = write_flash_and_beep(tmp_path / "a.ts", TRANSPORT_STREAM_H264)
    with av.open(str(transport_stream)) as source, av.open(str(tmp_path / "a.avi"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    expected, info = probe(transport_stream), probe(tmp_path / "a.avi")
    assert info.frame_stamps is None and info.lost_frames == 0
    np.testing.assert_allclose(info.frame_times_s, expected.frame_times_s, atol=1e-6)
    assert info.duration_s == pytest.approx(END_S)
    for frame, other in zip(decode(info.path, info), decode(expected.path, expected), strict=True):
        assert frame.index == other.index and (frame.rgb(16, 16) == other.rgb(16, 16)).all()


@pytest.mark.parametrize(("rate", "layout"), [(44_100, "mono"), (48_000, "stereo"), (32_000, "stereo")])
def test_sound_that_changes_its_format_is_read_to_the_end(tmp_path: Path, rate: int, layout: str) -> None:
    first = write_flash_and_beep(tmp_path / "1.ts", Form("ts", "mpeg2video", "mp2"))
    other = write_flash_and_beep(tmp_path / "2.ts", Form("ts", "mpeg2video", "mp2", rate, layout), start_s=END_S)
    (tmp_path / "a.ts").write_bytes(first.read_bytes() + other.read_bytes())
    sound = read_audio(tmp_path / "a.ts") / 32768
    assert len(sound) / 16_000 == pytest.approx(2 * END_S, abs=0.06)
    for second in (FLASH_S + 0.1, END_S + FLASH_S + 0.1):
        tone = sound[round(second * 16_000) : round((second + 0.4) * 16_000)]
        assert np.sqrt(np.mean(tone**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)


def test_pictures_that_change_their_size_and_format_are_read_to_the_end(tmp_path: Path) -> None:
    parts = []
    for number, (size, form) in enumerate((((64, 48), "yuv420p"), ((96, 96), "yuv444p"))):
        path = tmp_path / f"{number}.ts"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options=dict(X264))
            stream.width, stream.height, stream.pix_fmt = *size, form
            for i in range(25):
                frame = av.VideoFrame.from_ndarray(np.full((*size[::-1], 3), 60 + 100 * number, np.uint8), "rgb24")
                frame.pts, frame.time_base = i, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        parts.append(path.read_bytes())
    (tmp_path / "a.ts").write_bytes(b"".join(parts))
    info = probe(tmp_path / "a.ts")
    frames = list(decode(info.path, info))
    assert len(frames) == len(info.frame_times_s) == 50 and info.duration_s == pytest.approx(2.0, abs=0.05)
    levels = [frame.rgb(8, 8).mean() for frame in frames]
    np.testing.assert_allclose(levels, [60] * 25 + [160] * 25, atol=4)


def test_a_recording_that_begins_between_key_frames_starts_with_its_first_picture(tmp_path: Path) -> None:
    form = Form("ts", "libx264", "aac", options=(*X264, ("g", "60")))
    path = write_flash_and_beep(tmp_path / "a.ts", form)
    content = path.read_bytes()
    packets = [content[i : i + 188] for i in range(0, len(content), 188)]
    path.write_bytes(b"".join(packets[:3] + packets[60:]))  # the tables, and no first key frame
    flash_s, beep_s = find_flash_and_beep(path)
    assert flash_s < FLASH_S - 0.5 and beep_s == pytest.approx(flash_s, abs=0.005)


class TestFrameTimes:
    def track(self, pts: list[int | None], durations: list[int] | None = None) -> Track:
        count = len(pts)
        return Track(
            Fraction(1, 10),
            pts,
            list(pts),
            durations or [1] * count,
            [None] * count,
            [False] * count,
            list(range(count)),
        )

    def test_packets_with_a_time_each(self) -> None:
        times = frame_times(self.track([5, 9, 7]), 5, ())
        assert times is not None and times.zero_s == 0.5 and times.stamps == (5, 7, 9)
        np.testing.assert_allclose(times.times_s, [0, 0.2, 0.4])

    @pytest.mark.parametrize("pts", [[5, None, 7], [5, 7, 7]])
    def test_missing_or_repeated_times_are_not_trusted(self, pts: list[int | None]) -> None:
        assert frame_times(self.track(pts), 5, ()) is None

    def test_a_first_frame_that_cannot_be_shown_is_noticed(self) -> None:
        assert frame_times(self.track([5, 7, 9]), 7, ()) is None

    def test_frames_of_unknown_time_lie_evenly_between_their_neighbours(self) -> None:
        stamps = [3, None, 7, 7, 9, 8, 13, None]  # the second 7 and the 8 are not later than what comes before
        times = display_times(stamps, self.track(stamps), 25.0, lacks_pts=False)
        np.testing.assert_allclose(times.times_s, [0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2], atol=1e-9)

    def test_frames_without_any_time_follow_the_rate(self) -> None:
        times = display_times([None] * 4, self.track([None] * 4), 25.0, lacks_pts=False)
        np.testing.assert_allclose(times.times_s, [0, 0.04, 0.08, 0.12])

    def test_decoding_times_are_the_times_of_display_if_there_are_no_others(self) -> None:
        times = display_times([2, 8, 6, 4], self.track([0, 2, 4, 6]), 25.0, lacks_pts=True)
        np.testing.assert_allclose(times.times_s, [0, 0.2, 0.4, 0.6])


class TestRecordings:
    """Times are in seconds, and a tick is a millisecond."""

    def shifts(self, video: list[tuple[int, float]], audio: list[tuple[int, float]], name: str = "nut") -> list[Shifts]:
        """Return the shifts of tracks of packets that last a second each, given as (place in the file, time)."""
        return shifts_of([self.track(packets) for packets in (video, audio) if packets], name)

    def track(self, packets: list[tuple[int, float]]) -> Track:
        stamps = [round(1000 * time_s) for _, time_s in packets]
        count = len(stamps)
        orders = [order for order, _ in packets]
        return Track(Fraction(1, 1000), [*stamps], [*stamps], [1000] * count, [None] * count, [False] * count, orders)

    def test_both_tracks_restart(self) -> None:
        # The last packet of the first recording's sound comes after the second recording's first picture.
        video, audio = [(0, 1), (2, 2), (4, 3), (6, 0), (8, 1)], [(1, 1), (3, 2), (7, 3.2), (9, 0), (11, 1)]
        # The first recording lasts to 4.2 s, and the second one starts at 0.
        assert self.shifts(video, audio) == [((3, 4200),), ((3, 4200),)]

    def test_a_jump_of_one_track_is_no_restart(self) -> None:
        video, audio = [(0, 1), (5, 101)], [(1, 1), (2, 50), (3, 100), (4, 101), (6, 102)]
        assert self.shifts(video, audio, "mpegts") == [(), ()]
        # Behind a pause of both, the clock is new.
        video, audio = [(0, 1), (2, 2), (4, 102), (6, 103)], [(1, 1), (3, 2), (5, 102), (7, 103)]
        assert self.shifts(video, audio, "mpegts") == [((2, -99_000),), ((2, -99_000),)]
        assert self.shifts(video, audio, "matroska,webm") == [(), ()]

    def test_a_time_stamp_that_is_off_is_no_restart(self) -> None:
        times = [1, 2, 3, 4, 5, 6]
        for wrong in (1.5, 9.0):
            video = [(2 * i, wrong if i == 3 else time_s) for i, time_s in enumerate(times)]
            audio = [(2 * i + 1, wrong if i == 2 else time_s) for i, time_s in enumerate(times)]
            assert self.shifts(video, audio) == [(), ()]

    def test_a_track_that_goes_back_alone_is_no_restart(self) -> None:
        video = [(2 * i, float(i)) for i in range(9)]
        audio = [(2 * i + 1, float(i if i < 5 else i - 3)) for i in range(9)]
        assert self.shifts(video, audio) == [(), ()]
        assert self.shifts(audio, []) == [((5, 3000),)]

    def test_sound_that_begins_in_the_second_recording_moves_with_its_picture(self) -> None:
        video = [(0, 0), (1, 1), (2, 2), (3, 0), (5, 1), (7, 2)]
        assert self.shifts(video, [(4, 0), (6, 1), (8, 2)]) == [((3, 3000),), ((0, 3000),)]

    def test_sound_that_begins_late_in_the_second_recording_moves_with_its_picture(self) -> None:
        video = [(0, 0), (2, 1), (4, 2), (6, 0), (7, 1), (8, 2), (9, 3), (10, 4), (12, 5)]
        audio = [(1, 0), (3, 1), (5, 2), (11, 4), (13, 5)]
        assert self.shifts(video, audio) == [((3, 3000),), ((3, 3000),)]

    def test_squeezed_time_stamps_are_given_back(self) -> None:
        # The second recording starts at 0 and 0.2 s, but these times were raised to the end of the first until they
        # catch up at 3 s.
        video = [(2 * i, t) for i, t in enumerate([0, 1, 2, 2.001, 2.001, 2.002, 3, 4])]
        audio = [(2 * i + 1, t) for i, t in enumerate([0, 1, 2, 2.001, 2.001, 2.002, 3.2, 4.2])]
        expected = [((3, 3000 - 2001), (4, None), (6, 3000)), ((3, 3200 - 2001), (4, None), (6, 3000))]
        assert self.shifts(video, audio) == expected

    def test_squeezed_time_stamps_to_the_end_follow_on(self) -> None:
        # No time tells when the second recording starts: as the first, with its sound 0.5 s late.
        video = [(2 * i, t) for i, t in enumerate([0, 1, 2, 2, 2, 2])]
        audio = [(2 * i + 1, t) for i, t in enumerate([0.5, 1.5, 2.5, 2.5, 2.5, 2.5])]
        assert self.shifts(video, audio) == [((3, 1500), (4, None)), ((3, 1500), (4, None))]


def write_pcm(path: Path, sound: np.ndarray, stamp: Callable[[int], int]) -> Path:
    """Write sound of 16 kHz in frames of 20 ms; the frame that begins with sample n has the time stamp `stamp(n)`."""
    with av.open(str(path), "w") as container:
        track = container.add_stream("pcm_s16le", 16_000, layout="mono")
        for first in range(0, len(sound), 320):
            frame = av.AudioFrame.from_ndarray(
                (sound[None, first : first + 320] * 32767).astype(np.int16), "s16", "mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = 16_000, stamp(first), Fraction(1, 16_000)
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return path


def test_jitter_of_the_time_stamps_does_not_cut_the_sound(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sound = beep(0, 4, 16_000, 0)
    path = write_pcm(tmp_path / "a.mkv", sound, lambda first: first + int(first and rng.integers(-96, 96)))  # 6 ms
    np.testing.assert_allclose(read_audio(path) / 32768, sound, atol=2e-3)


def test_a_clock_that_drifts_is_followed(tmp_path: Path) -> None:
    path = write_pcm(tmp_path / "a.mkv", beep(0, 20, 16_000, 19), lambda first: round(first * 1.002))
    start_s = np.argmax(np.abs(read_audio(path)) > 6000) / 16_000
    assert start_s == pytest.approx(19 * 1.002, abs=0.005)
