"""What every kind of data set hands to `prepare`: labelled clips, and where their videos are."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crnet.data.sources.archives import Member
from crnet.errors import UsageError
from crnet.types import Split, TrainingSource

VIDEO_SUFFIXES = frozenset(
    (
        ".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".divx", ".mpg", ".mpeg", ".mpe", ".m1v", ".m2v",
        ".vob", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".ogm", ".ts", ".mts", ".m2ts", ".mxf", ".dv", ".3gp", ".3g2",
    )
)  # fmt: skip
"""What is taken for a video without being named; a CSV may name files with any suffix."""

MOST_FILES = 1_000_000  # in one source: bounds memory when a whole disk is given by mistake

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledClip:
    """What a data set says about one clip.

    Attributes:
        clip_id: Its name, as in the annotation or the CSV.
        split: Train, val or test; None if the clip is only to be predicted.
        scores: The six targets in [0, 1], order of `TARGETS`; None without annotation.
        person: Who is seen, if known.
        groups: Words by name of the grouping.
        transcript: What is said, without the transcriber's notes; "" if nothing or not known.
        transcribed: True if someone wrote down what is said, be it nothing: speech recognition is not asked.
    """

    clip_id: str
    split: Split | None = None
    scores: tuple[float, ...] | None = None
    person: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    transcript: str = ""
    transcribed: bool = False


@dataclass(frozen=True)
class Video:
    """Where the video of a clip is: a file, or a member of an archive."""

    clip_id: str
    where: Path | Member

    @property
    def shown(self) -> str:
        """The path for messages; archives count as folders."""
        return self.where.shown if isinstance(self.where, Member) else str(self.where)


@dataclass(frozen=True)
class VideoGroup:
    """Videos that become available together; `spills` are temporary files to delete once all of them are read."""

    videos: tuple[Video, ...]
    spills: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Failure:
    """A clip that could not be prepared: a row of failures.csv."""

    clip: str
    path: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class Source:
    """An opened data set.

    Attributes:
        kind: What a store made from it records.
        clips: By clip id.
        groups: Given a folder for temporary files, yields the videos of `clips` group by group, each clip at most
            once, and a `Failure` for each part of the data set that cannot be read.
        absent: Given a clip without a video, the path where it was looked for.
        skip_missing_splits: Whether a split of which no video exists is left out, not a failure for each clip.
    """

    kind: TrainingSource
    clips: Mapping[str, LabelledClip]
    groups: Callable[[Path], Iterator[VideoGroup | Failure]]
    absent: Callable[[str], str]
    skip_missing_splits: bool = False


def is_video(name: str) -> bool:
    """Whether a file name looks like a video's; the AppleDouble files of macOS (`._*`) do not count."""
    stem, suffix = os.path.splitext(name.rsplit("/", 1)[-1])  # noqa: PTH122  # members of archives are no paths
    return suffix.lower() in VIDEO_SUFFIXES and not stem.startswith(".")


def is_regular(path: Path) -> bool:
    """Whether there is a regular file, also at the end of links: reading a pipe or a device could wait for ever."""
    return os.path.isfile(path)  # noqa: PTH113  # unlike Path.is_file, False for any path that cannot be looked at


def find_files(root: Path, exclude: Path | None = None) -> list[Path]:
    """All regular files below a folder in a stable order; folder links are followed once, hidden names left out.

    Args:
        root: The folder, or one file.
        exclude: A folder below it that is not looked into (the store that is being written).

    Raises:
        UsageError: There are more files than any data set has.
    """
    if root.is_file():
        return [root]
    found: list[Path] = []
    visited: set[Path] = set()
    left_out = None if exclude is None else exclude.resolve()
    for folder, names, files in os.walk(root, followlinks=True):
        here = Path(folder).resolve()
        if here in visited or here == left_out:
            names.clear()
            continue
        visited.add(here)
        names[:] = sorted(name for name in names if not name.startswith(".") and name != "__MACOSX")
        for file in (Path(folder, name) for name in sorted(files) if not name.startswith(".")):
            if is_regular(file):
                found.append(file)
            else:
                _log.warning("%s is left out: it is no regular file, or a link to nothing", file)
        if len(found) > MOST_FILES:
            raise UsageError(f"holds more than {MOST_FILES} files", path=root, remedy="give the data set's own folder")
    return found


def list_videos(paths: Iterable[Path | str]) -> list[Path]:
    """The files given, and the videos below each folder given, in a stable order; a folder without any stays as it is.

    Nothing is looked into: a file that is missing or no video is kept, for its error to be told.
    """
    found: list[Path] = []
    for path in paths:
        if not str(path):
            raise UsageError("an empty name is no video", remedy="name a file or a folder")
    for path in map(Path, paths):
        below = [file for file in find_files(path) if is_video(file.name)] if path.is_dir() else []
        found += below or [path]
    return found
