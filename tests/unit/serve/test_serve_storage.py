"""Tests of the temporary storage: isolation, removal, leftovers of killed services."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnet.errors import ConfigError
from crnet.serve.limits import Limits
from crnet.serve.storage import MAX_NAME_LENGTH, PREFIX, START_S, Storage, display_name, new_token
from crnet.serve.worker import OUT_FOLDER, VIDEO_FILE, safe_file_name


def new_job(storage: Storage, tmp_path: Path) -> str:
    job_id = new_token()
    video = tmp_path / "upload"
    video.write_bytes(b"video")
    storage.new_job(job_id, video, is_upload=True)
    (storage.job_folder(job_id) / OUT_FOLDER).mkdir()
    (storage.job_folder(job_id) / OUT_FOLDER / "report.html").write_text("page")
    return job_id


def test_other_users_cannot_read_the_folder(storage: Storage) -> None:
    assert storage.folder.stat().st_mode & 0o077 == 0


def test_ids_are_long_and_random() -> None:
    ids = {new_token() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(bytes.fromhex(name)) == 16 for name in ids)


def test_only_the_results_of_a_job_are_kept(storage: Storage, tmp_path: Path) -> None:
    job_id = new_job(storage, tmp_path)
    folder = storage.job_folder(job_id)
    assert (folder / VIDEO_FILE).read_bytes() == b"video"
    (folder / "transcript.txt").write_text("words")
    (folder / OUT_FOLDER / "gradcam.png").write_bytes(b"of an explanation that was not finished")
    storage.keep_results_only(job_id, ("report.html",))
    assert [path.name for path in folder.iterdir()] == [OUT_FOLDER]
    assert storage.result_names(job_id) == ("report.html",)
    storage.remove_job(job_id)
    assert not folder.exists()
    assert storage.result_names(job_id) == ()


def test_results_are_found_by_name_only(storage: Storage, tmp_path: Path) -> None:
    job_id = new_job(storage, tmp_path)
    out = storage.job_folder(job_id) / OUT_FOLDER
    (tmp_path / "secret").write_text("secret")
    (out / "link.html").symlink_to(tmp_path / "secret")
    assert storage.result_file(job_id, "report.html") == out / "report.html"
    for name in ("other.html", "..", "../x", "", ".", "link.html", "a\0", "../../lock"):
        assert storage.result_file(job_id, name) is None, name


SERVICE = """
import sys
from pathlib import Path
from crnet.serve.storage import Storage
storage = Storage()
(storage.uploads / "video").write_bytes(b"video")
print(storage.folder, flush=True)
sys.stdin.read()
"""


def start(tmp_path: Path) -> tuple[subprocess.Popen[str], Path]:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_videos_of_a_killed_service_are_removed_by_the_next_one_and_those_of_a_running_one_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (running, its_folder), (killed, left_behind) = start(tmp_path), start(tmp_path)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert (left_behind / "uploads" / "video").exists()
    (its_folder / "lock").unlink()  # by a program that removes old files
    os.utime(its_folder, (time.time() - START_S - 1,) * 2)
    starting, old, foreign = (tmp_path / f"{PREFIX}{name}" for name in ("starting", "old", "file"))
    starting.mkdir()  # a service that has no lock yet
    old.mkdir()
    os.utime(old, (time.time() - START_S - 1,) * 2)
    foreign.write_text("no folder")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    Storage().close()
    running.kill()
    running.wait()
    assert not left_behind.exists()
    assert (its_folder / "uploads" / "video").exists()
    assert (starting.exists(), old.exists(), foreign.exists()) == (True, False, True)


def test_systemd_does_not_remove_the_files_of_an_idle_service(storage: Storage) -> None:
    """It skips every folder that it cannot lock (man 5 tmpfiles.d)."""
    folder = os.open(storage.folder, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(folder)


def test_the_folder_of_a_running_service_of_crnet_0_2_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / f"{PREFIX}older"
    folder.mkdir()
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        Storage().close()
        assert folder.exists()


def test_folders_of_other_users_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = tmp_path / f"{PREFIX}trap"
    trap.mkdir()
    os.mkfifo(trap / "lock")  # whoever opens it waits for ever
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("os.getuid", lambda: trap.stat().st_uid + 1)
    Storage().close()
    assert trap.exists()


@given(st.text())
def test_a_display_name_is_one_short_line_without_folders(name: str) -> None:
    shown = display_name(name)
    assert 0 < len(shown) <= MAX_NAME_LENGTH
    assert shown.isprintable()
    assert not {"/", "\\", ";"} & set(shown)


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
