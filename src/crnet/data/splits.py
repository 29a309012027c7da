"""Assign clips to train, val and test: by the dataset's own splits, or so that no video or person is in two splits.

Most source videos of First Impressions were cut into several clips, which are spread over its splits. A network may
therefore know a person's room and face from training, with scores much like those of a test clip. The other protocols
assign the same clips again, each video or person to one split only, to measure what that knowledge is worth.

The validation split has two uses: some clips select the networks, the others calibrate the intervals.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray

from crnet.data.clip_row import split_number
from crnet.data.clip_rows import ClipRows, are_annotated, light_rows, select_rows, split_numbers_of, with_splits
from crnet.data.manifest import ClipRow, Manifest
from crnet.errors import LabelError, UsageError
from crnet.metrics import cluster_numbers
from crnet.types import SPLITS, Split
from crnet.utils.resumable import content_fingerprint

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64, UInt64

ProtocolKind = Literal["official", "video-disjoint", "identity-disjoint", "grouped-kfold"]
FEWEST_FOLDS, MOST_FOLDS = 3, 100  # one fold tests, one selects the networks, the others train
FEWEST_CALIBRATION_CLIPS = 20
"""With fewer clips there are no intervals: at 19 the interval of level 0.95 is the largest error, at 18 infinite."""
DEFAULT_SHARES: dict[Split, int] = {"train": 3, "val": 1, "test": 1}
"""Shares for a dataset without splits of its own: those of First Impressions (6,000, 2,000 and 2,000 clips)."""

_PROTOCOL = re.compile(
    r"(?P<kind>official|video-disjoint|identity-disjoint)|grouped-kfold:(?P<folds>[0-9]{1,3})(:(?P<fold>[0-9]{1,3}))?"
)
_CLIP_OF_VIDEO = re.compile(r"(?P<video>.+)\.\d{3}(\.\w+)?")  # First Impressions: <video>.<number of the clip>.mp4


@dataclass(frozen=True)
class SplitProtocol:
    """A rule that assigns clips to splits.

    Attributes:
        kind: official: the dataset's own splits. video-disjoint: no source video in two splits. identity-disjoint: no
            person in two splits. grouped-kfold: K folds, with no video and no known person in two of them.
        folds: K; 1 for the other kinds.
        fold: The fold that tests, from 1; the next one selects the networks. None: each fold in turn.
    """

    kind: ProtocolKind = "official"
    folds: int = 1
    fold: int | None = None

    def __post_init__(self) -> None:
        fewest, most = (FEWEST_FOLDS, MOST_FOLDS) if self.kind == "grouped-kfold" else (1, 1)
        if not fewest <= self.folds <= most:
            raise UsageError(f"invalid number of folds: {self.folds}", remedy=f"choose {fewest} to {most}")
        if self.fold is not None and not 1 <= self.fold <= self.folds:
            raise UsageError(f"there is no fold {self.fold} of {self.folds}", remedy="the first fold is 1")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the text form of a protocol: "video-disjoint", "grouped-kfold:5", or "grouped-kfold:5:2" for one fold.

        Raises:
            UsageError: The text is not a protocol.
        """
        match = _PROTOCOL.fullmatch(text)
        if match is None:
            raise UsageError(
                f"unknown protocol {text!r}", remedy="official, video-disjoint, identity-disjoint or grouped-kfold:5"
            )
        if match["kind"] is not None:
            return cls(match["kind"])  # type: ignore[arg-type]
        return cls("grouped-kfold", int(match["folds"]), None if match["fold"] is None else int(match["fold"]))

    def __str__(self) -> str:
        fold_numbers = [self.folds, self.fold] if self.kind == "grouped-kfold" else []
        return ":".join([self.kind, *(str(number) for number in fold_numbers if number is not None)])

    @property
    def all_folds(self) -> SplitProtocol:
        """The protocol with all its folds."""
        return replace(self, fold=None)

    @property
    def single_folds(self) -> tuple[SplitProtocol, ...]:
        """The protocols to train and test in turn: the folds of a grouped-kfold, otherwise the protocol itself."""
        if self.kind != "grouped-kfold" or self.fold is not None:
            return (self,)
        return tuple(replace(self, fold=fold) for fold in range(1, self.folds + 1))


OFFICIAL = SplitProtocol()


