"""A folder of videos with one CSV of labels, or without labels: any dataset other than the official release."""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path, PurePosixPath

from crnet.data.csv_table import fail, parse_score, read_table
from crnet.data.manifest import GROUP_PREFIX
from crnet.data.sources.clip_table import ClipTable
from crnet.data.sources.dataset import Dataset, Failure, LabelledClip, Video, VideoGroup
from crnet.data.video_files import FilesBelow, is_regular, is_video
from crnet.errors import LabelError, UsageError
from crnet.text.transcripts import clean_transcript, find_transcript
from crnet.types import SPLITS, TARGETS, Split
from crnet.utils.storage import RemotePath, as_path

VIDEOS_PER_GROUP = 1_000  # in memory at a time
COLUMNS = ("clip", "split", "person", *TARGETS, "transcript")

_log = logging.getLogger(__name__)


def is_folder(path: Path, files: Iterable[Path]) -> bool:
    """Whether a path is a folder or a CSV."""
    return path.is_dir() or is_csv(path)


def is_csv(path: Path) -> bool:
    """Whether a path is a CSV file, by its name."""
    return path.is_file() and path.suffix.lower() == ".csv"


def open_folder(path: Path | str, files: Iterable[Path] | None = None) -> Dataset:
    """Open a folder of videos, or a CSV that lists them.

    Args:
        path: The folder, with at most one CSV directly inside; or the CSV. The name of a clip is its path relative to
            this folder, with `/`.
        files: All files of the folder, which are iterated over several times; None: `FilesBelow`.

    Raises:
        LabelError: The CSV is unusable; the error names the line.
        UsageError: The folder has neither a CSV nor a video.
    """
    path = as_path(path)
    table = path if path.is_file() else _find_csv(path)
    root = path.parent if path.is_file() else path
    files = FilesBelow(root) if files is None else files
    if table is None:
        return _open_videos(root, files)
    clips = read_csv(table, _video_finder(root, files))

    def video_groups(work_dir: Path) -> Iterator[VideoGroup | Failure]:
        remedy = f"add a row for it to {table}, or move it out of the folder"
        unlisted = (file for file in files if is_video(file.name) and not clips.has_video(file))
        for clip_id, file in sorted((file.relative_to(root).as_posix(), file) for file in unlisted):
            yield Failure(clip_id, str(file), "has no row in the CSV", remedy)
        yield from _in_groups(clips.videos())

    return Dataset("folder", clips, video_groups, expected_path=lambda clip_id: str(root / clip_id))


def _open_videos(root: Path, files: Iterable[Path]) -> Dataset:
    """Open a folder of videos without labels."""
    clips = ClipTable()
    for number, file in enumerate((file for file in files if is_video(file.name)), start=1):
        clip = _with_sidecar(LabelledClip(file.relative_to(root).as_posix()), file)
        clips.add(clip, number, os.fsencode(str(file)), file)
    if not clips:
        raise UsageError("contains no video", path=root, remedy="give a folder with videos, or the official release")

    def video_groups(work_dir: Path) -> Iterator[VideoGroup]:
        return _in_groups(clips.videos())

    return Dataset("folder", clips, video_groups, expected_path=lambda clip_id: str(root / clip_id))


def _in_groups(videos: Iterator[Video]) -> Iterator[VideoGroup]:
    while group := tuple(islice(videos, VIDEOS_PER_GROUP)):
        yield VideoGroup(group)


def _video_finder(root: Path, files: Iterable[Path]) -> Callable[[str], Path | None]:
    """Return a function from a clip id to its file, with any suffix, hidden or not, its accents in any encoding."""

    @cache
    def by_name() -> dict[str, Path]:
        return {unicodedata.normalize("NFC", file.relative_to(root).as_posix()): file for file in files}

    def find_video(clip_id: str) -> Path | None:
        file = root / clip_id
        if not isinstance(root, RemotePath) and is_regular(file):  # a request for each clip would take long
            return file
        return by_name().get(unicodedata.normalize("NFC", clip_id))

    return find_video


