"""Where the server keeps what visitors send and get: under names of our own making, and not for long."""

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
TOKEN_BYTES = 16  # nobody guesses a folder of another visitor
SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp", ".ts")
OTHER_SUFFIX = ".bin"
LONGEST_NAME = 80  # characters of a visitor's file name that are shown
UPLOADS_AT_ONCE = 10  # times the largest upload: what may lie here unscored

_TOKEN = re.compile(r"[0-9a-f]{32}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}")


class Storage:
    """A temporary folder of this server, readable for its user only and gone when the server ends."""

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
        """Remove everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_upload(self, name: str) -> Path:
        """Where to write a visitor's file. Of the name only a known ending is kept.

        Raises:
            ScoringError: Too much lies here already.
        """
        uploads = self.folder / UPLOADS
        size = sum(file.stat().st_size for file in uploads.glob("*/*"))
        if size > UPLOADS_AT_ONCE * self.limits.upload_bytes:
            raise ScoringError(
                "the server has no room for another video right now", remedy="try again in a few minutes"
            )
        suffix = Path(name).suffix.lower()
        folder = uploads / secrets.token_hex(TOKEN_BYTES)
        folder.mkdir()
        return folder / f"video{suffix if suffix in SUFFIXES else OTHER_SUFFIX}"

    def upload(self, path: str) -> Path:
        """A file that a visitor has uploaded, named by the path that the upload returned.

        Raises:
            ScoringError: No such upload.
        """
        # Joined anew from parts that are checked one by one: a path that a stranger sends is never opened.
        folder, name = Path(path).parent.name, Path(path).name
        found = self.folder / UPLOADS / folder / name
        is_ours = bool(_TOKEN.fullmatch(folder)) and bool(_FILE_NAME.fullmatch(name)) and Path(path) == found
        if not is_ours or found.is_symlink() or not found.is_file():
            raise ScoringError("the video is no longer on the server", remedy="send it again")
        return found

    @contextmanager
    def job(self, upload: Path, *, keep_upload: bool) -> Iterator[Path]:
        """A folder with an uploaded video as `VIDEO_FILE`, removed at the end; the upload goes as well unless kept."""
        folder = self.folder / JOBS / secrets.token_hex(TOKEN_BYTES)
        folder.mkdir()
        try:
            os.link(upload, folder / VIDEO_FILE)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if not keep_upload:
                shutil.rmtree(upload.parent, ignore_errors=True)

    def publish(self, job: Path) -> str:
        """Move the files of a finished job to where the visitor can get them; returns the token of their folder."""
        token = secrets.token_hex(TOKEN_BYTES)
        (job / OUT_FOLDER).rename(self.folder / RESULTS / token)
        return token

    def result(self, token: str, name: str) -> Path | None:
        """A file of a result; None if there is none of this name (any more)."""
        if not _TOKEN.fullmatch(token) or not _FILE_NAME.fullmatch(name):
            return None
        path = self.folder / RESULTS / token / name
        return path if path.is_file() and not path.is_symlink() else None

    def sweep(self) -> None:
        """Remove uploads that nobody scored, and results, when their time is over."""
        oldest_s = time.time() - 60 * self.limits.kept_min
        for kind in (UPLOADS, RESULTS):
            for folder in (self.folder / kind).iterdir():
                if folder.stat().st_mtime < oldest_s:
                    shutil.rmtree(folder, ignore_errors=True)


def shown_name(name: str) -> str:
    """A visitor's file name as it is shown: one short line of visible characters, without folders."""
    last = re.split(r"[/\\]", name)[-1]
    visible = "".join(character for character in last if character.isprintable()).strip()
    return visible[:LONGEST_NAME] or "video"


def _remove_leftovers() -> None:
    """Remove the folders of servers that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        pid = folder.name.removeprefix(PREFIX).split("-")[0]
        # In a container every server has the same number.
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
