"""Tests of the clips that benchmarks measure with."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.clips import bare_decode, looped, standard_clip
from crnet.errors import MediaError
from crnet.media.audio import read_audio
from crnet.media.video import probe
from grey_video import write_grey_video


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return standard_clip(None, tmp_path_factory.mktemp("synthetic") / "clip.mp4", 0.6)


def test_a_synthetic_clip_has_the_standard_format(synthetic: Path) -> None:
    info = probe(synthetic)
    assert (info.width, info.height, len(info.frame_times_s)) == (1280, 720, 18)
    assert info.fps == pytest.approx(30, rel=0.01) and info.simulated
    assert len(read_audio(synthetic)) == pytest.approx(0.6 * 16_000, rel=0.1)


def test_a_short_slow_silent_video_is_repeated_at_its_own_speed(tmp_path: Path) -> None:
    source = write_grey_video(tmp_path / "grey.mp4", seconds=0.5, fps=10)
    clip = standard_clip(source, tmp_path / "clip.mp4", 1.0)
    info = probe(clip)
    assert (info.width, info.height, len(info.frame_times_s)) == (1280, 720, 30)
    assert not info.simulated and info.has_audio
    assert not read_audio(clip).any()


def test_looping_repeats_a_clip_without_decoding(synthetic: Path, tmp_path: Path) -> None:
    twice = looped(synthetic, 2, tmp_path / "twice.mp4")
    assert len(probe(twice).frame_times_s) == 36 and not probe(twice).truncated
    assert len(read_audio(twice)) == pytest.approx(2 * len(read_audio(synthetic)), rel=0.1)
    assert bare_decode(twice) == pytest.approx(2 * bare_decode(synthetic), abs=2)


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(MediaError):
        standard_clip(tmp_path / "a.mp4", tmp_path / "clip.mp4", 1.0)