def read_csv(path: Path | str, find_video: Callable[[str], Path | None] = lambda clip_id: None) -> ClipTable:
    """Read a CSV of clips; columns as in docs/data.md, separated by comma, semicolon or tab.

    Args:
        path: The CSV.
        find_video: Returns the video of a clip id, if there is one.

    Raises:
        LabelError: Unusable; the error names the line and the remedy.
    """
    path = as_path(path)
    table = read_table(path, _check_header)
    clips = ClipTable()
    line = 1
    for line, values in table.rows:
        clip = _clip(path, line, values)
        video = find_video(clip.clip_id)
        # One name can have its accents in two encodings.
        same = f"name {unicodedata.normalize('NFC', clip.clip_id)}" if video is None else f"file {video}"
        if "transcript" not in table.names and video is not None:
            clip = _with_sidecar(clip, video)
        earlier = clips.add(clip, line, os.fsencode(same), video)
        if earlier is not None:
            fail(path, line, f"clip {clip.clip_id} is already in line {earlier}", "list each clip once")
    if not clips:
        fail(path, line, "lists no clips", "add a row for each video")
    return clips


def _find_csv(folder: Path) -> Path | None:
    if not folder.is_dir():
        raise UsageError("no such folder", path=folder, remedy="give a folder, a CSV of clips, or a zip of the release")
    tables = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".csv" and p.is_file() and p.name[0] != ".")
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise LabelError(f"contains several CSVs: {names}", path=folder, remedy="give the path of the one to use")
    return tables[0] if tables else None


def _check_header(path: Path, names: list[str]) -> None:
    missing = [target for target in TARGETS if target not in names]
    if 0 < len(missing) < len(TARGETS):
        fail(path, 1, f"lacks {', '.join(missing)}", "give all six targets, or none for prediction only")
    unknown = [name for name in names if name not in COLUMNS and not name.startswith(GROUP_PREFIX)]
    if unknown:
        _log.warning("%s: crnet does not use these columns: %s", path, ", ".join(unknown))


def _clip(path: Path, line: int, values: dict[str, str]) -> LabelledClip:
    clip_id = _clip_id(path, line, values["clip"])
    split = _split(path, line, values.get("split", ""))
    scores = _scores(path, line, values)
    if split is not None and scores is None:
        fail(path, line, f"is in split {split} without scores", "leave the split empty for clips without scores")
    return LabelledClip(
        clip_id,
        split,
        scores,
        person=values.get("person") or None,
        groups={
            name.removeprefix(GROUP_PREFIX): word
            for name, word in values.items()
            if name.startswith(GROUP_PREFIX) and word
        },
        transcript=clean_transcript(values.get("transcript", "")),
    )


def _clip_id(path: Path, line: int, text: str) -> str:
    inside = PurePosixPath(text.replace("\\", "/"))
    if not inside.parts:
        fail(path, line, "has no clip", "give the path of a video, relative to the CSV")
    if "://" in text:
        remedy = "put the CSV beside the videos, there too, and give paths relative to it"
        fail(path, line, f"clip {text!r} is a URL", remedy)
    if inside.is_absolute() or ".." in inside.parts or re.match("[A-Za-z]:", text) or not text.isprintable():
        fail(path, line, f"clip {text!r} is not inside the CSV's folder", "give a path relative to the CSV")
    return inside.as_posix()


def _split(path: Path, line: int, text: str) -> Split | None:
    if not text:
        return None
    split = next((split for split in SPLITS if split == text.lower()), None)
    if split is None:
        fail(path, line, f"split {text!r} is unknown", f"use {', '.join(SPLITS)} or leave it empty")
    return split


def _scores(path: Path, line: int, values: dict[str, str]) -> tuple[float, ...] | None:
    texts = {target: values[target] for target in TARGETS if values.get(target)}
    if not texts:
        return None
    missing = [target for target in TARGETS if target not in texts]
    if missing:
        fail(path, line, f"has no score for {', '.join(missing)}", "give all six targets, or none for prediction only")
    return tuple(parse_score(path, line, target, text) for target, text in texts.items())


def _with_sidecar(clip: LabelledClip, video: Path) -> LabelledClip:
    """Return the clip with the transcript beside its video, if there is one. An empty file means no speech."""
    try:
        transcript = find_transcript(video)
    except LabelError as error:
        _log.warning("transcript ignored: %s", error)
        return clip
    return clip if transcript.is_missing else replace(clip, transcript=transcript.text, transcribed=True)
