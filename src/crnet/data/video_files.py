"""Find video files by name."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from crnet.errors import UsageError
from crnet.utils.storage import RemotePath

VIDEO_SUFFIXES = frozenset(
    (
        ".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".divx", ".mpg", ".mpeg", ".mpe", ".m1v", ".m2v",
        ".vob", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".ogm", ".ts", ".mts", ".m2ts", ".mxf", ".dv", ".3gp", ".3g2",
    )
)  # fmt: skip
"""Suffixes of files that count as videos; a CSV may list files with any suffix."""

MOST_FILES = 1_000_000  # limits memory when somebody gives a whole disk by mistake

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


def find_files(root: Path, exclude: Path | None = None) -> list[Path]:
    """Return all regular files below a folder in a stable order. Links to folders are followed once.

    Args:
        root: The folder, or one file. Hidden files and folders below it are skipped.
        exclude: A folder below it to skip: the store that is being written.

    Raises:
        UsageError: There are more files than any dataset has.
    """
    if root.is_file():
        return [root]
    if isinstance(root, RemotePath):
        return _find_objects(root, exclude)
    files: list[Path] = []
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
                files.append(file)
            else:
                _log.warning("%s is skipped: not a regular file, or a broken link", file)
        if len(files) > MOST_FILES:
            raise UsageError(f"holds more than {MOST_FILES} files", path=root, remedy="give the dataset's own folder")
    return files


def _find_objects(root: RemotePath, exclude: Path | None) -> list[Path]:
    """Return all objects below a folder, with the same exceptions as `find_files`."""
    found = root.find()
    if len(found) > MOST_FILES:
        raise UsageError(f"holds more than {MOST_FILES} files", path=root, remedy="give the dataset's own folder")
    excluded = f"{exclude}/" if isinstance(exclude, RemotePath) else None
    return [
        path
        for path in found
        if not any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(root).parts)
        and not (excluded and str(path).startswith(excluded))
    ]


def refuse_folder(path: Path | str) -> None:
    """Refuse a folder in the place of one video; `list_videos` leaves those without videos in its list.

    Raises:
        UsageError: It is a folder.
    """
    if Path(path).is_dir():
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
    for path in map(Path, paths):
        videos_below = [file for file in find_files(path) if is_video(file.name)] if path.is_dir() else []
        videos += videos_below or [path]
    return videos
