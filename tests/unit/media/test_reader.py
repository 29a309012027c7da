"""A file in, a clip's media out."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from video_maker import write_video

from crnet.config import from_dict
from crnet.errors import ConfigError, MediaError
from crnet.media.reader import read_video
from crnet.media.settings import MediaSettings, with_attribute_names
from crnet.media.video import SIMULATED_COMMENT
from crnet.types import Clip

SMALL = MediaSettings(segments=4, pixels=32)
SPEAKERS = [
    *(f"address_{i}.mp4" for i in (1, 2, 3)),
    *(f"speaker_{c}.mpg" for c in ("a", "b", "c", "d", "e", "f1", "f2")),
    "edge_face_silent.mp4",
    "presenter_outdoors.mp4",
]
TITLES_END_S = 1.1  # in presenter_outdoors


@cache
def read_middles(path: Path) -> Clip:
    return read_video(path, MediaSettings(frames_per_segment=1))


def pictures(media: Clip, stream: str) -> list[bytes]:
    data, offsets = getattr(media, f"{stream}_jpeg"), getattr(media, f"{stream}_offsets")
    return [data[a:b].tobytes() for a, b in pairwise(offsets)]


def colours(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.full((height, width, 3), rng.integers(60, 200, 3), np.uint8) for _ in range(count)]


class TestSettings:
    def test_fingerprint(self) -> None:
        assert MediaSettings().fingerprint() == MediaSettings().fingerprint()
        assert len(MediaSettings().fingerprint()) == 16
        others = [MediaSettings(pixels=64), MediaSettings(face_margin=0.3), MediaSettings(frames_per_segment=1)]
        assert len({s.fingerprint() for s in [MediaSettings(), *others]}) == 4

    def test_stored_names_and_fingerprint_of_the_default_settings(self) -> None:
        settings = MediaSettings()
        assert settings.fingerprint() == "84006a53db65c168"  # stores made by earlier versions have it
        document = settings.to_dict()
        assert {"every_s", "afresh_s"} <= set(document["detection"])
        assert from_dict(MediaSettings, with_attribute_names(document), Path()) == settings

    @pytest.mark.parametrize(
        "wrong",
        [{"segments": 0}, {"frames_per_segment": 200}, {"pixels": 4}, {"jpeg_quality": 101}, {"face_margin": -1}],
    )
    def test_out_of_range(self, wrong: dict[str, int]) -> None:
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            MediaSettings(**wrong)  # type: ignore[arg-type]


class TestMadeVideos:
    def test_no_face_no_sound(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", colours(20), comment=SIMULATED_COMMENT)
        media = read_video(path, SMALL)
        assert media.warnings == (
            "no face was found; the centre of the picture is used instead",
            "there is no sound",
        )
        assert media.simulated and not media.has_audio and media.audio.dtype == np.int16
        assert np.isnan(media.face_box).all() and np.isnan(media.face_score).all()
        assert media.segment.tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
        np.testing.assert_allclose(media.time_s, np.arange(20) * 0.04, atol=1e-6)
        assert len(media.source_sha256) == 64 and media.settings == SMALL.fingerprint()

    def test_pictures_are_those_of_their_frames(self, tmp_path: Path) -> None:
        images = colours(20)
        media = read_video(write_video(tmp_path / "a.mp4", images), SMALL)
        for stream in ("scene", "face"):
            for image, jpeg in zip(images, pictures(media, stream), strict=True):
                picture = simplejpeg.decode_jpeg(jpeg, "RGB")
                assert picture.shape == (32, 32, 3)
                np.testing.assert_allclose(picture.mean(axis=(0, 1)), image[0, 0], atol=6)

    def test_the_stand_in_is_the_centre_square(self, tmp_path: Path) -> None:
        image = np.full((40, 120, 3), 250, np.uint8)
        image[:, 40:80] = 30
        media = read_video(write_video(tmp_path / "a.mp4", [image] * 3), SMALL)
        face = simplejpeg.decode_jpeg(pictures(media, "face")[0], "RGB")
        assert face[:, 5:-5].mean() < 60

    def test_one_frame_of_one_pixel(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mkv", [np.full((1, 1, 3), 200, np.uint8)], codec="ffv1", pixel_format="bgr0")
        media = read_video(path, SMALL)
        assert media.segment.tolist() == [0, 1, 2, 3] and media.time_s.tolist() == [0] * 4
        assert (media.width, media.height) == (1, 1)

    def test_black_and_silent(self, tmp_path: Path) -> None:
        black = [np.zeros((48, 64, 3), np.uint8)] * 10
        media = read_video(write_video(tmp_path / "a.mkv", black, sound=np.zeros((1, 8000), np.float32)), SMALL)
        assert media.warnings[0] == "the picture is black" and media.warnings[-1] == "the sound is nearly silent"
        assert media.has_audio and len(media.audio) == 8000

    @pytest.mark.parametrize("share", [0.35, 0.6])
    def test_cut_short(self, tmp_path: Path, share: float, capfd: pytest.CaptureFixture[str]) -> None:
        rng = np.random.default_rng(0)
        images = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(40)]
        path = write_video(tmp_path / "a.mp4", images, options={"movflags": "faststart"})
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        media = read_video(path, SMALL)
        assert "truncated or damaged" in media.warnings[0]
        assert set(media.segment.tolist()) == {0, 1, 2, 3}
        assert capfd.readouterr() == ("", "")

    def test_not_a_video(self, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_text("hello\n" * 1000)
        with pytest.raises(MediaError):
            read_video(tmp_path / "a.mp4")


class TestRealClips:
    @pytest.mark.parametrize("name", SPEAKERS)
    def test_the_speaker_is_found(self, media_dir: Path, name: str) -> None:
        media = read_middles(media_dir / name)
        found = ~np.isnan(media.face_box[:, 0])
        if name == "presenter_outdoors.mp4":
            found = found[media.time_s > TITLES_END_S]
        assert len(found) >= 26 and found.mean() >= 0.95
        assert not any("face" in w for w in media.warnings if name != "presenter_outdoors.mp4")

    @pytest.mark.parametrize(
        ("name", "warning"),
        [
            ("edge_no_face.mp4", "no face was found"),
            ("edge_speech_black_picture.mp4", "the picture is black"),
            ("edge_face_disappears.mov", "was found in only"),
            ("edge_several_people.mp4", "people are in view"),
            ("edge_face_silent.mp4", "nearly silent"),
        ],
    )
    def test_warnings(self, media_dir: Path, name: str, warning: str) -> None:
        media = read_middles(media_dir / name)
        assert any(warning in text for text in media.warnings)

    @pytest.mark.parametrize("name", ["edge_face_disappears.mov", "speaker_c.mpg"])
    def test_middle_frames_do_not_depend_on_what_else_is_kept(self, media_dir: Path, name: str) -> None:
        whole, part = read_video(media_dir / name), read_middles(media_dir / name)
        places = [
            int(np.flatnonzero((whole.time_s == t) & (whole.segment == s))[0])
            for t, s in zip(part.time_s, part.segment, strict=True)
        ]
        for stream in ("scene", "face"):
            every, some = pictures(whole, stream), pictures(part, stream)
            assert [every[i] for i in places] == some
        np.testing.assert_array_equal(whole.face_box[places], part.face_box)
        np.testing.assert_allclose(whole.face_landmarks[places], part.face_landmarks, atol=0.01)
        np.testing.assert_allclose(whole.face_score[places], part.face_score, atol=1e-4)
        assert part.warnings == whole.warnings and (part.audio == whole.audio).all()
        assert len(whole.time_s) > len(part.time_s) == 32
