"""Times, sizes, rotations and damage of videos, and the selection of their frames."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from video_maker import quadrants, write_video

from crnet.errors import MediaError
from crnet.media import container
from crnet.media.frame_sampling import MAX_FRAMES_PER_SEGMENT, select_frames
from crnet.media.orientation import Orientation
from crnet.media.video import SIMULATED_COMMENT, decode, probe
from crnet.utils.on_screen import middle_frames

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
FASTSTART = {"movflags": "faststart"}
UNROTATED, BY_90, BY_180, BY_270 = (1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)


def greys(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    return [np.full((height, width, 3), 10 + 10 * i % 240, np.uint8) for i in range(count)]


def noise(count: int, height: int = 96, width: int = 128) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def corners(image: np.ndarray) -> list[tuple[int, ...]]:
    """Return the colours near the corners, row by row, rounded to 0 or 255."""
    h, w = image.shape[:2]
    points = [(h // 4, w // 4), (h // 4, 3 * w // 4), (3 * h // 4, w // 4), (3 * h // 4, 3 * w // 4)]
    return [tuple(int(v > 127) * 255 for v in image[p]) for p in points]


def rotate(path: Path, matrix: tuple[int, ...]) -> Path:
    """Write a display matrix (a, b, c, d) into the video track's header."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (v << 16 for v in matrix)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


class TestProbe:
    def test_a_regular_video(self, tmp_path: Path) -> None:
        info = probe(write_video(tmp_path / "a.mp4", greys(10)))
        assert (info.width, info.height, info.orientation) == (64, 48, Orientation())
        np.testing.assert_allclose(info.frame_times_s, np.arange(10) * 0.04, atol=1e-9)
        assert info.duration_s == pytest.approx(0.4)
        assert info.fps == pytest.approx(25)
        assert not info.has_audio and not info.simulated and not info.truncated

    def test_times_of_a_variable_frame_rate_start_at_zero(self, tmp_path: Path) -> None:
        info = probe(write_video(tmp_path / "a.mkv", greys(5), times_ms=[400, 440, 520, 700, 1400]))
        np.testing.assert_allclose(info.frame_times_s, [0, 0.04, 0.12, 0.3, 1.0], atol=2e-3)

    def test_the_comment_marks_a_simulated_video(self, tmp_path: Path) -> None:
        assert probe(write_video(tmp_path / "a.mp4", greys(2), comment=SIMULATED_COMMENT)).simulated
        assert not probe(write_video(tmp_path / "b.mp4", greys(2), comment="my holidays")).simulated

    def test_an_audio_track_is_reported(self, tmp_path: Path) -> None:
        assert probe(write_video(tmp_path / "a.mp4", greys(5), sound=np.zeros((1, 3200)))).has_audio

    def test_the_width_is_in_square_pixels(self, tmp_path: Path) -> None:
        info = probe(write_video(tmp_path / "a.mp4", greys(2), aspect=Fraction(2, 1)))
        assert (info.width, info.height) == (128, 48)

    def test_the_shape_of_pixels_is_the_one_of_the_container(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", greys(2), aspect=Fraction(2, 1))
        content = bytearray(path.read_bytes())
        at = content.index(b"pasp") + 4
        content[at : at + 8] = struct.pack(">2I", 4, 3)  # the bitstream still says 2:1
        path.write_bytes(content)
        info = probe(path)
        assert (info.width, info.height) == (85, 48)  # 64 * 4 / 3 = 85.3

    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("missing.mp4", None, "no such file"),
            ("empty.mp4", b"", "empty"),
            ("text.mp4", b"Dear diary,\ntoday I did not film.\n" * 50, "not a video"),
            ("zeros.mp4", bytes(4096), "not a video"),
            ("list.mp4", b"#EXTM3U\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n", "not a video"),
            ("concat.mp4", b"ffconcat version 1.0\nfile other.mp4\n", "not a video"),
        ],
    )
    def test_a_file_that_is_not_a_video_is_refused(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, content: bytes | None, reason: str
    ) -> None:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        write_video(tmp_path / "other.mp4", greys(2))
        with pytest.raises(MediaError, match=reason) as caught:
            probe(path)
        assert caught.value.path == path and caught.value.remedy
        assert capfd.readouterr() == ("", "")

    def test_a_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(MediaError, match="not a file"):
            probe(tmp_path)

    def test_a_file_without_index_is_refused(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        path = write_video(tmp_path / "a.mp4", noise(20))  # without faststart the index is at the end
        path.write_bytes(path.read_bytes()[:-3000])
        with pytest.raises(MediaError, match="beginning or index"):
            probe(path)
        assert capfd.readouterr() == ("", "")

    def test_a_file_with_sound_only_is_refused(self, media_dir: Path) -> None:
        with pytest.raises(MediaError, match="sound but no picture"):
            probe(media_dir / "speech_lj.wav")

    def test_a_file_without_frames_is_refused(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", noise(5), options=FASTSTART)
        content = path.read_bytes()
        path.write_bytes(content[: content.index(b"mdat") + 4])  # only the index
        with pytest.raises(MediaError, match="no frame"):
            probe(path)

    @pytest.mark.parametrize(("limit", "value"), [("MAX_PIXELS", 64 * 48 - 1), ("MAX_SIDE", 63)])
    def test_a_frame_that_is_too_large_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
    ) -> None:
        path = write_video(tmp_path / "a.mp4", greys(2))
        monkeypatch.setattr(container, limit, value)
        with pytest.raises(MediaError, match="64x48"):
            probe(path)

    @pytest.mark.parametrize(("codec", "pixel_format"), [("mjpeg", "yuvj420p"), ("ffv1", "gray")])
    def test_a_frame_size_that_the_container_does_not_state_is_refused_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, pixel_format: str
    ) -> None:
        path = write_video(tmp_path / "a.mkv", greys(2, 256, 256), codec=codec, pixel_format=pixel_format)
        monkeypatch.setattr(container, "MAX_PIXELS", 255 * 256)
        with pytest.raises(MediaError, match=r"too large|more than 65280 pixels"):
            probe(path)


