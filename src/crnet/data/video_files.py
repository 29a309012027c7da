"""Find video files by name."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from crnet.errors import CrnetError, MediaError, StorageError, UsageError
from crnet.utils.path_checks import why_absent
from crnet.utils.resumable import short_fingerprint
from crnet.utils.storage import RemotePath, as_path

VIDEO_SUFFIXES = frozenset(
    (
        ".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".divx", ".mpg", ".mpeg", ".mpe", ".m1v", ".m2v",
        ".vob", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".ogm", ".ts", ".mts", ".m2ts", ".mxf", ".dv", ".3gp", ".3g2",
    )
)  # fmt: skip
"""Suffixes of files that count as videos; a CSV may list files with any suffix."""

MOST_FILES = 1_000_000  # limits memory when somebody gives a whole disk by mistake

NAMES_SHOWN = 3

LARGEST_DOWNLOAD_BYTES = 8 << 30  # of a video in object storage; a clip of FIv2 has about 3 MB

_log = logging.getLogger(__name__)


def is_video(name: str) -> bool:
    """Whether a file name is that of a video. The AppleDouble files of macOS (`._*`) are not videos."""
    stem, suffix = os.path.splitext(name.rsplit("/", 1)[-1])  # noqa: PTH122  # a member of an archive is not a path
    return suffix.lower() in VIDEO_SUFFIXES and not stem.startswith(".")


def is_regular(path: Path) -> bool:
    """Whether the path, after links, is a regular file. Reading a pipe or a device could block forever."""
    if isinstance(path, RemotePath):
        return path.is_file()
    return os.path.isfile(path)  # noqa: PTH113  # unlike Path.is_file, returns False for any inaccessible path


def find_files(root: Path, exclude: Path | None = None, *, warn: bool = True) -> Iterator[Path]:
    """Yield all regular files below a folder in a stable order. Links to folders are followed once.

    Args:
        root: The folder, or one file. Hidden files and folders below it are skipped.
        exclude: A folder below it to skip: the store that is being written.
        warn: Whether to log what is skipped because it is no regular file.

    Raises:
        UsageError: There are more files than any dataset has.
    """
    if root.is_file():
        yield root
        return
    if isinstance(root, RemotePath):
        yield from _find_objects(root, exclude, warn)
        return
    count = 0
    visited: set[Path] = set()
    excluded = None if exclude is None else exclude.resolve()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        resolved = Path(folder).resolve()
        if resolved in visited or resolved == excluded:
            subfolders.clear()
            continue
        visited.add(resolved)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(".") and name != "__MACOSX")
        for file in (Path(folder, name) for name in sorted(names) if not name.startswith(".")):
            if is_regular(file):
                count += 1
                yield file
            elif warn:
                _log.warning("%s is skipped: not a regular file, or a broken link", file)
            if count > MOST_FILES:
                remedy = "give the dataset's own folder"
                raise UsageError(f"holds more than {MOST_FILES} files", path=root, remedy=remedy)


class FilesBelow(Iterable[Path]):
    """The files below a folder, which are found anew by each iteration, because there may be millions.

    Args:
        root, exclude: See `find_files`.
    """

    def __init__(self, root: Path, exclude: Path | None = None) -> None:
        self._root, self._exclude = root, exclude
        self._warns = True

    def __iter__(self) -> Iterator[Path]:
        yield from find_files(self._root, self._exclude, warn=self._warns)
        self._warns = False  # once is enough


def _find_objects(root: RemotePath, exclude: Path | None, warn: bool) -> list[Path]:
    """Return all objects below a folder, with the same exceptions as `find_files`."""
    found, odd = root.find()
    if odd and warn:
        _log.warning("%s: %d objects are skipped, because their names have an empty part, . or ..: %s", root, len(odd),
                     ", ".join(odd[:NAMES_SHOWN]))  # fmt: skip
    if len(found) > MOST_FILES:
        raise UsageError(f"holds more than {MOST_FILES} files", path=root, remedy="give the dataset's own folder")
    excluded = f"{exclude}/" if isinstance(exclude, RemotePath) else None
    return [
        path
        for path in found
        if not any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(root).parts)
        and not (excluded and str(path).startswith(excluded))
    ]


def download_video(video: RemotePath, target: Path) -> None:
    """Copy a video from object storage to a temporary file. All of it is read in any case: it is hashed and decoded.

    Raises:
        MediaError: It does not exist, is too large, changed, or is refused while others are not.
        StorageError: The storage cannot be reached.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # on another node of a cluster it may be missing
    try:
        video.download(target, LARGEST_DOWNLOAD_BYTES)
    except FileNotFoundError as error:
        reason, remedy = why_absent(video) or ("no longer exists", "restore it")
        raise MediaError(reason, path=video, remedy=remedy) from error
    except OSError as error:
        reason, remedy = f"cannot be read: {error.strerror or error}", "copy it to a disk"
        if error.errno == errno.EACCES:
            remedy = "get the right to read it, or restore it from the storage's archive"
        raise MediaError(reason, path=video, remedy=remedy) from error