def assign_splits(manifest: Manifest, protocol: SplitProtocol) -> Manifest:
    """Assign every annotated clip to the split that the protocol gives it, in the same way every time.

    The clips of a group (a video, a person) stay together. Groups are assigned in the order of a hash of their names:
    each to the split that is furthest below its share, or to the smallest fold. The shares are the sizes of the
    dataset's own splits. Clips without scores belong to no split. One clip more or less may move others; see
    `training_fingerprint`.

    Args:
        manifest: The clips of a store.
        protocol: A single fold; see `SplitProtocol.single_folds`.

    Raises:
        LabelError: The protocol needs persons and some clips name none, or there are too few videos or persons.
        UsageError: A grouped-kfold without a fold.
    """
    if protocol.kind == "official":
        return manifest
    annotated = are_annotated(manifest.clips)
    rows = select_rows(manifest.clips, annotated)
    groups = Groups.of(_protocol_keys(rows, protocol))
    if protocol.kind == "grouped-kfold":
        split_of_group = _assign_folds(groups, protocol)
    else:
        sizes = np.bincount(split_numbers_of(rows), minlength=len(SPLITS))[: len(SPLITS)]
        defaults = np.array([DEFAULT_SHARES[split] for split in SPLITS])
        split_of_group = _assign_shares(groups, sizes if sizes.all() else defaults)
    if len(groups.sizes) < max(len(SPLITS), protocol.folds) or len(np.unique(split_of_group)) < len(SPLITS):
        reason = f"{protocol}: too few videos or persons: {len(groups.sizes)}"
        raise LabelError(reason, remedy="choose another protocol")
    splits = np.full(len(annotated), split_number(None), dtype=np.int8)
    splits[annotated] = split_of_group[groups.group_of]
    return replace(manifest, clips=with_splits(manifest.clips, splits))


def split_validation(rows: Sequence[ClipRow]) -> tuple[Sequence[ClipRow], Sequence[ClipRow]]:
    """Divide the validation clips, in the same way every time.

    Args:
        rows: The validation split.

    Returns:
        The clips that select the networks, and the clips that calibrate the intervals, both in the order of `rows`.
        With fewer than twice `FEWEST_CALIBRATION_CLIPS` clips, or too few persons to divide, all clips are used to
        select the networks.
    """
    groups = Groups.of(group_keys(map(split_group, light_rows(rows)), len(rows)))
    calibrates = np.zeros(len(groups.sizes), dtype=bool)
    clips = 0
    for group, size in enumerate(groups.sizes):
        if clips + size <= len(rows) // 2:
            calibrates[group] = True
            clips += size
    if clips < FEWEST_CALIBRATION_CLIPS:
        return rows if isinstance(rows, ClipRows) else tuple(rows), ()
    is_calibration = calibrates[groups.group_of]
    return select_rows(rows, ~is_calibration), select_rows(rows, is_calibration)


def training_fingerprint(manifest: Manifest) -> str:
    """Return the fingerprint of the annotated training and validation clips.

    If it differs between a system and a store, some test clips of the store may have trained the system.
    """
    training_splits: tuple[Split, ...] = ("train", "val")
    # The names are sorted, because the rows of a split are.
    rows = (row for split in training_splits for row in light_rows(manifest.rows(split)))
    names = (f"{row.split}/{row.clip_id}" for row in rows if row.scores)
    first = next(names, "")
    return content_fingerprint(chain([first.encode()], (f"\n{name}".encode() for name in names)))


def overlap_with_other_splits(manifest: Manifest, split: Split) -> dict[str, Bool[np.ndarray, " n"]]:
    """Find the annotated clips of a split that share their video, or their person, with a clip of another split.

    Returns:
        Under "video" and "person", which of these clips do, in the order of the split. "person" is present only if
        every annotated clip names its person, and "video" only if it differs from "person".
    """
    is_in_a_split = split_numbers_of(manifest.clips) != split_number(None)
    rows = select_rows(manifest.clips, are_annotated(manifest.clips) & is_in_a_split)
    is_here = split_numbers_of(rows) == split_number(split)
    groupings: dict[str, Callable[[ClipRow], str]] = {"video": source_video}
    if rows and all(row.person is not None for row in light_rows(rows)):
        groupings["person"] = lambda row: str(row.person)
    overlap = {}
    for grouping, group_name in groupings.items():
        keys = group_keys(map(group_name, light_rows(rows)), len(rows))
        overlap[grouping] = np.isin(keys[is_here], keys[~is_here])
    if "person" in overlap and np.array_equal(overlap["person"], overlap["video"]):
        del overlap["video"]
    return overlap


def split_group(row: ClipRow) -> str:
    """Return the group of a clip: its person if known, else its source video, else the clip itself."""
    return source_video(row) if row.person is None else f"person {row.person}"


def source_video(row: ClipRow) -> str:
    """Return the source video of a clip, or the clip itself if its name does not tell."""
    return f"video {video_of_clip(row.clip_id)}"


def video_of_clip(clip_id: str) -> str:
    """Return the source video that a clip's name tells, such as `VIDEO` of `VIDEO.003.mp4`, or the name itself."""
    match = _CLIP_OF_VIDEO.fullmatch(clip_id)
    return match["video"] if match else clip_id


def clip_clusters(clips: Sequence[str], persons: Sequence[str] | None) -> tuple[str, NDArray[np.int64]]:
    """Return what the clusters of a bootstrap are, and the number of each clip's cluster.

    Args:
        clips: Names of the clips.
        persons: Name of the person in each clip, "" where it is not known. Such a clip belongs to the person of another
            clip of its source video; without one, the video counts as a person. If no person is known, the source
            videos count, which names tell.
    """
    videos = [video_of_clip(clip) for clip in clips]
    if not persons or not any(persons):
        return "source video", cluster_numbers(videos)
    person_of = {video: person for video, person in zip(videos, persons, strict=True) if person}
    known = [person or person_of.get(video) for video, person in zip(videos, persons, strict=True)]
    names = [
        f"video {video}" if person is None else f"person {person}" for video, person in zip(videos, known, strict=True)
    ]
    return "person", cluster_numbers(names)


