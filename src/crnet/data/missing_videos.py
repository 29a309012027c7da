"""Labelled clips without a video: which of them are failures, and which are in archives that nobody can read yet."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from crnet.data.sources.dataset import Dataset, Failure, LabelledClip, LockedArchive
from crnet.data.sources.release_labels import clip_name
from crnet.data.video_files import is_video
from crnet.types import SPLITS, Split

_log = logging.getLogger(__name__)


def sort_missing(
    dataset: Dataset, extracted: Collection[str], failures: Sequence[Failure], locked: Sequence[LockedArchive]
) -> tuple[list[Failure], list[LabelledClip]]:
    """Divide the clips without a video into failures and clips that may be in locked archives.

    A clip is neither if its whole split has no video and the dataset skips such splits.

    Args:
        dataset: The dataset.
        extracted: The clips that were extracted.
        failures: The failures so far.
        locked: The encrypted archives without a key.

    Returns:
        The new failures, and the clips that may be in locked archives.
    """
    failed = {failure.clip for failure in failures}
    missing = [clip for clip in dataset.clips.values() if clip.clip_id not in failed and clip.clip_id not in extracted]
    if dataset.skip_missing_splits:
        for split in SPLITS:
            if _is_split_missing(split, missing, dataset, failures):
                count = sum(clip.split == split for clip in missing)
                _log.warning("the %s split has no videos here: its %d clips are skipped", split, count)
                missing = [clip for clip in missing if clip.split != split]
    locked_clips = _in_locked_archives(missing, locked)
    if locked_clips:
        _log.warning(
            "%d labelled clips without a video may be in encrypted archives and are skipped; the first is %s",
            len(locked_clips),
            locked_clips[0].clip_id,
        )
    locked_ids = {clip.clip_id for clip in locked_clips}
    remedy = "put the video there, or remove the clip from the labels"
    new_failures = [
        Failure(clip.clip_id, dataset.expected_path(clip.clip_id), "no such video", remedy)
        for clip in missing
        if clip.clip_id not in locked_ids
    ]
    return new_failures, locked_clips


def _is_split_missing(
    split: Split, missing: Sequence[LabelledClip], dataset: Dataset, failures: Sequence[Failure]
) -> bool:
    """Whether no video of a split exists, and none can be in an archive that could not be read."""
    missing_count = sum(clip.split == split for clip in missing)
    if not missing_count or missing_count != sum(clip.split == split for clip in dataset.clips.values()):
        return False
    return not any(not failure.clip and _may_contain(failure.path, split) for failure in failures)


def _in_locked_archives(missing: Sequence[LabelledClip], locked: Sequence[LockedArchive]) -> list[LabelledClip]:
    """Return the clips that a locked archive names, or whose split may be in an archive inside it."""
    contents = [path for archive in locked for path in archive.contents]
    named = {PurePosixPath(path).stem for path in contents if is_video(path)}
    inner_archives = [path for path in contents if path.lower().endswith(".zip")]
    splits = {split for split in SPLITS if any(_may_contain(path, split) for path in inner_archives)}
    return [clip for clip in missing if clip.split in splits or clip_name(clip.clip_id) in named]


def _may_contain(archive: str, split: Split) -> bool:
    """Whether an archive may contain videos of a split, by its name and the names of the archives around it."""
    names = [part.lower() for part in Path(archive).parts if part.lower().endswith(".zip")]
    named_splits = {candidate for candidate in SPLITS for name in names if name.startswith(candidate)}
    return not named_splits or split in named_splits
