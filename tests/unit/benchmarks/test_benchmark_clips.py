"""The clips that are measured with, and `python -m benchmarks` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.clips import bare_decode, looped, standard_clip
from crnet.errors import MediaError
from crnet.media.audio import read_audio
from crnet.media.video import probe
from grey_video import write_grey_video


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return standard_clip(None, tmp_path_factory.mktemp("drawn") / "clip.mp4", 0.6)


def test_a_drawn_clip_is_of_the_standard(drawn: Path) -> None:
    info = probe(drawn)
    assert (info.width, info.height, len(info.frame_times_s)) == (1280, 720, 18)
    assert info.fps == pytest.approx(30, rel=0.01) and info.simulated
    assert len(read_audio(drawn)) == pytest.approx(0.6 * 16_000, rel=0.1)


def test_a_short_slow_silent_video_is_repeated_at_its_own_pace(tmp_path: Path) -> None:
    source = write_grey_video(tmp_path / "grey.mp4", seconds=0.5, fps=10)
    clip = standard_clip(source, tmp_path / "clip.mp4", 1.0)
    info = probe(clip)
    assert (info.width, info.height, len(info.frame_times_s)) == (1280, 720, 30)
    assert not info.simulated and info.has_audio
    assert not read_audio(clip).any()


def test_looping_repeats_without_decoding(drawn: Path, tmp_path: Path) -> None:
    twice = looped(drawn, 2, tmp_path / "twice.mp4")
    assert len(probe(twice).frame_times_s) == 36 and not probe(twice).truncated
    assert len(read_audio(twice)) == pytest.approx(2 * len(read_audio(drawn)), rel=0.1)
    assert bare_decode(twice) == pytest.approx(2 * bare_decode(drawn), abs=2)


def test_a_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(MediaError):
        standard_clip(tmp_path / "a.mp4", tmp_path / "clip.mp4", 1.0)


def test_the_command_prints_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trees", "--quick", "--json"]) == 0
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert {row["name"] for row in rows} >= {"trees: time to grow", "trees: size", "trees: one clip"}
    assert all(list(row) == ["name", "value", "unit", "goal", "holds", "limit", "detail"] for row in rows)
    assert "cores" in err


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trees", "--quick"]) == 0
    out, _ = capsys.readouterr()
    assert "goals hold" in out and "trees: size" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["everything"], "everything"),
        (["trees", "--repeats", "0"], "0 repeats"),
        (["prepare", "--quick", "--video", "no-such.mp4"], "no such file"),
    ],
)
def test_bad_calls_are_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(words)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "benchmarks: " in last and said in last


@pytest.mark.slow
def test_every_part_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["all", "--quick", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"].split(":")[0] for row in rows} == {"prepare", "faces", "loader", "train", "predict", "trees"}
    assert len({row["name"] for row in rows}) == len(rows) >= 15