class TestDecode:
    def test_frames_are_in_order_with_their_pictures(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", greys(20), times_ms=[i * i * 7 for i in range(20)])
        frames = [(f.index, f.time_s, f.rgb(8, 8).mean()) for f in decode(path, probe(path))]
        assert [index for index, _, _ in frames] == list(range(20))
        np.testing.assert_allclose([t for _, t, _ in frames], [i * i * 0.007 for i in range(20)], atol=1e-3)
        np.testing.assert_allclose([level for _, _, level in frames], [10 + 10 * i for i in range(20)], atol=3)

    @pytest.mark.parametrize(
        ("matrix", "is_on_its_side", "expected"),
        [
            (UNROTATED, False, [RED, GREEN, BLUE, WHITE]),
            (BY_90, True, [BLUE, RED, WHITE, GREEN]),
            (BY_180, False, [WHITE, BLUE, GREEN, RED]),
            (BY_270, True, [GREEN, WHITE, RED, BLUE]),
        ],
    )
    def test_rotated_frames_are_upright(
        self, tmp_path: Path, matrix: tuple[int, ...], is_on_its_side: bool, expected: list[tuple[int, ...]]
    ) -> None:
        path = rotate(write_video(tmp_path / "a.mp4", [quadrants(48, 64)] * 3), matrix)
        info = probe(path)
        assert (info.width, info.height) == ((48, 64) if is_on_its_side else (64, 48))
        frame = next(decode(path, info))
        small, full = frame.rgb(20, 40), frame.rgb_full()
        assert small.shape == (40, 20, 3) and full.shape == (info.height, info.width, 3)
        assert corners(small) == corners(full) == expected

    @pytest.mark.parametrize(
        ("codec", "pixel_format", "height", "width"),
        [
            ("ffv1", "yuv420p10le", 48, 64),
            ("ffv1", "yuv422p", 33, 17),
            ("ffv1", "gray", 48, 64),
            ("ffv1", "bgr0", 1, 1),
            ("ffv1", "yuv420p", 1, 1),
            ("ffv1", "yuv444p", 2, 300),
            ("mjpeg", "yuvj420p", 4320, 7680),
        ],
    )
    def test_many_sizes_and_formats_are_decoded(
        self, tmp_path: Path, codec: str, pixel_format: str, height: int, width: int
    ) -> None:
        image = quadrants(height, width)
        path = write_video(tmp_path / "a.mkv", [image], codec=codec, pixel_format=pixel_format)
        info = probe(path)
        (frame,) = decode(path, info)
        assert (info.width, info.height) == (width, height)
        full, small = frame.rgb_full(), frame.rgb(32, 32)
        assert full.shape == (height, width, 3) and full.dtype == np.uint8 and small.shape == (32, 32, 3)
        if pixel_format != "gray" and min(height, width) > 2:
            assert corners(small) == corners(full) == [RED, GREEN, BLUE, WHITE]

    def test_a_truncated_file_is_decoded_as_far_as_possible(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        path = write_video(tmp_path / "a.mp4", noise(50), options=FASTSTART)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        info = probe(path)
        frames = [f.index for f in decode(path, info)]
        assert info.truncated and 10 < len(info.frame_times_s) < 40
        assert len(frames) >= len(info.frame_times_s) - 2
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("share", [1.0, 0.5])
    @pytest.mark.parametrize(
        ("name", "codec", "sound_s"),
        [
            ("a.mkv", "libx264", 0),
            ("a.mkv", "libx264", 2),
            ("a.mkv", "libx264", 20),
            ("a.webm", "libvpx", 0),
            ("a.flv", "flv1", 0),
        ],
    )
    def test_truncation_is_detected_if_only_the_container_states_a_length(
        self, tmp_path: Path, name: str, codec: str, sound_s: int, share: float
    ) -> None:
        sound = np.zeros((1, 16_000 * sound_s)) if sound_s else None
        path = write_video(tmp_path / name, noise(50), codec=codec, sound=sound)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
        assert probe(path).truncated == (share < 1)

    @pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
    @pytest.mark.parametrize("with_sound", [False, True])
    def test_a_live_recording_counts_as_complete(self, tmp_path: Path, codec: str, with_sound: bool) -> None:
        pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        sound = np.zeros((1, 32_000)) if with_sound else None
        path = write_video(
            tmp_path / "a.mkv", noise(50), codec=codec, pixel_format=pixel_format, sound=sound, options={"live": "1"}
        )
        assert not probe(path).truncated

    def test_damage_in_the_middle_loses_few_frames(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        path = write_video(tmp_path / "a.mp4", noise(50), options=FASTSTART)
        content = bytearray(path.read_bytes())
        rng = np.random.default_rng(1)
        for at in rng.integers(len(content) // 3, 2 * len(content) // 3, 300):
            content[at] = rng.integers(256)
        path.write_bytes(content)
        indices = [f.index for f in decode(path, probe(path))]
        assert len(indices) > 10 and indices == sorted(set(indices))
        assert capfd.readouterr() == ("", "")

    def test_packet_times_are_frame_times(self, media_dir: Path) -> None:
        for name in ("speaker_a.mpg", "edge_face_disappears.mov", "edge_no_face.mp4"):
            info = probe(media_dir / name)
            assert [f.index for f in decode(info.path, info)] == list(range(len(info.frame_times_s)))


class TestSelectFrames:
    def test_two_segments_by_hand(self) -> None:
        times_s = np.arange(10) * 0.1  # two segments of 0.5 s, middles at 0.25 and 0.75
        selection = select_frames(times_s, 1.0, 2, None)
        assert selection.frames.tolist() == list(range(10))
        assert selection.segment.tolist() == [0] * 5 + [1] * 5
        assert np.flatnonzero(selection.is_middle).tolist() == [2, 7]
        selection = select_frames(times_s, 1.0, 2, 1)
        assert selection.frames.tolist() == [2, 7]  # 0.2 and 0.3 are equally near 0.25
        assert selection.segment.tolist() == [0, 1] and selection.is_middle.all()
        selection = select_frames(times_s, 1.0, 2, 3)
        assert selection.frames.tolist() == [0, 2, 4, 5, 7, 9] and selection.segment.tolist() == [0, 0, 0, 1, 1, 1]
        assert selection.is_middle.tolist() == [False, True, False] * 2
        assert selection.frames.dtype == np.int64 and selection.segment.dtype == np.int16

    def test_a_segment_gets_the_frame_on_screen_at_its_middle(self) -> None:
        # Segments of 0.25 s with middles at 0.125, 0.375, 0.625 and 0.875: the second frame appears after all of them.
        selection = select_frames(np.array([0.0, 0.9]), 1.0, 4, None)
        assert selection.frames.tolist() == [0, 0, 0, 0, 1] and selection.segment.tolist() == [0, 1, 2, 3, 3]
        assert selection.is_middle.tolist() == [True] * 4 + [False]
        assert select_frames(np.array([0.0, 0.9]), 1.0, 4, 1).frames.tolist() == [0, 0, 0, 0]

    def test_a_frame_that_appears_at_the_middle_is_on_screen(self) -> None:
        times_s = np.array([0.0, 0.2, 0.5, 0.51, 0.52])  # the nearest frame to 0.49 would be the third
        assert middle_frames(times_s, 1.0, 1).tolist() == [2]
        assert middle_frames(times_s, 0.98, 1).tolist() == [1]

    def test_times_rounded_to_milliseconds_give_the_same_frames(self) -> None:
        times_s = np.arange(64) / 30  # at 32 segments, every other frame appears at a middle
        duration_s = 64 / 30
        expected = list(range(1, 64, 2))
        assert middle_frames(times_s, duration_s, 32).tolist() == expected
        assert middle_frames(np.round(times_s, 3), round(duration_s, 3), 32).tolist() == expected

    def test_one_frame_fills_all_segments(self) -> None:
        selection = select_frames(np.zeros(1), 0.04, 32, None)
        assert selection.frames.tolist() == [0] * 32 and selection.segment.tolist() == list(range(32))

    def test_the_number_of_frames_is_bounded(self) -> None:
        selection = select_frames(np.arange(10_000) / 1000, 10.0, 4, None)
        assert len(selection.frames) == 4 * MAX_FRAMES_PER_SEGMENT
        assert np.bincount(selection.segment).tolist() == [MAX_FRAMES_PER_SEGMENT] * 4

    @given(
        gaps_ms=st.lists(st.integers(1, 300), min_size=1, max_size=200),
        segments=st.integers(1, 40),
        per_segment=st.one_of(st.none(), st.integers(1, 9)),
    )
    @example(
        gaps_ms=[1, 1, 1, 1, 154, 300, 300, 82], segments=35, per_segment=None
    )  # a picture exactly 2 ms after a middle
    def test_any_times_and_numbers(self, gaps_ms: list[int], segments: int, per_segment: int | None) -> None:
        times_s = np.cumsum([0, *gaps_ms[:-1]]) / 1000
        duration_s = sum(gaps_ms) / 1000
        selection = select_frames(times_s, duration_s, segments, per_segment)
        frames, segment = selection.frames, selection.segment
        middles_alone = select_frames(times_s, duration_s, segments, 1).frames
        all_frames = select_frames(times_s, duration_s, segments, None).frames
        assert np.all(np.diff(frames) >= 0) and np.all(np.diff(segment) >= 0)
        assert set(segment.tolist()) == set(range(segments))
        assert set(frames.tolist()) <= set(all_frames.tolist()) == set(range(len(times_s)))
        segment_of_frame = np.clip(np.floor(times_s * segments / duration_s + 1e-6), 0, segments - 1).astype(int)
        middles = middle_frames(times_s, duration_s, segments)
        assert middles_alone.tolist() == middles.tolist()
        for s in range(segments):
            middle_s, middle = (s + 0.5) * duration_s / segments, int(middles[s])
            assert middle == 0 or times_s[middle] <= middle_s + 0.002 + 1e-9  # rounding of the sum
            assert middle == len(times_s) - 1 or times_s[middle + 1] > middle_s
            selected = frames[segment == s]
            assert selected[selection.is_middle[segment == s]].tolist() == [middle]
            candidates = {middle, *np.flatnonzero(segment_of_frame == s).tolist()}
            assert set(selected.tolist()) <= candidates
            assert len(selected) == min(len(candidates), per_segment or len(candidates))


@pytest.mark.parametrize(("scale", "rate"), [(2**31 - 1, 1), (1, 2**31 - 1)], ids=["years", "nanoseconds"])
def test_frames_that_last_years_or_nanoseconds_are_refused(tmp_path: Path, scale: int, rate: int) -> None:
    path = write_video(tmp_path / "v.avi", greys(3), codec="mpeg4")
    content = bytearray(path.read_bytes())
    place = content.index(b"strh") + 28  # seconds of a frame are dwScale / dwRate
    content[place : place + 8] = struct.pack("<II", scale, rate)
    path.write_bytes(bytes(content))
    with pytest.raises(MediaError, match="time stamps are damaged") as caught:
        probe(path)
    assert caught.value.path == path and caught.value.remedy


def test_tracks_that_begin_within_a_file_do_not_end_its_reading() -> None:
    packets = [SimpleNamespace(is_discard=False), SimpleNamespace(is_discard=False)]

    class Container:
        name = "recording.ts"

        def demux(self, *streams: SimpleNamespace) -> Iterator[SimpleNamespace]:
            yield from streams
            raise IndexError("list index out of range")  # as PyAV 18, after the last packet

    losses = container.Losses()
    assert list(container.read_packets(Container(), packets, losses)) == packets
    assert not losses.stopped
