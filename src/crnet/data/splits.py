"""Assign clips to train, val and test: by the dataset's own splits, or so that no video or person is in two splits.

Most source videos of First Impressions were cut into several clips, which are spread over its splits. A network may
therefore know a person's room and face from training, with scores much like those of a test clip. The other protocols
assign the same clips again, each video or person to one split only, to measure what that knowledge is worth.

The validation split has two uses: some clips select the networks, the others calibrate the intervals.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from crnet.data.clip_rows import ClipRows, light_rows, scores_or_nan, select_rows
from crnet.data.manifest import ClipRow, Manifest
from crnet.errors import LabelError, UsageError
from crnet.metrics import cluster_numbers
from crnet.types import SPLITS, Split
from crnet.utils.resumable import content_fingerprint

T = TypeVar("T")
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
    clips = manifest.clips
    rows = select_rows(clips, ~np.isnan(scores_or_nan(clips)[:, 0]))
    groups = _protocol_groups(rows, protocol)
    if protocol.kind == "grouped-kfold":
        split_by_clip = _assign_folds(groups, protocol)
    else:
        sizes = Counter(row.split for row in light_rows(rows) if row.split is not None)
        split_by_clip = _assign_shares(groups, sizes if all(sizes[split] for split in SPLITS) else DEFAULT_SHARES)
    if len(groups) < max(len(SPLITS), protocol.folds) or set(split_by_clip.values()) != set(SPLITS):
        raise LabelError(f"{protocol}: too few videos or persons: {len(groups)}", remedy="choose another protocol")
    if isinstance(clips, ClipRows):
        return replace(manifest, clips=clips.with_splits(split_by_clip.get))
    return replace(manifest, clips=tuple(replace(row, split=split_by_clip.get(row.clip_id)) for row in clips))


def split_validation(rows: Sequence[ClipRow]) -> tuple[Sequence[ClipRow], Sequence[ClipRow]]:
    """Divide the validation clips, in the same way every time.

    Args:
        rows: The validation split.

    Returns:
        The clips that select the networks, and the clips that calibrate the intervals, both in the order of `rows`.
        With fewer than twice `FEWEST_CALIBRATION_CLIPS` clips, or too few persons to divide, all clips are used to
        select the networks.
    """
    groups = group_clips(rows, split_group)
    calibration: set[str] = set()
    for name in in_hash_order(groups):
        if len(calibration) + len(groups[name]) <= len(rows) // 2:
            calibration.update(groups[name])
    if len(calibration) < FEWEST_CALIBRATION_CLIPS:
        return rows if isinstance(rows, ClipRows) else tuple(rows), ()
    calibrates = np.array([row.clip_id in calibration for row in light_rows(rows)], dtype=bool)
    return select_rows(rows, ~calibrates), select_rows(rows, calibrates)


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


def overlap_with_other_splits(manifest: Manifest, split: Split) -> dict[str, frozenset[str]]:
    """Find the clips of a split that share their video, or their person, with a clip of another split.

    Returns:
        Clip ids under "video" and "person". "person" is present only if every annotated clip names its person, and
        "video" only if it differs from "person".
    """
    clips = manifest.clips
    annotated = select_rows(clips, ~np.isnan(scores_or_nan(clips)[:, 0]))
    rows = tuple(row for row in light_rows(annotated) if row.split is not None)
    groupings: dict[str, Callable[[ClipRow], str]] = {"video": source_video}
    if rows and all(row.person is not None for row in rows):
        groupings["person"] = lambda row: str(row.person)
    overlap = {}
    for grouping, group_name in groupings.items():
        elsewhere = {group_name(row) for row in rows if row.split != split}
        overlap[grouping] = frozenset(
            row.clip_id for row in rows if row.split == split and group_name(row) in elsewhere
        )
    if overlap.get("person") == overlap["video"]:
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
        persons: Name of the person in each clip. If one is missing, the source videos count, which names tell.
    """
    if persons and all(persons):
        return "person", cluster_numbers(list(persons))
    return "source video", cluster_numbers([video_of_clip(clip) for clip in clips])


