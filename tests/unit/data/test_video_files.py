"""Videos given by name, and those below a folder."""

from __future__ import annotations

from pathlib import Path

from crnet.data.video_files import list_videos


def test_list_videos_searches_folders_and_keeps_named_files(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.webm", "c.txt", ".hidden.mp4", "._a.mp4"):
        (tmp_path / name).write_text("")
    (tmp_path / "void").mkdir()
    videos = list_videos([tmp_path, tmp_path / "void", tmp_path / "c.txt", "gone.mp4"])
    assert [path.name for path in videos] == ["a.webm", "b.mp4", "void", "c.txt", "gone.mp4"]
