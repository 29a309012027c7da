"""Videos given by name, and those below a folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from crnet.data.video_files import FetchFolder, list_videos
from crnet.errors import StorageError
from crnet.utils.storage import as_path


def test_list_videos_searches_folders_and_keeps_named_files(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.webm", "c.txt", ".hidden.mp4", "._a.mp4"):
        (tmp_path / name).write_text("")
    (tmp_path / "void").mkdir()
    videos = list_videos([tmp_path, tmp_path / "void", tmp_path / "c.txt", "gone.mp4"])
    assert [path.name for path in videos] == ["a.webm", "b.mp4", "void", "c.txt", "gone.mp4"]


def test_the_next_run_deletes_the_copies_that_a_killed_run_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    video = as_path("s3://bucket/a.mp4")
    killed = FetchFolder("s.csv").__enter__()
    assert killed.copy_of(tmp_path / "on a disk.mp4", 0) is None and not list(tmp_path.iterdir())
    copy = killed.copy_of(video, 7)
    assert copy is not None and copy.name == "7.mp4" and copy.parent.stat().st_mode & 0o777 == 0o700
    copy.touch()
    with FetchFolder("other.csv") as other:
        other.copy_of(video, 7)
        assert copy.exists()
    with FetchFolder("s.csv") as folder:
        assert not copy.exists() and folder.copy_of(video, 8) == copy.with_name("8.mp4")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_somebody_else_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with FetchFolder("s.csv") as folder:
        copy = FetchFolder("s.csv").copy_of(as_path("s3://bucket/a.mp4"), 0)
        assert copy is not None and copy.parent.is_dir()
        with pytest.raises(StorageError, match="cannot be made"):
            folder.copy_of(as_path("s3://bucket/a.mp4"), 0)
