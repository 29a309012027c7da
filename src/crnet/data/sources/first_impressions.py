"""ChaLearn First Impressions v2 in any form: nested zips, encrypted or not, or unpacked files.

Files are found by name in any folder. The simulated datasets of crnet have the same layout.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from crnet.data.sources.archive_keys import KeyLookup
from crnet.data.sources.archives import NO_KEY, Archive, Member
from crnet.data.sources.dataset import Dataset, Failure, LockedArchive, Video, VideoGroup
from crnet.data.sources.release_labels import clip_name, display_path_of, is_label, read_labels
from crnet.data.sources.release_names import LABELS_PATTERN, SIMULATED_FORMAT, SIMULATED_MARKER, annotation_name
from crnet.data.video_files import find_files, is_video
from crnet.errors import ArchiveError, DamagedArchiveError, LabelError
from crnet.types import SPLITS, DataSource
from crnet.utils.files import parse_json
from crnet.utils.resumable import SHORT_DIGITS, content_fingerprint
from crnet.utils.storage import RemotePath, as_path

KNOWN_WITHOUT_ANNOTATION = frozenset({"xyWpSrfFlQw.004"})
MOST_NESTED = 3  # levels of nested archives; the release has two

_RELEASE_ZIP = re.compile(r"(train|val|test)(-\w+|\d+_\d+).*\.zip$|training\d+_\d+\.zip$")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Inventory:
    """The files of the dataset: label files by name (a list, as there may be copies), videos, and archives."""

    labels: Mapping[str, list[Path | Member]]
    videos: list[Path]
    archives: list[Archive]
    damaged: list[DamagedArchiveError]

    @property
    def locked_annotations(self) -> set[str]:
        """Names of the annotations that exist only in encrypted archives without a key."""
        names = {PurePosixPath(member.name).name for archive in self.archives for member in archive.locked}
        return {name for name in names - self.labels.keys() if name.startswith("annotation_") and is_label(name)}


def is_release(path: Path, files: Iterable[Path]) -> bool:
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
        ArchiveError: An archive is damaged or dangerous, its key is wrong, or all annotations are locked.
    """
    root = as_path(root)
    inventory = _take_inventory(list(find_files(root)) if files is None else files, keys)
    clips = read_labels(inventory.labels)
    if not clips:
        raise _no_annotation(inventory, root)
    clip_ids = {clip_name(clip_id): clip_id for clip_id in clips}

    def video_groups(work_dir: Path) -> Iterator[VideoGroup | Failure | LockedArchive]:
        return _video_groups(inventory, clip_ids, work_dir)

    return Dataset(
        _data_source(root),
        clips,
        video_groups,
        expected_path=lambda clip_id: str(root / clip_id),
        skip_missing_splits=True,
    )


def _no_annotation(inventory: _Inventory, root: Path) -> LabelError | ArchiveError:
    locked = next((archive for archive in inventory.archives if archive.locked), None)
    if locked is not None:
        return ArchiveError(NO_KEY, path=locked.display_path, remedy=locked.locked_remedy)
    names = [annotation_name(split) for split in SPLITS]
    return LabelError(
        f"no {', '.join(names[:-1])} or {names[-1]} found",
        path=root,
        remedy="put the annotation of the release beside its videos",
    )


def _data_source(root: Path) -> DataSource:
    marker = root / SIMULATED_MARKER
    if not marker.is_file():
        return "first-impressions-v2"
    try:
        document = parse_json(marker.read_text(encoding="utf-8"))
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
            if isinstance(file, RemotePath):
                raise ArchiveError("archives are read from a disk only", path=file, remedy="copy the data set to one")
            try:
                archives.append(Archive(file, keys))
            except DamagedArchiveError as error:
                damaged.append(error)
    labels: dict[str, list[Path | Member]] = {}
    for file in files:
        if is_label(file.name):
            labels.setdefault(file.name, []).append(file)
    for archive in archives:
        for member in archive.members:
            name = PurePosixPath(member.name).name
            if is_label(name):
                labels.setdefault(name, []).append(member)
    if damaged and not labels:
        raise damaged[0]
    return _Inventory(labels, [file for file in files if is_video(file.name)], archives, damaged)


def _video_groups(
    inventory: _Inventory, clip_ids: Mapping[str, str], work_dir: Path
) -> Iterator[VideoGroup | Failure | LockedArchive]:
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
    yield from (_locked_part(archive) for archive in inventory.archives if archive.locked)
    yield VideoGroup(labelled(inventory.videos))
    for archive in inventory.archives:
        yield VideoGroup(labelled(_videos_in(archive)))
        for member in _archives_in(archive):
            try:
                nested = _read_nested(archive, member, work_dir, MOST_NESTED - 1)
            except ArchiveError as error:
                yield _failure(error)
            else:
                yield from nested.locked
                yield VideoGroup(labelled(nested.videos), tuple(nested.temporary))
    unknown = sorted(unlabelled.keys() - KNOWN_WITHOUT_ANNOTATION)
    if unknown and inventory.locked_annotations:
        message = "%d videos have no annotation and are skipped; %s is in an encrypted archive without a key"
        _log.warning(message, len(unknown), ", ".join(sorted(inventory.locked_annotations)))
        return
    for name in unknown:
        place = unlabelled[name]
        remedy = "put the annotation of its split beside the others, or remove the video"
        yield Failure(PurePosixPath(place.name).name, display_path_of(place), "has no annotation", remedy)


def _failure(error: ArchiveError) -> Failure:
    """Return the failure of an archive that cannot be read, so that the names of its clips are unknown."""
    return Failure("", str(error.path), error.reason, error.remedy or "")


def _locked_part(archive: Archive) -> LockedArchive:
    contents = tuple(member.display_path for member in archive.locked)
    return LockedArchive(archive.display_path, archive.locked_remedy, contents)


@dataclass(frozen=True)
class _Nested:
    """The content of an archive inside an archive: all videos, the locked archives, the temporary files behind them."""

    videos: list[Member]
    locked: list[LockedArchive]
    temporary: list[Path]


def _read_nested(archive: Archive, member: Member, work_dir: Path, levels: int) -> _Nested:
    if levels == 0:
        raise ArchiveError(
            "refused: archives are nested too deeply", path=member.display_path, remedy="unpack them yourself"
        )
    unpacked = work_dir / f"{content_fingerprint([member.display_path.encode()])[:SHORT_DIGITS]}.zip"
    inner = archive.inner(member, unpacked)
    nested = _Nested(_videos_in(inner), [_locked_part(inner)] if inner.locked else [], [unpacked])
    for deeper_member in _archives_in(inner):
        deeper = _read_nested(inner, deeper_member, work_dir, levels - 1)
        nested.videos.extend(deeper.videos)
        nested.locked.extend(deeper.locked)
        nested.temporary.extend(deeper.temporary)
    return nested


def _videos_in(archive: Archive) -> list[Member]:
    return [member for member in archive.members if is_video(member.name)]


def _archives_in(archive: Archive) -> list[Member]:
    return [member for member in archive.members if member.name.lower().endswith(".zip")]
