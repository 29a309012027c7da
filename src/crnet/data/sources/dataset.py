"""The common form of all datasets: labelled clips and their videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crnet.data.sources.archives import Member
from crnet.types import DataSource, Split


@dataclass(frozen=True, slots=True)  # there may be a million
class LabelledClip:
    """The labels of one clip.

    Attributes:
        clip_id: Name of the clip, as in the annotation or the CSV.
        split: Train, val or test; None for a clip without annotation.
        scores: The six targets in [0, 1], in the order of `TARGETS`; None without annotation.
        person: Name of the person in the clip, if known.
        groups: Group of the clip by name of the grouping, such as {"gender": "female"}.
        transcript: The words, without the transcriber's notes; "" if there are none or they are unknown.
        transcribed: Whether the dataset has a transcript, even an empty one. Speech recognition then skips the clip.
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
    """The video of a clip: a file, or a member of an archive."""

    clip_id: str
    location: Path | Member

    @property
    def display_path(self) -> str:
        """The path for messages, with archives as folders."""
        return self.location.display_path if isinstance(self.location, Member) else str(self.location)


@dataclass(frozen=True)
class VideoGroup:
    """Videos that become available together, and the temporary archives to delete after the last one is read."""

    videos: tuple[Video, ...]
    temporary_archives: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Failure:
    """A clip that could not be prepared: a row of failures.csv."""

    clip: str
    path: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class LockedArchive:
    """An encrypted archive that has no key and is skipped.

    Attributes:
        path: The archive, with archives around it as folders.
        remedy: What to do about it; names the environment variables of its key.
        contents: Paths of the members that cannot be read; their names are not encrypted.
    """

    path: str
    remedy: str
    contents: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """An opened dataset.

    Attributes:
        source: The kind of dataset, which the store records; a name in `DATA_SOURCES`.
        clips: The labelled clips by clip id.
        video_groups: Given a folder for temporary files, yields the videos of `clips` group by group, each clip at
            most once, a `Failure` for each part of the dataset that cannot be read, and the archives to skip because
            they have no key.
        expected_path: Returns the path where the video of a clip should be.
        skip_missing_splits: Whether to skip a split that has no videos at all, instead of reporting every clip.
    """

    source: DataSource
    clips: Mapping[str, LabelledClip]
    video_groups: Callable[[Path], Iterator[VideoGroup | Failure | LockedArchive]]
    expected_path: Callable[[str], str]
    skip_missing_splits: bool = False
