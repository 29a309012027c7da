"""Tests of the temporary storage: random names, isolation, removal."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnet.errors import ConfigError
from crnet.serve.limits import BYTES_PER_MB, Limits
from crnet.serve.storage import MAX_NAME_LENGTH, RESULTS, UPLOADS, Storage, display_name
from crnet.serve.worker import OUT_FOLDER, VIDEO_FILE, safe_file_name
from crnet.serve.worker_client import ScoringError


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    storage = Storage(Limits(max_upload_mb=1, keep_minutes=1))
    yield storage
    storage.close()
    assert not storage.folder.exists()


def uploaded(storage: Storage, name: str = "talk.mp4") -> Path:
    path = storage.new_upload(name)
    path.write_bytes(b"video")
    return path


@pytest.mark.parametrize(
    ("name", "file_name"),
    [
        ("talk.mp4", "video.mp4"),
        ("Talk.MOV", "video.mov"),
        ("page.html", "video.bin"),
        ("../../x.mp4", "video.mp4"),
        ("-rf", "video.bin"),
        ("", "video.bin"),
        ("a.mp4/../../b", "video.bin"),
    ],
)
def test_only_a_known_suffix_of_the_name_is_kept(storage: Storage, name: str, file_name: str) -> None:
    path = storage.new_upload(name)
    assert path.name == file_name
    assert path.parent.parent == storage.folder / UPLOADS


def test_two_uploads_of_one_file_get_different_paths(storage: Storage) -> None:
    assert uploaded(storage) != uploaded(storage)


def test_other_users_cannot_read_the_folder(storage: Storage) -> None:
    assert storage.folder.stat().st_mode & 0o077 == 0


def test_only_the_path_of_an_upload_is_accepted(storage: Storage, tmp_path: Path) -> None:
    path = uploaded(storage)
    assert storage.upload(str(path)) == path
    (tmp_path / "secret.mp4").write_text("secret")
    (path.parent / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    for other in (
        "/etc/passwd",
        "",
        str(tmp_path / "secret.mp4"),
        str(path.parent / "link.mp4"),
        str(path.parent / ".." / path.parent.name / path.name),
        str(path.parent),
        str(path.relative_to(storage.folder)),
        f"{path}\0",
    ):
        with pytest.raises(ScoringError, match="no longer on the server"):
            storage.upload(other)


@pytest.mark.parametrize("keep", [False, True])
def test_a_job_folder_holds_the_video_until_the_job_ends(storage: Storage, keep: bool) -> None:
    path = uploaded(storage)
    with pytest.raises(ZeroDivisionError), storage.job_folder(path, keep_upload=keep) as folder:
        assert (folder / VIDEO_FILE).read_bytes() == b"video"
        raise ZeroDivisionError
    assert not folder.exists()
    assert path.exists() == keep
    assert path.parent.exists() == keep


def test_results_are_found_by_token_and_file_name(storage: Storage) -> None:
    with storage.job_folder(uploaded(storage), keep_upload=False) as folder:
        (folder / OUT_FOLDER).mkdir()
        (folder / OUT_FOLDER / "report.html").write_text("page")
        token = storage.publish(folder)
    assert storage.result(token, "report.html") == storage.folder / RESULTS / token / "report.html"
    for bad_token, name in ((token, "other.html"), (token, ".."), (token, "../x"), ("..", "x"), ("0" * 32, "x")):
        assert storage.result(bad_token, name) is None


def test_expired_uploads_are_removed(storage: Storage) -> None:
    old, new = uploaded(storage), uploaded(storage)
    os.utime(old.parent, (time.time() - 61,) * 2)
    storage.remove_expired()
    assert not old.parent.exists()
    assert new.exists()


def test_uploads_cannot_fill_the_disk(storage: Storage) -> None:
    for _ in range(11):
        with storage.new_upload("a.mp4").open("wb") as file:
            file.truncate(BYTES_PER_MB)
    with pytest.raises(ScoringError, match="no space"):
        storage.new_upload("a.mp4")


def test_folders_of_killed_servers_are_removed_and_those_of_running_servers_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    gone, running, foreign = (tmp_path / f"crnet-serve-{owner}-x" for owner in (2**22 + 1, os.getppid(), "me"))
    for folder in (gone, running, foreign):
        (folder / "uploads").mkdir(parents=True)
    Storage(Limits()).close()
    assert [folder.exists() for folder in (gone, running, foreign)] == [False, True, True]


@given(st.text())
def test_a_display_name_is_one_short_line_without_folders(name: str) -> None:
    shown = display_name(name)
    assert 0 < len(shown) <= MAX_NAME_LENGTH
    assert shown.isprintable()
    assert not {"/", "\\"} & set(shown)


@given(st.text())
def test_a_safe_file_name_is_no_option_and_has_no_suffix(name: str) -> None:
    safe = safe_file_name(name)
    assert safe.startswith("video_")
    assert safe.replace("_", "a").isalnum()
    assert len(safe) < 100


@pytest.mark.parametrize(
    "limit", [{"max_upload_mb": 0}, {"max_duration_s": -1}, {"max_time_s": float("nan")}, {"max_waiting": -1}]
)
def test_an_invalid_limit_is_named(limit: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(limit))):
        Limits(**limit)  # type: ignore[arg-type]
