"""ChaLearn First Impressions v2 in any shape that people keep it in: zips inside zips, locked or not, or unpacked.

Files are found by their names, wherever they lie. Crnet's simulated data sets have the same layout.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from crnet.data.sources.archives import Archive, Keys, Member
from crnet.data.sources.label_pickles import GET_AGAIN, LARGEST_PICKLE_BYTES, read_label_pickle
from crnet.data.sources.source import Failure, LabelledClip, Source, Video, VideoGroup, find_files, is_video
from crnet.errors import ArchiveError, DamagedArchiveError, LabelError
from crnet.text.transcripts import clean_transcript
from crnet.types import TARGETS, Split, TrainingSource

SPLIT_WORDS: dict[str, Split] = {"training": "train", "validation": "val", "test": "test"}
ETHNICITIES = {"1": "asian", "2": "caucasian", "3": "african-american"}
GENDERS = {"1": "male", "2": "female"}
KNOWN_WITHOUT_ANNOTATION = frozenset({"xyWpSrfFlQw.004"})
SIMULATED_MARKER = "simulated.json"
LARGEST_CSV_BYTES = 16 << 20
MOST_NESTED = 3  # archives inside one another; the release has two levels

_LABELS = re.compile(r"(annotation|transcription)_(training|validation|test)\.pkl$")
_DEMOGRAPHICS = re.compile(r"eth_gender_annotations_\w+\.csv$")
_PERSONS = "persons.csv"
_RELEASE_ZIP = re.compile(r"(train|val|test)(-\w+|\d+_\d+).*\.zip$|training\d+_\d+\.zip$")

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Inventory:
    """What was found: label files by name (several if they are there twice), videos, archives, whole and damaged."""

    labels: Mapping[str, list[Path | Member]]
    videos: list[Path]
    archives: list[Archive]
    damaged: list[DamagedArchiveError]


def is_release(files: list[Path]) -> bool:
    """Whether these are files of the official release: annotations or archives with its names."""
    return any(_LABELS.match(file.name) or _RELEASE_ZIP.match(file.name) for file in files)


def open_release(root: Path, keys: Keys, files: list[Path] | None = None) -> Source:
    """Open the release, or a simulated data set.

    Args:
        root: A folder that holds it in any shape, or one of its archives.
        keys: Asked for the key of each locked archive.
        files: All files of the folder, if they are listed already.

    Raises:
        LabelError: Annotations are missing or unusable.
        ArchiveError: An archive is damaged, dangerous, or its key is missing or wrong.
    """
    inventory = _take_inventory(find_files(root) if files is None else files, keys)
    clips = _read_labels(inventory.labels, root)
    by_key = {_key(clip_id): clip_id for clip_id in clips}

    def groups(work_dir: Path) -> Iterator[VideoGroup | Failure]:
        return _groups(inventory, by_key, work_dir)

    return Source(_kind(root), clips, groups, absent=lambda clip_id: str(root / clip_id), skip_missing_splits=True)


def _kind(root: Path) -> TrainingSource:
    marker = root / SIMULATED_MARKER
    if not marker.is_file():
        return "first-impressions-v2"
    try:
        document = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LabelError(f"cannot be read: {error}", path=marker, remedy="run `crnet simulate` again") from error
    if not isinstance(document, dict) or document.get("format") != 1:
        raise LabelError("of another format", path=marker, remedy="simulate with this version of crnet")
    return "simulated"


def _take_inventory(files: list[Path], keys: Keys) -> _Inventory:
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
    return bool(_LABELS.match(name) or _DEMOGRAPHICS.match(name) or name == _PERSONS)


def _read_labels(labels: Mapping[str, list[Path | Member]], root: Path) -> dict[str, LabelledClip]:
    scores: dict[str, tuple[Split, tuple[float, ...]]] = {}
    transcripts: dict[str, str] = {}
    groups: dict[str, dict[str, str]] = {}
    persons: dict[str, str] = {}
    for name, places in sorted(labels.items()):
        match = _LABELS.match(name)
        if match is None:
            for row in _one(places, _read_demographics):
                if name == _PERSONS:
                    persons[_key(row["VideoName"])] = row["Person"]
                else:
                    groups[_key(row["VideoName"])] = _words(row)
        elif match[1] == "transcription":
            transcripts |= _one(places, _read_transcriptions)
        else:
            split = SPLIT_WORDS[match[2]]
            found = _one(places, _read_annotation)
            twice = sorted(scores.keys() & found.keys())
            if twice:
                raise LabelError(
                    f"clip {twice[0]} is annotated in two splits", path=_shown(places[0]), remedy=GET_AGAIN
                )
            scores |= {clip_id: (split, values) for clip_id, values in found.items()}
    if not scores:
        raise LabelError(
            "no annotation_training.pkl, annotation_validation.pkl or annotation_test.pkl found",
            path=root,
            remedy="put the annotation of the release beside its videos",
        )
    return {
        clip_id: LabelledClip(
            clip_id,
            split,
            values,
            person=persons.get(_key(clip_id)),
            groups=groups.get(_key(clip_id), {}),
            transcript=transcripts.get(_key(clip_id), ""),
            transcribed=_key(clip_id) in transcripts,
        )
        for clip_id, (split, values) in scores.items()
    }


def _one(places: list[Path | Member], read: Callable[[bytes, str], _T]) -> _T:
    """Read a label file that may be there several times: equal copies are one, different ones an error."""
    first, *others = [read(_content(place), _shown(place)) for place in places]
    if any(other != first for other in others):
        raise LabelError(
            f"differs from {_shown(places[0])}",
            path=_shown(places[1]),
            remedy="keep the one that belongs to the videos",
        )
    return first


def _content(place: Path | Member) -> bytes:
    if isinstance(place, Member):
        return place.read(LARGEST_PICKLE_BYTES)
    try:
        with place.open("rb") as file:
            return file.read(LARGEST_PICKLE_BYTES + 1)
    except OSError as error:
        raise LabelError(f"cannot be read: {error.strerror or error}", path=place, remedy="check its rights") from error


def _shown(place: Path | Member) -> str:
    return place.shown if isinstance(place, Member) else str(place)


def _read_annotation(content: bytes, shown: str) -> dict[str, tuple[float, ...]]:
    """Scores by clip id, in the order of `TARGETS`, from `{target: {clip: score}}` with the targets in any order."""
    found = read_label_pickle(content, shown)
    missing = [target for target in TARGETS if not isinstance(found.get(target), dict)]
    if missing:
        raise LabelError(f"lacks {', '.join(missing)}", path=shown, remedy="use the annotation of version 2")
    for target in TARGETS:
        difference = sorted(map(str, found[target].keys() ^ found[TARGETS[0]].keys()))
        if difference:
            reason = f"{target} and {TARGETS[0]} have different clips, such as {difference[0]}"
            raise LabelError(reason, path=shown, remedy=GET_AGAIN)
        for clip_id, score in found[target].items():
            if not isinstance(clip_id, str) or not isinstance(score, int | float) or not 0 <= score <= 1:
                reason = f"{target} of clip {clip_id!r:.100} is {score!r:.100}, not in [0, 1]"
                raise LabelError(reason, path=shown, remedy=GET_AGAIN)
    return {clip_id: tuple(float(found[target][clip_id]) for target in TARGETS) for clip_id in found[TARGETS[0]]}


def _read_transcriptions(content: bytes, shown: str) -> dict[str, str]:
    """What is said, by clip key, without the transcriber's notes."""
    found = read_label_pickle(content, shown)
    for clip_id, text in found.items():
        if not isinstance(clip_id, str) or not isinstance(text, str):
            raise LabelError(f"the transcription of clip {clip_id!r:.100} is not text", path=shown, remedy=GET_AGAIN)
    return {_key(clip_id): clean_transcript(_mended(text)) for clip_id, text in found.items()}