@dataclass(frozen=True, eq=False)
class Groups:
    """Clips that stay together, as numbers: the groups are in the order of a hash of their names.

    Attributes:
        group_of: The group of each clip.
        sizes: Number of clips of each group.
    """

    group_of: Int64[np.ndarray, " n"]
    sizes: Int64[np.ndarray, " groups"]

    @classmethod
    def of(cls, keys: UInt64[np.ndarray, " n"]) -> Self:
        """Return the groups of clips, from the `group_keys` of the clips."""
        _, group_of, sizes = np.unique(keys, return_inverse=True, return_counts=True)
        return cls(group_of, sizes)

    def folds(self, count: int) -> Int64[np.ndarray, " groups"]:
        """Return the fold of each group, from 0; the folds have similar sizes, and each group goes to the smallest."""
        members, folds = np.zeros(count, dtype=np.int64), np.empty(len(self.sizes), dtype=np.int64)
        for group, size in enumerate(self.sizes):
            folds[group] = members.argmin()
            members[folds[group]] += size
        return folds


def balanced_folds(names: Sequence[str], folds: int) -> list[Int64[np.ndarray, " m"]]:
    """Return the places of the clips of each fold; folds have similar sizes, and a group stays together.

    Args:
        names: The group of each clip.
        folds: Number of folds.
    """
    groups = Groups.of(group_keys(names, len(names)))
    fold_of = groups.folds(folds)[groups.group_of]
    return [np.flatnonzero(fold_of == fold) for fold in range(folds)]


def group_keys(names: Iterable[str], count: int) -> UInt64[np.ndarray, " n"]:
    """Return the first 64 bits of the SHA-256 of each name: an order that is the same on every machine.

    Two of a million groups share a key with a probability of 3e-8; their clips would then stay together.

    Args:
        names: The group of each clip.
        count: Number of clips.
    """
    keys = (int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") for name in names)
    return np.fromiter(keys, np.uint64, count)


def _protocol_keys(rows: Sequence[ClipRow], protocol: SplitProtocol) -> UInt64[np.ndarray, " n"]:
    """Return the keys of the groups that the protocol keeps together."""
    if protocol.kind == "grouped-kfold":
        return group_keys(_groups_by_video_and_person(rows), len(rows))
    if protocol.kind == "video-disjoint":
        keys = group_keys(map(source_video, light_rows(rows)), len(rows))
        if rows and len(np.unique(keys)) == len(rows):
            raise LabelError(
                f"{protocol}: judging by their names, no two clips come from one video, such as {rows[0].clip_id}",
                remedy="name clips VIDEO.000.mp4, VIDEO.001.mp4, or name persons and use identity-disjoint",
            )
        return keys
    nameless = np.fromiter((row.person is None for row in light_rows(rows)), bool, len(rows))
    if nameless.any():
        first = rows[int(nameless.argmax())].clip_id
        raise LabelError(
            f"{protocol}: {nameless.sum()} of {len(rows)} clips name no person, the first is {first}",
            remedy="name them in the column person and prepare again, or use video-disjoint",
        )
    return group_keys((str(row.person) for row in light_rows(rows)), len(rows))


def _groups_by_video_and_person(rows: Sequence[ClipRow]) -> Iterator[str]:
    """Yield the group of each clip: clips share it if they share a video or a person, directly or through other clips.

    This is a union-find on the names of all videos and persons, which are in memory.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for row in light_rows(rows):
        names = [source_video(row)] if row.person is None else [source_video(row), f"person {row.person}"]
        first, last = sorted((root(names[0]), root(names[-1])))
        parent[last] = first
    for row in light_rows(rows):
        yield root(source_video(row))


def _assign_folds(groups: Groups, protocol: SplitProtocol) -> Int64[np.ndarray, " groups"]:
    """Return the split of each group; see `split_number`."""
    if protocol.fold is None:
        raise UsageError(f"{protocol} is {protocol.folds} trainings", remedy=f"name one fold, such as {protocol}:1")
    roles: list[Split] = ["test", "val", *["train"] * (protocol.folds - 2)]  # type: ignore[list-item]
    split_of_fold = np.roll([split_number(role) for role in roles], protocol.fold - 1)
    return split_of_fold[groups.folds(protocol.folds)]


def _assign_shares(groups: Groups, sizes: Int64[np.ndarray, " 3"]) -> Int64[np.ndarray, " groups"]:
    """Return the split of each group, given the sizes of the splits; see `split_number`."""
    share, assigned = sizes / sizes.sum(), np.zeros(len(SPLITS))
    split_of_group = np.empty(len(groups.sizes), dtype=np.int64)
    for group, size in enumerate(groups.sizes):
        split_of_group[group] = split = (assigned / share).argmin()
        assigned[split] += size
    return split_of_group
