"""Temporary storage of uploads, jobs and results under random names, removed after a set time."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crnet.errors import StorageError
from crnet.serve.limits import Limits
from crnet.serve.worker import OUT_FOLDER, VIDEO_FILE
from crnet.serve.worker_client import ScoringError

PREFIX = "crnet-serve-"
UPLOADS, JOBS, RESULTS = "uploads", "jobs", "results"
TOKEN_BYTES = 16  # long enough that a visitor cannot guess another visitor's folder
SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp", ".ts")
OTHER_SUFFIX = ".bin"
MAX_NAME_LENGTH = 80  # characters of a visitor's file name on the page
MAX_PENDING_UPLOADS = 10  # total size of unscored uploads, in units of the largest upload

_TOKEN = re.compile(r"[0-9a-f]{32}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}")


class Storage:
    """Temporary folder of this server, readable by its user only and removed when the server ends."""

    def __init__(self, limits: Limits) -> None:
        _remove_leftovers()
        self.limits = limits
        try:
            self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
            for name in (UPLOADS, JOBS, RESULTS):
                (self.folder / name).mkdir()
        except OSError as error:
            raise StorageError(
                f"cannot write: {error.strerror}",
                path=tempfile.gettempdir(),
                remedy="free some space or set TMPDIR to another folder",
            ) from error

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_upload(self, name: str) -> Path:
        """Return the path for a new upload. The visitor's file name only decides the suffix.

        Raises:
            ScoringError: Too many unscored uploads.
        """
        uploads = self.folder / UPLOADS
        size = sum(file.stat().st_size for file in uploads.glob("*/*"))
        if size > MAX_PENDING_UPLOADS * self.limits.max_upload_bytes:
            raise ScoringError("the server has no space for another video", remedy="try again in a few minutes")
        suffix = Path(name).suffix.lower()
        folder = uploads / secrets.token_hex(TOKEN_BYTES)
        folder.mkdir()
        return folder / f"video{suffix if suffix in SUFFIXES else OTHER_SUFFIX}"

    def upload(self, path: str) -> Path:
        """Return an uploaded file, given the path that the upload returned.

        Raises:
            ScoringError: No such upload.
        """
        # Rebuild the path from parts that are checked one by one: never open a path that a visitor sends.
        folder, name = Path(path).parent.name, Path(path).name
        file = self.folder / UPLOADS / folder / name
        is_upload = bool(_TOKEN.fullmatch(folder)) and bool(_FILE_NAME.fullmatch(name)) and Path(path) == file
        if not is_upload or file.is_symlink() or not file.is_file():
            raise ScoringError("the video is no longer on the server", remedy="send it again")
        return file

    @contextmanager
    def job_folder(self, upload: Path, *, keep_upload: bool) -> Iterator[Path]:
        """Provide a temporary folder with an uploaded video as `VIDEO_FILE`; delete the upload too unless kept."""
        folder = self.folder / JOBS / secrets.token_hex(TOKEN_BYTES)
        folder.mkdir()
        try:
            os.link(upload, folder / VIDEO_FILE)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if not keep_upload:
                shutil.rmtree(upload.parent, ignore_errors=True)

    def publish(self, job_folder: Path) -> str:
        """Move the files of a finished job to where the visitor can download them; return their folder's token."""
        token = secrets.token_hex(TOKEN_BYTES)
        (job_folder / OUT_FOLDER).rename(self.folder / RESULTS / token)
        return token

    def result(self, token: str, name: str) -> Path | None:
        """Return a file of a result, or None if it does not exist."""
        if not _TOKEN.fullmatch(token) or not _FILE_NAME.fullmatch(name):
            return None
        path = self.folder / RESULTS / token / name
        return path if path.is_file() and not path.is_symlink() else None

    def remove_expired(self) -> None:
        """Remove unscored uploads and results that are older than the limit."""
        oldest_s = time.time() - 60 * self.limits.keep_minutes
        for kind in (UPLOADS, RESULTS):
            for folder in (self.folder / kind).iterdir():
                if folder.stat().st_mtime < oldest_s:
                    shutil.rmtree(folder, ignore_errors=True)


def display_name(name: str) -> str:
    """Return a visitor's file name for display: one short line of printable characters, without folders."""
    last = re.split(r"[/\\]", name)[-1]
    printable = "".join(character for character in last if character.isprintable()).strip()
    return printable[:MAX_NAME_LENGTH] or "video"


def _remove_leftovers() -> None:
    """Remove the folders of servers that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        pid = folder.name.removeprefix(PREFIX).split("-")[0]
        # In a container every server has the same process id.
        if pid.isdecimal() and (int(pid) == os.getpid() or not _is_running(int(pid))):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
