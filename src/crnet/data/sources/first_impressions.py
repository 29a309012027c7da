"""ChaLearn First Impressions v2 in any form: nested zips, encrypted or not, or unpacked files.

Files are found by name in any folder. The simulated datasets of crnet have the same layout.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from crnet.data.sources.archives import Archive, KeyLookup, Member
from crnet.data.sources.dataset import Dataset, Failure, LabelledClip, Video, VideoGroup
from crnet.data.sources.label_pickles import GET_AGAIN, LARGEST_PICKLE_BYTES, read_label_pickle
from crnet.data.sources.release_names import (
    DEMOGRAPHICS_PATTERN,
    ETHNICITY_CODES,
    GENDER_CODES,
    LABELS_PATTERN,
    PERSONS_COLUMNS,
    PERSONS_NAME,
    SIMULATED_FORMAT,
    SIMULATED_MARKER,
    SPLIT_NAMES,
    annotation_name,
)
from crnet.data.video_files import find_files, is_video
from crnet.errors import ArchiveError, DamagedArchiveError, LabelError
from crnet.text.transcripts import clean_transcript
from crnet.types import SPLITS, TARGETS, DataSource, Split
from crnet.utils.files import read_at_most
from crnet.utils.resumable import SHORT_DIGITS, content_fingerprint

SPLITS_BY_NAME: dict[str, Split] = {name: split for split, name in SPLIT_NAMES.items()}
GENDERS = {str(code): name for name, code in GENDER_CODES.items()}
ETHNICITIES = {str(code): name for name, code in ETHNICITY_CODES.items()}
KNOWN_WITHOUT_ANNOTATION = frozenset({"xyWpSrfFlQw.004"})
LARGEST_CSV_BYTES = 16 << 20
MOST_NESTED = 3  # levels of nested archives; the release has two

_RELEASE_ZIP = re.compile(r"(train|val|test)(-\w+|\d+_\d+).*\.zip$|training\d+_\d+\.zip$")

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Inventory:
    """The files of the dataset: label files by name (a list, as there may be copies), videos, and archives."""

    labels: Mapping[str, list[Path | Member]]
    videos: list[Path]
    archives: list[Archive]
    damaged: list[DamagedArchiveError]


def is_release(path: Path, files: list[Path]) -> bool:
    """Whether a path is an archive, or a folder with files named as in the official release, or a simulated dataset.

    Args:
        path: An archive or a folder.
        files: All files of the folder.
    """
    if path.is_file():
        return path.suffix.lower() == ".zip"
    return (path / SIMULATED_MARKER).is_file() or any(
        LABELS_PATTERN.match(file.name) or _RELEASE_ZIP.match(file.name) for file in files
    )


def open_release(root: Path | str, keys: KeyLookup, files: list[Path] | None = None) -> Dataset:
    """Open the release or a simulated dataset.

    Args:
        root: A folder that contains it in any form, or one of its archives.
        keys: Looks up the key of each encrypted archive.
        files: All files of the folder, if the caller has listed them.

    Raises:
        LabelError: Annotations are missing or unusable.
        ArchiveError: An archive is damaged or dangerous, or its key is missing or wrong.
    """
    root = Path(root)
    inventory = _take_inventory(find_files(root) if files is None else files, keys)
    clips = _read_labels(inventory.labels, root)
    clip_ids = {_clip_name(clip_id): clip_id for clip_id in clips}

    def video_groups(work_dir: Path) -> Iterator[VideoGroup | Failure]:
        return _video_groups(inventory, clip_ids, work_dir)

    return Dataset(
        _data_source(root),
        clips,
        video_groups,
        expected_path=lambda clip_id: str(root / clip_id),
        skip_missing_splits=True,
    )


def _data_source(root: Path) -> DataSource:
    marker = root / SIMULATED_MARKER
    if not marker.is_file():
        return "first-impressions-v2"
    try:
        document = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LabelError(f"cannot be read: {error}", path=marker, remedy="run `crnet simulate` again") from error
    if not isinstance(document, dict) or document.get("format") != SIMULATED_FORMAT:
        raise LabelError("has another format", path=marker, remedy="simulate with this version of crnet")
    return "simulated"


def _take_inventory(files: list[Path], keys: KeyLookup) -> _Inventory:
    archives: list[Archive] = []
    damaged: list[DamagedArchiveError] = []
    for file in files:
        if file.suffix.lower() == ".zip":
            try:
                archives.append(Archive(file, keys))
            except DamagedArchiveError as error:
                damaged.append(error)
    labels: dict[str, list[Path | Member]] = {}
    for file in files:
        if _is_label(file.name):
            labels.setdefault(file.name, []).append(file)
    for archive in archives:
        for member in archive.members:
            name = PurePosixPath(member.name).name
            if _is_label(name):
                labels.setdefault(name, []).append(member)
    if damaged and not labels:
        raise damaged[0]
    return _Inventory(labels, [file for file in files if is_video(file.name)], archives, damaged)


def _is_label(name: str) -> bool:
    return bool(LABELS_PATTERN.match(name) or DEMOGRAPHICS_PATTERN.match(name) or name == PERSONS_NAME)


def _read_labels(labels: Mapping[str, list[Path | Member]], root: Path) -> dict[str, LabelledClip]:
    scores: dict[str, tuple[Split, tuple[float, ...]]] = {}
    transcripts: dict[str, str] = {}
    groups: dict[str, dict[str, str]] = {}
    persons: dict[str, str] = {}
    for name, places in sorted(labels.items()):
        match = LABELS_PATTERN.match(name)
        if match is None:
            for row in _read_copies(places, _read_demographics):
                if name == PERSONS_NAME:
                    persons[_clip_name(row["VideoName"])] = row["Person"]
                else:
                    groups[_clip_name(row["VideoName"])] = _group_names(row)
        elif match[1] == "transcription":
            transcripts |= _read_copies(places, _read_transcriptions)
        else:
            annotation = _read_copies(places, _read_annotation)
            if repeated := sorted(scores.keys() & annotation.keys()):
                reason = f"clip {repeated[0]} is annotated in two splits"
                raise LabelError(reason, path=_display_path(places[0]), remedy=GET_AGAIN)
            scores |= {clip_id: (SPLITS_BY_NAME[match[2]], values) for clip_id, values in annotation.items()}
    if not scores:
        names = [annotation_name(split) for split in SPLITS]
        raise LabelError(
            f"no {', '.join(names[:-1])} or {names[-1]} found",
            path=root,
            remedy="put the annotation of the release beside its videos",
        )
    return {
        clip_id: LabelledClip(
            clip_id,
            split,
            values,
            person=persons.get(_clip_name(clip_id)),
            groups=groups.get(_clip_name(clip_id), {}),
            transcript=transcripts.get(_clip_name(clip_id), ""),
            transcribed=_clip_name(clip_id) in transcripts,
        )
        for clip_id, (split, values) in scores.items()
    }


def _read_copies(places: list[Path | Member], read: Callable[[bytes, str], _T]) -> _T:
    """Read a label file that may exist in several copies, which must be equal."""
    first, *others = [read(_content(place), _display_path(place)) for place in places]
    if any(other != first for other in others):
        raise LabelError(
            f"differs from {_display_path(places[0])}",
            path=_display_path(places[1]),
            remedy="keep the copy that belongs to the videos",
        )
    return first


def _content(place: Path | Member) -> bytes:
    if isinstance(place, Member):
        return place.read(LARGEST_PICKLE_BYTES)
    return read_at_most(place, LARGEST_PICKLE_BYTES, GET_AGAIN)


def _display_path(place: Path | Member) -> str:
    return place.display_path if isinstance(place, Member) else str(place)


def _read_annotation(content: bytes, display_path: str) -> dict[str, tuple[float, ...]]:
    """Return the scores by clip id, in the order of `TARGETS`, from `{target: {clip: score}}`."""
    labels = read_label_pickle(content, display_path)
    missing = [target for target in TARGETS if not isinstance(labels.get(target), dict)]
    if missing:
        raise LabelError(f"lacks {', '.join(missing)}", path=display_path, remedy="use the annotation of version 2")
    for target in TARGETS:
        difference = sorted(map(str, labels[target].keys() ^ labels[TARGETS[0]].keys()))
        if difference:
            reason = f"{target} and {TARGETS[0]} have different clips, such as {difference[0]}"
            raise LabelError(reason, path=display_path, remedy=GET_AGAIN)
        for clip_id, score in labels[target].items():
            if not isinstance(clip_id, str) or not isinstance(score, int | float) or not 0 <= score <= 1:
                reason = f"{target} of clip {clip_id!r:.100} is {score!r:.100}, not in [0, 1]"
                raise LabelError(reason, path=display_path, remedy=GET_AGAIN)
    return {clip_id: tuple(float(labels[target][clip_id]) for target in TARGETS) for clip_id in labels[TARGETS[0]]}


def _read_transcriptions(content: bytes, display_path: str) -> dict[str, str]:
    """Return the transcripts by clip name, without the transcriber's notes."""
    transcripts = read_label_pickle(content, display_path)
    for clip_id, text in transcripts.items():
        if not isinstance(clip_id, str) or not isinstance(text, str):
            raise LabelError(
                f"the transcription of clip {clip_id!r:.100} is not text", path=display_path, remedy=GET_AGAIN
            )
    return {_clip_name(clip_id): clean_transcript(_repair_utf8(text)) for clip_id, text in transcripts.items()}