def _mended(text: str) -> str:
    """Python 2 wrote UTF-8 bytes, which latin1 turns into one character a byte; other text is left as it is."""
    try:
        return text.encode("latin1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text


def _read_demographics(content: bytes, shown: str) -> list[dict[str, str]]:
    if len(content) > LARGEST_CSV_BYTES:
        raise LabelError(f"larger than {LARGEST_CSV_BYTES >> 20} MB", path=shown, remedy=GET_AGAIN)
    try:
        text = content.decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=";", restval="", strict=True)
        rows = [{str(name).strip(): str(cell).strip() for name, cell in row.items()} for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"cannot be read: {error}", path=shown, remedy=GET_AGAIN) from error
    needed = {"VideoName", "Person"} if shown.endswith(_PERSONS) else {"VideoName", "Ethnicity", "Gender"}
    if rows and not needed <= rows[0].keys():
        lacking = ", ".join(sorted(needed - rows[0].keys()))
        raise LabelError(f"lacks the columns {lacking}", path=shown, remedy=GET_AGAIN)
    return rows


def _words(row: Mapping[str, str]) -> dict[str, str]:
    words = {"gender": GENDERS.get(row["Gender"]), "ethnicity": ETHNICITIES.get(row["Ethnicity"])}
    return {name: word for name, word in words.items() if word is not None}