def group_clips(rows: Sequence[ClipRow], group_name: Callable[[ClipRow], str]) -> dict[str, list[str]]:
    """Return the clip ids of each group, in the order of `rows`."""
    groups: dict[str, list[str]] = defaultdict(list)
    for row in light_rows(rows):
        groups[group_name(row)].append(row.clip_id)
    return groups


def in_hash_order(names: Iterable[str]) -> list[str]:
    """Sort names by their hash: an order unrelated to their meaning, and the same on every machine."""
    return sorted(names, key=lambda name: content_fingerprint([name.encode()]))


def balanced_folds(groups: Mapping[str, Sequence[T]], folds: int) -> list[list[T]]:
    """Return the members of the groups in folds of similar size; a group stays together.

    Groups are assigned in the order of a hash of their names, each to the smallest fold.
    """
    members: list[list[T]] = [[] for _ in range(folds)]
    for name in in_hash_order(groups):
        min(members, key=len).extend(groups[name])
    return members


def _protocol_groups(rows: Sequence[ClipRow], protocol: SplitProtocol) -> dict[str, list[str]]:
    """Return the clip ids that the protocol keeps together, by the name of the group."""
    if protocol.kind == "video-disjoint":
        groups = group_clips(rows, source_video)
        if rows and len(groups) == len(rows):
            raise LabelError(
                f"{protocol}: judging by their names, no two clips come from one video, such as {rows[0].clip_id}",
                remedy="name clips VIDEO.000.mp4, VIDEO.001.mp4, or name persons and use identity-disjoint",
            )
        return groups
    if protocol.kind == "grouped-kfold":
        return _group_by_video_and_person(rows)
    nameless = [row.clip_id for row in light_rows(rows) if row.person is None]
    if nameless:
        raise LabelError(
            f"{protocol}: {len(nameless)} of {len(rows)} clips name no person, the first is {nameless[0]}",
            remedy="name them in the column person and prepare again, or use video-disjoint",
        )
    return group_clips(rows, lambda row: str(row.person))


def _group_by_video_and_person(rows: Sequence[ClipRow]) -> dict[str, list[str]]:
    """Group clips that share a video or a person, directly or through other clips (union-find)."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for row in light_rows(rows):
        names = [source_video(row)] if row.person is None else [source_video(row), f"person {row.person}"]
        first, last = sorted((root(names[0]), root(names[-1])))
        parent[last] = first
    return group_clips(rows, lambda row: root(source_video(row)))


def _assign_folds(groups: Mapping[str, Sequence[str]], protocol: SplitProtocol) -> dict[str, Split]:
    if protocol.fold is None:
        raise UsageError(f"{protocol} is {protocol.folds} trainings", remedy=f"name one fold, such as {protocol}:1")
    folds = balanced_folds(groups, protocol.folds)
    roles: list[Split] = ["test", "val", *["train"] * (protocol.folds - 2)]  # type: ignore[list-item]
    rotated = folds[protocol.fold - 1 :] + folds[: protocol.fold - 1]
    return {clip: role for role, clips in zip(roles, rotated, strict=True) for clip in clips}


def _assign_shares(groups: Mapping[str, Sequence[str]], sizes: Mapping[Split, int]) -> dict[str, Split]:
    share = {split: sizes[split] / sum(sizes[name] for name in SPLITS) for split in SPLITS}
    assigned = dict.fromkeys(SPLITS, 0)
    split_by_clip: dict[str, Split] = {}
    for name in in_hash_order(groups):
        split = min(SPLITS, key=lambda split: assigned[split] / share[split])
        assigned[split] += len(groups[name])
        split_by_clip |= dict.fromkeys(groups[name], split)
    return split_by_clip