def _repair_utf8(text: str) -> str:
    """Decode text that is UTF-8 read as latin1, as in pickles of Python 2; return any other text unchanged."""
    try:
        return text.encode("latin1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text


def _read_demographics(content: bytes, display_path: str) -> list[dict[str, str]]:
    if len(content) > LARGEST_CSV_BYTES:
        raise LabelError(f"larger than {LARGEST_CSV_BYTES >> 20} MB", path=display_path, remedy=GET_AGAIN)
    try:
        text = content.decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=";", restval="", strict=True)
        rows = [{str(name).strip(): str(cell).strip() for name, cell in row.items()} for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"cannot be read: {error}", path=display_path, remedy=GET_AGAIN) from error
    needed = set(PERSONS_COLUMNS) if display_path.endswith(PERSONS_NAME) else {"VideoName", "Ethnicity", "Gender"}
    if rows and not needed <= rows[0].keys():
        missing = ", ".join(sorted(needed - rows[0].keys()))
        raise LabelError(f"lacks the columns {missing}", path=display_path, remedy=GET_AGAIN)
    return rows


def _group_names(row: Mapping[str, str]) -> dict[str, str]:
    names = {"gender": GENDERS.get(row["Gender"]), "ethnicity": ETHNICITIES.get(row["Ethnicity"])}
    return {grouping: name for grouping, name in names.items() if name is not None}