@contextmanager
def local_video(video: Path, copy: Path | None) -> Iterator[Path]:
    """Yield a video as a local file; one in object storage is fetched, and its copy deleted afterwards.

    Args:
        video: The video.
        copy: Where to fetch it to, if it is in object storage; see `FetchFolder`.

    Raises:
        MediaError, StorageError: See `download_video`. Errors about the copy name the video.
    """
    if copy is None or not isinstance(video, RemotePath):
        yield video
        return
    try:
        download_video(video, copy)
        yield copy
    except CrnetError as error:
        error.path = video if error.path is not None and str(error.path) == str(copy) else error.path
        raise
    finally:
        copy.unlink(missing_ok=True)


class FetchFolder:
    """A folder of this machine for the videos of a run that are in object storage, while they are read.

    Their names are known before they are fetched, so that others can delete what a killed worker left, and the next run
    for the same purpose what a killed run left.

    Args:
        purpose: Tells the runs of a user apart that may be at work at the same time.
    """

    def __init__(self, purpose: str) -> None:
        self._folder = temporary_folder(purpose)
        self._is_made = False

    def __enter__(self) -> Self:
        shutil.rmtree(self._folder, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def copy_of(self, video: Path, number: int) -> Path | None:
        """Return where to fetch a video to; None if it is on a disk.

        Args:
            video: The video.
            number: Its number in the run.

        Raises:
            StorageError: The folder cannot be made.
        """
        if not isinstance(video, RemotePath):
            return None
        if not self._is_made:
            try:
                self._folder.mkdir(mode=0o700, parents=True)  # nobody else may have made it
            except OSError as error:
                reason, remedy = f"cannot be made: {error.strerror or error}", "name another folder in TMPDIR"
                raise StorageError(reason, path=self._folder, remedy=remedy) from error
            self._is_made = True
        return self._folder / f"{number}{video.suffix}"


def temporary_folder(purpose: str) -> Path:
    """Return the path of a folder in TMPDIR which is the same whenever this user has the same purpose."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir(), f"crnet-{user}-{short_fingerprint(purpose)}")


def refuse_folder(path: Path | str) -> None:
    """Refuse a folder in the place of one video; `list_videos` leaves those without videos in its list.

    Raises:
        UsageError: It is a folder.
    """
    if as_path(path).is_dir():
        raise UsageError("a folder without videos", path=path, remedy="name a video")


def list_videos(paths: Iterable[Path | str]) -> list[Path]:
    """Return the given files and the videos below the given folders, in a stable order.

    Nothing is opened. A missing file, a file that is not a video and a folder without videos stay in the list, so that
    reading them gives an error that names them.

    Raises:
        UsageError: A name is empty.
    """
    videos: list[Path] = []
    for path in paths:
        if not str(path):
            raise UsageError("an empty name is not a video", remedy="name a file or a folder")
    for path in map(as_path, paths):
        videos_below = [file for file in find_files(path) if is_video(file.name)] if path.is_dir() else []
        videos += videos_below or [path]
    return videos