def _key(name: str) -> str:
    """A clip's name without its suffix: how labels, tables and files of one clip find each other."""
    return name.removesuffix(".mp4")


def _groups(inventory: _Inventory, by_key: Mapping[str, str], work_dir: Path) -> Iterator[VideoGroup | Failure]:
    seen: set[str] = set()
    unknown: dict[str, Path | Member] = {}

    def labelled(places: list[Path] | list[Member]) -> tuple[Video, ...]:
        """The videos that have labels and did not come before."""
        videos = []
        for place in places:
            key = PurePosixPath(place.name).stem
            if key not in by_key:
                unknown[key] = place
            elif key not in seen:
                seen.add(key)
                videos.append(Video(by_key[key], place))
        return tuple(videos)

    yield from map(_failure, inventory.damaged)
    yield VideoGroup(labelled(inventory.videos))
    for archive in inventory.archives:
        yield VideoGroup(labelled(_videos_in(archive)))
        for member in _archives_in(archive):
            try:
                places, spills = _below(archive, member, work_dir, MOST_NESTED - 1)
            except ArchiveError as error:
                yield _failure(error)
            else:
                yield VideoGroup(labelled(places), tuple(spills))
    for key in sorted(unknown.keys() - KNOWN_WITHOUT_ANNOTATION):
        remedy = "put the annotation of its split beside the others, or take the video away"
        yield Failure(PurePosixPath(unknown[key].name).name, _shown(unknown[key]), "has no annotation", remedy)


def _failure(error: ArchiveError) -> Failure:
    """An archive that cannot be read, whose clips are not known by name."""
    return Failure("", str(error.path), error.reason, error.remedy or "")


def _below(archive: Archive, member: Member, work_dir: Path, levels: int) -> tuple[list[Member], list[Path]]:
    """All videos in an archive inside an archive, and the temporary files that they are read from."""
    if levels == 0:
        raise ArchiveError("refused: archives nested too deep", path=member.shown, remedy="unpack them yourself")
    spill = work_dir / f"{hashlib.sha256(member.shown.encode()).hexdigest()[:16]}.zip"
    inner = archive.inner(member, spill)
    videos, spills = _videos_in(inner), [spill]
    for deeper in _archives_in(inner):
        more, their_spills = _below(inner, deeper, work_dir, levels - 1)
        videos += more
        spills += their_spills
    return videos, spills


def _videos_in(archive: Archive) -> list[Member]:
    return [member for member in archive.members if is_video(member.name)]


def _archives_in(archive: Archive) -> list[Member]:
    return [member for member in archive.members if member.name.lower().endswith(".zip")]