def _clip_name(name: str) -> str:
    """Return a clip's name without its suffix, which is the same in labels, tables and files."""
    return name.removesuffix(".mp4")


def _video_groups(inventory: _Inventory, clip_ids: Mapping[str, str], work_dir: Path) -> Iterator[VideoGroup | Failure]:
    yielded: set[str] = set()
    unlabelled: dict[str, Path | Member] = {}

    def labelled(places: list[Path] | list[Member]) -> tuple[Video, ...]:
        """Return the videos that have labels and were not in an earlier group."""
        videos = []
        for place in places:
            name = PurePosixPath(place.name).stem
            if name not in clip_ids:
                unlabelled[name] = place
            elif name not in yielded:
                yielded.add(name)
                videos.append(Video(clip_ids[name], place))
        return tuple(videos)

    yield from map(_failure, inventory.damaged)
    yield VideoGroup(labelled(inventory.videos))
    for archive in inventory.archives:
        yield VideoGroup(labelled(_videos_in(archive)))
        for member in _archives_in(archive):
            try:
                places, temporary = _nested_videos(archive, member, work_dir, MOST_NESTED - 1)
            except ArchiveError as error:
                yield _failure(error)
            else:
                yield VideoGroup(labelled(places), tuple(temporary))
    for name in sorted(unlabelled.keys() - KNOWN_WITHOUT_ANNOTATION):
        place = unlabelled[name]
        remedy = "put the annotation of its split beside the others, or remove the video"
        yield Failure(PurePosixPath(place.name).name, _display_path(place), "has no annotation", remedy)


def _failure(error: ArchiveError) -> Failure:
    """Return the failure of an archive that cannot be read, so that the names of its clips are unknown."""
    return Failure("", str(error.path), error.reason, error.remedy or "")


def _nested_videos(archive: Archive, member: Member, work_dir: Path, levels: int) -> tuple[list[Member], list[Path]]:
    """Return all videos in an archive inside an archive, and the temporary files that contain them."""
    if levels == 0:
        raise ArchiveError(
            "refused: archives are nested too deeply", path=member.display_path, remedy="unpack them yourself"
        )
    unpacked = work_dir / f"{content_fingerprint([member.display_path.encode()])[:SHORT_DIGITS]}.zip"
    inner = archive.inner(member, unpacked)
    videos, temporary = _videos_in(inner), [unpacked]
    for deeper in _archives_in(inner):
        more, more_temporary = _nested_videos(inner, deeper, work_dir, levels - 1)
        videos += more
        temporary += more_temporary
    return videos, temporary


def _videos_in(archive: Archive) -> list[Member]:
    return [member for member in archive.members if is_video(member.name)]


def _archives_in(archive: Archive) -> list[Member]:
    return [member for member in archive.members if member.name.lower().endswith(".zip")]
