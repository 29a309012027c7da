"""Temporary folder of the service: uploads and jobs under random names, removed when the service ends."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

from crnet.errors import StorageError
from crnet.serve.worker import OUT_FOLDER, VIDEO_FILE

PREFIX = "crnet-serve-"
LOCK_FILE = "lock"
UPLOADS, JOBS = "uploads", "jobs"
TOKEN_BYTES = 16  # nobody can guess another visitor's upload or job
START_S = 60.0  # a folder this young without a lock belongs to a service that is starting
MAX_NAME_LENGTH = 80  # characters of a visitor's file name on the page

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}")


class Storage:
    """Temporary folder of this service, readable by its user only.

    The folder holds a lock as long as its service runs, however that ends. The next service removes every folder whose
    lock is free. Process ids would not do: another process may have got the id of a killed service, and in a
    container every service has the same one. The folder itself is locked, so that systemd leaves it alone when it
    removes old files (man 5 tmpfiles.d), and a file in it, which tells that the service has started.

    Raises:
        StorageError: The folder for temporary files is not writable.
    """

    def __init__(self) -> None:
        _remove_leftovers()
        try:
            self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
            self._locks = [_open(self.folder)]
            fcntl.flock(self._locks[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
            (self.folder / LOCK_FILE).touch()
            self._locks.append(_open(self.folder / LOCK_FILE))
            fcntl.flock(self._locks[1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.uploads, self._jobs = self.folder / UPLOADS, self.folder / JOBS
            self.uploads.mkdir()
            self._jobs.mkdir()
        except OSError as error:
            raise StorageError(
                f"cannot write: {error.strerror}",
                path=tempfile.gettempdir(),
                remedy="free some space or set TMPDIR to another folder",
            ) from error

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for lock in self._locks:
            os.close(lock)

    def job_folder(self, job_id: str) -> Path:
        """Return the folder of a job."""
        return self._jobs / job_id

    def new_job(self, job_id: str, video: Path, *, is_upload: bool) -> None:
        """Make the folder of a job, with its video as `VIDEO_FILE`; a video of the operator's stays in place."""
        folder = self.job_folder(job_id)
        folder.mkdir()
        if is_upload:
            video.rename(folder / VIDEO_FILE)
        else:
            (folder / VIDEO_FILE).symlink_to(video)

    def remove_job(self, job_id: str) -> None:
        """Remove a job and everything that belongs to it."""
        shutil.rmtree(self._jobs / job_id, ignore_errors=True)

    def keep_results_only(self, job_id: str, names: Collection[str]) -> None:
        """Remove the video, the transcript and every other file of a job but those of its result."""
        for path in (self._jobs / job_id).iterdir():
            if path.name != OUT_FOLDER or path.is_symlink():
                _remove(path)
        for path in (self._jobs / job_id / OUT_FOLDER).iterdir():
            if path.name not in names:  # an explanation that was not finished
                _remove(path)

    def result_names(self, job_id: str) -> tuple[str, ...]:
        """Return the names of the files of a result."""
        folder = self._jobs / job_id / OUT_FOLDER
        return tuple(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else ()

    def result_file(self, job_id: str, name: str) -> Path | None:
        """Return a file of a result, or None if there is none of this name."""
        if not _FILE_NAME.fullmatch(name):
            return None
        path = self._jobs / job_id / OUT_FOLDER / name
        return path if path.is_file() and not path.is_symlink() else None


def new_token() -> str:
    """Return a random name that cannot be guessed."""
    return secrets.token_hex(TOKEN_BYTES)


def display_name(name: str) -> str:
    """Return a visitor's file name for display: a short line of printable characters, no folders, no semicolons."""
    last = re.split(r"[/\\]", name)[-1]
    printable = "".join(character for character in last if character.isprintable()).strip()
    # A spreadsheet that separates cells by semicolons would find a cell in the middle of a name in a CSV file.
    return printable.replace(";", ",")[:MAX_NAME_LENGTH] or "video"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_leftovers() -> None:
    """Remove the folders of services that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if _is_ours(folder) and not _is_in_use(folder):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # another service has just removed it
            continue


def _is_ours(folder: Path) -> bool:
    """Return whether a folder belongs to this user; in another user's, opening the lock might block."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _is_in_use(folder: Path) -> bool:
    """Return whether the service of a folder runs, or starts."""
    if not (folder / LOCK_FILE).exists() and time.time() - folder.stat().st_mtime < START_S:
        return True
    return _is_locked(folder) or _is_locked(folder / LOCK_FILE)  # crnet 0.2 locks the file only


def _is_locked(path: Path) -> bool:
    try:
        lock = _open(path)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
