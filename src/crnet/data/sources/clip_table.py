"""The clips of a CSV or a folder in a temporary database: there may be millions, with transcripts."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from crnet.data.sources.dataset import LabelledClip, Video
from crnet.utils.storage import RemotePath, as_path
from crnet.utils.temporary_database import open_temporary_database, storage_errors

_CREATE = (
    "CREATE TABLE clips (position INTEGER PRIMARY KEY, clip BLOB UNIQUE, same BLOB UNIQUE, line INTEGER, "
    "video BLOB, size INTEGER, content TEXT)",
    "CREATE INDEX videos ON clips (video)",
)
TASK = "the temporary list of labelled clips"


class ClipTable(Mapping[str, LabelledClip]):
    """Labelled clips by clip id, in the order in which they were added, and their videos.

    Raises:
        StorageError: The disk for temporary files is full.
    """

    def __init__(self) -> None:
        self._database = open_temporary_database(*_CREATE)
        self._count = 0

    def add(self, clip: LabelledClip, line: int, same: bytes, video: Path | None) -> int | None:
        """Add a clip, unless it is there already.

        Args:
            clip: The clip.
            line: Its line in the CSV, or its number.
            same: Equal for two names of one clip.
            video: Its video, if there is one.

        Returns:
            The line of the clip that is there already; None if there is none.
        """
        size = video.listed_bytes if isinstance(video, RemotePath) else None
        name = None if video is None else os.fsencode(str(video))
        key = os.fsencode(clip.clip_id)  # a file name need not be UTF-8
        values = (key, same, line, name, size, json.dumps(asdict(clip)))
        columns = "(clip, same, line, video, size, content)"
        with storage_errors(TASK):
            try:
                self._database.execute(f"INSERT INTO clips {columns} VALUES (?, ?, ?, ?, ?, ?)", values)  # noqa: S608
            except sqlite3.IntegrityError:
                query = "SELECT line FROM clips WHERE same = ? OR clip = ?"
                (earlier,) = self._database.execute(query, (same, key)).fetchone()
                return int(earlier)
        self._count += 1
        return None

    def __getitem__(self, clip_id: str) -> LabelledClip:
        found = self._database.execute("SELECT content FROM clips WHERE clip = ?", (os.fsencode(clip_id),)).fetchone()
        if found is None:
            raise KeyError(clip_id)
        return _clip(found[0])

    def __iter__(self) -> Iterator[str]:
        yield from (os.fsdecode(clip) for (clip,) in self._database.execute("SELECT clip FROM clips ORDER BY position"))

    def __len__(self) -> int:
        return self._count

    def videos(self) -> Iterator[Video]:
        """Yield the videos, in the order of the clips."""
        query = "SELECT clip, video, size FROM clips WHERE video IS NOT NULL ORDER BY position"
        for clip_id, name, size in self._database.execute(query):
            path = as_path(os.fsdecode(name))
            yield Video(os.fsdecode(clip_id), RemotePath(str(path), size) if isinstance(path, RemotePath) else path)

    def has_video(self, video: Path) -> bool:
        """Whether a file is the video of a clip."""
        query = "SELECT 1 FROM clips WHERE video = ?"
        return self._database.execute(query, (os.fsencode(str(video)),)).fetchone() is not None


def _clip(content: str) -> LabelledClip:
    values = json.loads(content)
    return LabelledClip(**{**values, "scores": None if values["scores"] is None else tuple(values["scores"])})
