"""Which track is read of a file with several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.stream import Disposition

from crnet.errors import MediaError
from crnet.media.audio import read_audio
from crnet.media.streams import audio_streams, video_streams
from crnet.media.video import decode, probe

DEFAULT, COVER = Disposition.default, Disposition.attached_pic


@dataclass(frozen=True)
class Track:
    """A video track of one grey level."""

    level: int
    width: int = 64
    disposition: int = 0
    codec: str = "libx264"
    frames: int = 5


def write_tracks(path: Path, tracks: Sequence[Track]) -> Path:
    with av.open(str(path), "w") as container:
        streams = []
        for track in tracks:
            stream = container.add_stream(track.codec, rate=25)
            stream.width = stream.height = track.width
            stream.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(track.codec, "yuv420p")
            streams.append(stream)
        for stream, track in zip(streams, tracks, strict=True):
            stream.disposition = track.disposition
        for stream, track in zip(streams, tracks, strict=True):
            image = np.full((track.width, track.width, 3), track.level, np.uint8)
            for i in range(track.frames):
                frame = av.VideoFrame.from_ndarray(image, "rgb24")
                frame.pts = i
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def level_of(path: Path) -> tuple[int, tuple[str, ...]]:
    info = probe(path)
    return round(float(next(decode(path, info)).rgb(8, 8).mean()) / 10) * 10, info.warnings


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_the_default_track_is_read(tmp_path: Path, suffix: str) -> None:
    path = write_tracks(tmp_path / f"a.{suffix}", [Track(50, width=128), Track(100, disposition=DEFAULT)])
    assert level_of(path) == (100, ("the file has 2 video tracks; video track 2 (64x64) was read",))


@pytest.mark.parametrize("disposition", [0, DEFAULT])
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts", "avi"])
def test_the_largest_of_equal_tracks_is_read(tmp_path: Path, suffix: str, disposition: int) -> None:
    tracks = [Track(50, disposition=disposition), Track(100, width=128, disposition=disposition), Track(150)]
    level, warnings = level_of(write_tracks(tmp_path / f"a.{suffix}", tracks))
    if suffix == "mp4" and not disposition:  # the first track is enabled in a file that states no default
        assert level == 50
    else:
        assert (level, warnings) == (100, ("the file has 3 video tracks; video track 2 (128x128) was read",))


def test_the_first_of_equal_tracks_is_read(tmp_path: Path) -> None:
    assert level_of(write_tracks(tmp_path / "a.mkv", [Track(50), Track(100)]))[0] == 50


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "mjpeg"), ("a.mp4", "mjpeg"), ("a.mov", "png")])
def test_a_cover_in_an_ordinary_track_does_not_count_as_the_video(tmp_path: Path, name: str, codec: str) -> None:
    cover = Track(50, width=256, disposition=DEFAULT, codec=codec, frames=1)
    level, warnings = level_of(write_tracks(tmp_path / name, [cover, Track(100)]))
    assert level == 100 and "video track 2 (64x64)" in warnings[0]


def test_a_marked_cover_is_no_track(tmp_path: Path) -> None:
    cover = Track(50, width=256, disposition=COVER, codec="mjpeg", frames=1)
    assert level_of(write_tracks(tmp_path / "a.mp4", [Track(100), cover])) == (100, ())
    with pytest.raises(MediaError, match="no video track"):
        probe(write_tracks(tmp_path / "b.mp4", [cover]))


def test_motion_jpeg_alone_is_a_video(tmp_path: Path) -> None:
    assert level_of(write_tracks(tmp_path / "a.avi", [Track(100, codec="mjpeg")])) == (100, ())


def write_sounds(path: Path, levels: Sequence[float], default: int | None, *, layout: str = "stereo") -> Path:
    """Write a grey video with audio tracks of a tone at these levels; `default` is the index of the default one."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=25)
        picture.width = picture.height = 64
        picture.pix_fmt = "yuv420p"
        tracks = [container.add_stream("aac", 48_000, layout=layout) for _ in levels]
        for i, track in enumerate(tracks):
            track.disposition = DEFAULT if i == default else 0
        for _ in range(25):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), "rgb24")))
        container.mux(picture.encode(None))
        for level, track in zip(levels, tracks, strict=True):
            tone = (level * np.sin(np.arange(48_000) * 2 * np.pi * 300 / 48_000)).astype(np.float32)
            packed = np.repeat(tone, track.layout.nb_channels)[None]
            frame = av.AudioFrame.from_ndarray(packed, "flt", layout)
            frame.sample_rate = 48_000
            for part in av.AudioResampler("fltp", layout, 48_000, frame_size=1024).resample(frame):
                container.mux(track.encode(part))
            container.mux(track.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
@pytest.mark.parametrize(
    ("levels", "default", "read", "warning"),
    [
        ([0.0, 0.3], 1, 0.3, "2 audio tracks; audio track 2 was read"),
        ([0.1, 0.3], 1, 0.3, "2 audio tracks; audio track 2 was read"),
        ([0.1, 0.3], 0, 0.1, "2 audio tracks; audio track 1 was read"),
        ([0.0, 0.3], 0, 0.3, "2 audio tracks; audio track 2 was read; track 1 is silent"),
        ([0.0, 0.001, 0.3], 1, 0.3, "3 audio tracks; audio track 3 was read; track 2 is silent"),
        ([0.0, 0.0], 1, 0.0, "2 audio tracks; audio track 2 was read"),
    ],
)
def test_the_default_sound_is_read_unless_it_is_silent(
    tmp_path: Path, suffix: str, levels: list[float], default: int, read: float, warning: str
) -> None:
    path = write_sounds(tmp_path / f"a.{suffix}", levels, default)
    sound = read_audio(path) / 32768
    assert float(np.sqrt(np.mean(sound**2))) == pytest.approx(read / np.sqrt(2), abs=0.01)
    (said,) = probe(path).warnings
    assert said == f"the file has {warning}"


def test_one_audio_track_needs_no_warning(tmp_path: Path) -> None:
    assert probe(write_sounds(tmp_path / "a.mp4", [0.0], 0)).warnings == ()


def test_tracks_of_eight_channels_are_compared(tmp_path: Path) -> None:
    path = write_sounds(tmp_path / "a.mkv", [0.0, 0.3], 0, layout="7.1")
    assert probe(path).warnings[0].endswith("audio track 2 was read; track 1 is silent")


def test_a_track_that_cannot_be_decoded_is_not_called_silent(tmp_path: Path) -> None:
    path = write_sounds(tmp_path / "a.mkv", [0.3, 0.3], 0)
    content = path.read_bytes()
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.audio[0]):
            if packet.size:
                start = content.index(bytes(packet), packet.pos)
                content = content[:start] + b"\xa5" * packet.size + content[start + packet.size :]
    path.write_bytes(content)
    (said,) = probe(path).warnings
    assert said == ("the file has 2 audio tracks; audio track 2 was read; track 1 has no sound that can be decoded")


def test_the_sound_is_that_of_the_pictures_programme() -> None:
    def stream(index: int, kind: str, programme: int) -> SimpleNamespace:
        context = SimpleNamespace(width=64 * (1 + index), height=64, name="h264")
        return SimpleNamespace(
            index=index, type=kind, programme=programme, disposition=0, frames=0, codec_context=context
        )

    streams = [stream(i, kind, i // 2) for i, kind in enumerate(("video", "audio", "video", "audio"))]

    def best(kind: str, related: SimpleNamespace) -> SimpleNamespace:
        """As FFmpeg, return the best track of this kind in the programme of another track."""
        return next(s for s in streams if s.type == kind and s.programme == related.programme)

    groups = SimpleNamespace(video=streams[::2], audio=streams[1::2], best=best)
    container = SimpleNamespace(streams=groups)
    assert [s.index for s in video_streams(container)] == [2, 0]
    assert [s.index for s in audio_streams(container)] == [3]
