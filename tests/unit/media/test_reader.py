"""Read a video file into a clip, and the settings for that."""

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
from crnet.media.audio import read_audio
from crnet.media.reader import read_video
from crnet.media.settings import EARLIER_VERSION, MediaSettings, with_attribute_names
from crnet.media.video import SIMULATED_COMMENT, decode, probe
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
def read_middle_frames(path: Path) -> Clip:
    return read_video(path, MediaSettings(frames_per_segment=1))


def pictures(clip: Clip, stream: str) -> list[bytes]:
    data, offsets = getattr(clip, f"{stream}_jpeg"), getattr(clip, f"{stream}_offsets")
    return [data[a:b].tobytes() for a, b in pairwise(offsets)]


def colours(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.full((height, width, 3), rng.integers(60, 200, 3), np.uint8) for _ in range(count)]


class TestSettings:
    def test_the_fingerprint_depends_on_every_setting(self) -> None:
        assert MediaSettings().fingerprint() == MediaSettings().fingerprint()
        assert len(MediaSettings().fingerprint()) == 16
        others = [MediaSettings(pixels=64), MediaSettings(face_margin=0.3), MediaSettings(frames_per_segment=1)]
        assert len({s.fingerprint() for s in [MediaSettings(), *others]}) == 4

    def test_stored_names_and_fingerprint_of_the_default_settings(self) -> None:
        settings = MediaSettings()
        assert settings.fingerprint(EARLIER_VERSION) == "84006a53db65c168"  # stores made by earlier versions have it
        assert settings.fingerprint() == "b3f521dc789a9697"
        document = settings.to_dict()
        assert {"every_s", "afresh_s"} <= set(document["detection"])
        assert from_dict(MediaSettings, with_attribute_names(document), Path()) == settings

    @pytest.mark.parametrize(
        "wrong",
        [{"segments": 0}, {"frames_per_segment": 200}, {"pixels": 4}, {"jpeg_quality": 101}, {"face_margin": -1}],
    )
    def test_values_out_of_range_are_refused(self, wrong: dict[str, int]) -> None:
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            MediaSettings(**wrong)  # type: ignore[arg-type]


