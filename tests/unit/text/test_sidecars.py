"""Which transcript beside a video is used."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from crnet.text import sidecars
from crnet.text.sidecars import find_sidecars
from crnet.text.transcripts import find_sidecar, find_transcript

IN_ORDER = (
    "talk.txt",
    "talk.srt",
    "talk.SRT",
    "talk.ass",
    "talk.mp4.srt",
    "talk.en.srt",
    "talk.en.VTT",
    "talk.en-US.srt",
    "talk.eng.sdh.srt",
    "talk.de.srt",
    "talk.pt-BR.srt",
    "talk.en.forced.srt",
    "talk.mp4.en.srt",
)
OF_OTHER_VIDEOS = ("talk2.srt", "talk.part2.srt", "talks.en.srt", "Talk.srt", "talk.srt.bak", "talk.fr.srt", "talk")


def test_order_of_transcripts_beside_a_video(tmp_path: Path) -> None:
    for name in (*IN_ORDER, *OF_OTHER_VIDEOS, "talk.fr.mp4"):
        (tmp_path / name).write_text("x")
    assert [path.name for path in find_sidecars(tmp_path / "talk.mp4")] == list(IN_ORDER)


@pytest.mark.parametrize("name", ["talk.en.srt", "talk.SRT", "talk.mp4.srt", "talk.Txt"])
def test_a_single_transcript_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("Hello")
    assert find_transcript(tmp_path / "talk.mp4").text == "Hello"


def test_accents_may_be_written_in_two_ways(tmp_path: Path) -> None:
    (tmp_path / "e\u0301t\u00e9.srt").write_text("Hello")
    assert find_transcript(tmp_path / "\u00e9te\u0301.mp4").text == "Hello"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_special_files_and_links_out_of_the_folder_are_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "talk.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "talk.vtt").symlink_to("talk.vtt")
    os.mkfifo(folder / "talk.srt")
    (folder / "talk.ass").mkdir()
    assert find_sidecars(folder / "talk.mp4") == []
    assert caplog.messages == [
        f"{folder / f'talk{suffix}'} is skipped: not a regular file, or a link to another folder"
        for suffix in (".ass", ".srt", ".txt", ".vtt")
    ]
    (folder / "words.txt").write_text("Hello")
    (folder / "talk.en.srt").symlink_to("words.txt")
    assert find_transcript(folder / "talk.mp4").text == "Hello"


def test_a_warning_names_transcripts_with_other_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    video = tmp_path / "talk.mp4"
    (tmp_path / "talk.txt").write_text("Hello")
    (tmp_path / "talk.srt").write_text("00:01 --> 00:02\nHello")
    with caplog.at_level(logging.DEBUG, "crnet"):
        assert find_sidecar(video) == tmp_path / "talk.txt"
        assert caplog.messages == [f"{video}: the transcript is talk.txt"]
        caplog.clear()
        (tmp_path / "talk.de.srt").write_text("00:01 --> 00:02\nHallo")
        find_sidecar(video)
        assert caplog.messages == [f"{video}: the transcript is talk.txt; other words are in talk.de.srt"]


def test_a_folder_is_listed_again_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(tmp_path, (1, 1))
    assert find_sidecars(tmp_path / "talk.mp4") == []
    with monkeypatch.context() as patch:
        patch.setattr(sidecars.os, "listdir", None)  # a folder that has not changed is listed once
        assert find_sidecars(tmp_path / "talk.mp4") == []
    (tmp_path / "talk.srt").write_text("x")
    assert find_sidecars(tmp_path / "talk.mp4") == [tmp_path / "talk.srt"]


def test_a_missing_folder_has_no_transcripts(tmp_path: Path) -> None:
    assert find_sidecars(tmp_path / "missing" / "talk.mp4") == []