class TestSyntheticVideos:
    def test_a_video_without_face_and_sound(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", colours(20), comment=SIMULATED_COMMENT)
        clip = read_video(path, SMALL)
        assert clip.warnings == (
            "no face was found; the centre of the picture is used instead",
            "there is no sound",
        )
        assert clip.simulated and not clip.has_audio and clip.audio.dtype == np.int16
        assert np.isnan(clip.face_box).all() and np.isnan(clip.face_score).all()
        assert clip.segment.tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
        np.testing.assert_allclose(clip.time_s, np.arange(20) * 0.04, atol=1e-6)
        assert len(clip.source_sha256) == 64 and clip.settings == SMALL.fingerprint()

    def test_scene_and_face_pictures_show_their_frames(self, tmp_path: Path) -> None:
        images = colours(20)
        clip = read_video(write_video(tmp_path / "a.mp4", images), SMALL)
        for stream in ("scene", "face"):
            for image, jpeg in zip(images, pictures(clip, stream), strict=True):
                picture = simplejpeg.decode_jpeg(jpeg, "RGB")
                assert picture.shape == (32, 32, 3)
                np.testing.assert_allclose(picture.mean(axis=(0, 1)), image[0, 0], atol=6)

    def test_without_a_face_the_centre_square_is_used(self, tmp_path: Path) -> None:
        image = np.full((40, 120, 3), 250, np.uint8)
        image[:, 40:80] = 30
        clip = read_video(write_video(tmp_path / "a.mp4", [image] * 3), SMALL)
        face = simplejpeg.decode_jpeg(pictures(clip, "face")[0], "RGB")
        assert face[:, 5:-5].mean() < 60

    def test_a_video_of_one_pixel(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mkv", [np.full((1, 1, 3), 200, np.uint8)], codec="ffv1", pixel_format="bgr0")
        clip = read_video(path, SMALL, allow_still=True)
        assert clip.segment.tolist() == [0, 1, 2, 3] and clip.time_s.tolist() == [0] * 4
        assert (clip.width, clip.height) == (1, 1)

    def test_a_black_and_silent_video_gives_warnings(self, tmp_path: Path) -> None:
        black = [np.zeros((48, 64, 3), np.uint8)] * 10
        clip = read_video(write_video(tmp_path / "a.mkv", black, sound=np.zeros((1, 8000), np.float32)), SMALL)
        assert clip.warnings[0] == "the picture is black" and clip.warnings[-1] == "the sound is nearly silent"
        assert clip.has_audio and len(clip.audio) == 8000

    @pytest.mark.parametrize("share", [0.35, 0.6])
    def test_a_truncated_file_gives_a_warning(
        self, tmp_path: Path, share: float, capfd: pytest.CaptureFixture[str]
    ) -> None:
        rng = np.random.default_rng(0)
        images = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(40)]
        path = write_video(tmp_path / "a.mp4", images, options={"movflags": "faststart"})
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        clip = read_video(path, SMALL)
        assert "truncated or damaged" in clip.warnings[0]
        assert set(clip.segment.tolist()) == {0, 1, 2, 3}
        assert capfd.readouterr() == ("", "")

    def test_paths_may_be_strings(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", colours(4), sound=np.zeros((1, 3200), np.float32))
        clip = read_video(str(path), SMALL)
        assert clip.clip_id == str(path) and clip.source_sha256 == read_video(path, SMALL).source_sha256
        assert (read_audio(str(path)) == clip.audio).all()
        info = probe(str(path))
        assert [frame.index for frame in decode(str(path), info)] == [0, 1, 2, 3]

    def test_a_file_that_is_not_a_video_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_text("hello\n" * 1000)
        with pytest.raises(MediaError):
            read_video(tmp_path / "a.mp4")


class TestRealClips:
    @pytest.mark.parametrize("name", SPEAKERS)
    def test_the_face_of_a_speaker_is_found(self, media_dir: Path, name: str) -> None:
        clip = read_middle_frames(media_dir / name)
        has_face = ~np.isnan(clip.face_box[:, 0])
        if name == "presenter_outdoors.mp4":
            has_face = has_face[clip.time_s > TITLES_END_S]
        assert len(has_face) >= 26 and has_face.mean() >= 0.95
        assert not any("face" in w for w in clip.warnings if name != "presenter_outdoors.mp4")

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
    def test_difficult_clips_give_warnings(self, media_dir: Path, name: str, warning: str) -> None:
        clip = read_middle_frames(media_dir / name)
        assert any(warning in text for text in clip.warnings)

    @pytest.mark.parametrize("name", ["edge_face_disappears.mov", "speaker_c.mpg"])
    def test_middle_frames_do_not_depend_on_other_kept_frames(self, media_dir: Path, name: str) -> None:
        all_frames, middles = read_video(media_dir / name), read_middle_frames(media_dir / name)
        places = [
            int(np.flatnonzero((all_frames.time_s == t) & (all_frames.segment == s))[0])
            for t, s in zip(middles.time_s, middles.segment, strict=True)
        ]
        for stream in ("scene", "face"):
            every, some = pictures(all_frames, stream), pictures(middles, stream)
            assert [every[i] for i in places] == some
        np.testing.assert_array_equal(all_frames.face_box[places], middles.face_box)
        np.testing.assert_allclose(all_frames.face_landmarks[places], middles.face_landmarks, atol=0.01)
        np.testing.assert_allclose(all_frames.face_score[places], middles.face_score, atol=1e-4)
        assert middles.warnings == all_frames.warnings and (middles.audio == all_frames.audio).all()
        assert len(all_frames.time_s) > len(middles.time_s) == 32
