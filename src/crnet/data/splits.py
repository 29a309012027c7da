"""Which clips train, which choose and which test: the data set's own splits, or others that part no video or person.

First Impressions cut several clips from most of its videos and spread them over its splits. A network may then know a
person's room and face from training, with scores much like those of the clip it is tested on. The protocols here deal
the same clips anew, each video or person into one split, so that what such knowledge is worth can be measured.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

from crnet.data.manifest import ClipRow, Manifest
from crnet.errors import LabelError, UsageError
from crnet.types import SPLITS, Split

ProtocolKind = Literal["official", "video-disjoint", "identity-disjoint", "grouped-kfold"]
FEWEST_FOLDS, MOST_FOLDS = 3, 100  # one fold tests, one chooses, the others train
FEWEST_CALIBRATION_CLIPS = 20
"""With fewer clips there are no intervals: at 19 the one of level 0.95 is the largest miss, at 18 it is infinite."""
USUAL_SHARES: dict[Split, int] = {"train": 3, "val": 1, "test": 1}
"""Of a data set that has no splits of its own; First Impressions' 6,000, 2,000 and 2,000 clips."""


@dataclass(frozen=True)
class SplitProtocol:
    """A way to deal clips to splits.

    Attributes:
        kind: official: as the data set says. video-disjoint: no source video in two splits. identity-disjoint: nobody
            in two splits. grouped-kfold: K folds, no video and nobody (where known) in two of them.
        folds: K; 1 but for grouped-kfold.
        fold: Which of them tests, from 1; the next one chooses the networks. None: each in its turn.
    """

    kind: ProtocolKind = "official"
    folds: int = 1
    fold: int | None = None

    def __post_init__(self) -> None:
        fewest, most = (FEWEST_FOLDS, MOST_FOLDS) if self.kind == "grouped-kfold" else (1, 1)
        if not fewest <= self.folds <= most:
            raise UsageError(f"{self.folds} folds", remedy=f"choose {fewest} to {most}")
        if self.fold is not None and not 1 <= self.fold <= self.folds:
            raise UsageError(f"there is no fold {self.fold} of {self.folds}", remedy="folds are counted from 1")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` of a protocol gives: "video-disjoint", "grouped-kfold:5", or "grouped-kfold:5:2" for a fold.

        Raises:
            UsageError: It is no protocol.
        """
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise UsageError(
                f"unknown protocol {text!r}", remedy="official, video-disjoint, identity-disjoint or grouped-kfold:5"
            )
        if found["kind"] is not None:
            return cls(found["kind"])  # type: ignore[arg-type]
        return cls("grouped-kfold", int(found["folds"]), None if found["fold"] is None else int(found["fold"]))

    def __str__(self) -> str:
        numbers = [self.folds, self.fold] if self.kind == "grouped-kfold" else []
        return ":".join([self.kind, *(str(number) for number in numbers if number is not None)])

    @property
    def whole(self) -> SplitProtocol:
        """All folds, of one of them; else the protocol itself."""
        return replace(self, fold=None)

    @property
    def parts(self) -> tuple[SplitProtocol, ...]:
        """What is trained and tested one after the other: the folds of a grouped-kfold, else the protocol itself."""
        if self.kind != "grouped-kfold" or self.fold is not None:
            return (self,)
        return tuple(replace(self, fold=fold) for fold in range(1, self.folds + 1))


_WRITTEN = re.compile(
    r"(?P<kind>official|video-disjoint|identity-disjoint)|grouped-kfold:(?P<folds>[0-9]{1,3})(:(?P<fold>[0-9]{1,3}))?"
)
OFFICIAL = SplitProtocol()


def assign_splits(manifest: Manifest, protocol: SplitProtocol) -> Manifest:
    """Give every annotated clip the split that a protocol wants, in the same way every time.

    Groups are dealt whole, in the order of a hash of their names: to the split that lacks most of its share, where
    shares are the sizes of the data set's own splits, or to the smallest fold. Clips without scores belong to no split.
    One clip more or less may change where others go: see `training_fingerprint`.

    Args:
        manifest: A store's clips.
        protocol: One part, see `SplitProtocol.parts`.

    Raises:
        LabelError: Some clips name no person where the protocol needs it, or there are too few videos or persons.
        UsageError: A grouped-kfold without a fold.
    """
    if protocol.kind == "official":
        return manifest
    rows = tuple(row for row in manifest.clips if row.scores is not None)
    groups = _groups(rows, protocol)
    if protocol.kind == "grouped-kfold":
        split_of = _by_folds(groups, protocol)
    else:
        sizes = Counter(row.split for row in rows if row.split is not None)
        split_of = _by_shares(groups, sizes if all(sizes[split] for split in SPLITS) else USUAL_SHARES)
    if len(groups) < max(len(SPLITS), protocol.folds) or set(split_of.values()) != set(SPLITS):
        raise LabelError(f"{protocol}: too few videos or persons: {len(groups)}", remedy="choose another protocol")
    return replace(manifest, clips=tuple(replace(row, split=split_of.get(row.clip_id)) for row in manifest.clips))


def _groups(rows: Sequence[ClipRow], protocol: SplitProtocol) -> dict[str, list[str]]:
    """The clips that stay together, by a name of theirs."""
    if protocol.kind == "video-disjoint":
        groups = group_clips(rows, source_video)
        if rows and len(groups) == len(rows):
            raise LabelError(
                f"{protocol}: no two clips are of one video, as far as their names tell, such as {rows[0].clip_id}",
                remedy="name clips VIDEO.000.mp4, VIDEO.001.mp4, or name persons and use identity-disjoint",
            )
        return groups
    if protocol.kind == "grouped-kfold":
        return _connected(rows)
    nameless = [row.clip_id for row in rows if row.person is None]
    if nameless:
        raise LabelError(
            f"{protocol}: {len(nameless)} of {len(rows)} clips name no person, the first is {nameless[0]}",
            remedy="name them in the column person and prepare again, or use video-disjoint",
        )
    return group_clips(rows, lambda row: str(row.person))


def _connected(rows: Sequence[ClipRow]) -> dict[str, list[str]]:
    """Clips that share a video or a person, directly or over other clips."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for row in rows:
        names = [source_video(row)] if row.person is None else [source_video(row), f"person {row.person}"]
        first, last = sorted((root(names[0]), root(names[-1])))
        parent[last] = first
    return group_clips(rows, lambda row: root(source_video(row)))


def _by_folds(groups: Mapping[str, Sequence[str]], protocol: SplitProtocol) -> dict[str, Split]:
    if protocol.fold is None:
        raise UsageError(f"{protocol} is {protocol.folds} trainings", remedy=f"name one fold, such as {protocol}:1")
    folds: list[list[str]] = [[] for _ in range(protocol.folds)]
    for name in in_hash_order(groups):
        min(folds, key=len).extend(groups[name])
    roles: list[Split] = ["test", "val", *["train"] * (protocol.folds - 2)]  # type: ignore[list-item]
    dealt = folds[protocol.fold - 1 :] + folds[: protocol.fold - 1]
    return {clip: role for role, clips in zip(roles, dealt, strict=True) for clip in clips}


def _by_shares(groups: Mapping[str, Sequence[str]], sizes: Mapping[Split, int]) -> dict[str, Split]:
    share = {split: sizes[split] / sum(sizes[name] for name in SPLITS) for split in SPLITS}
    held = dict.fromkeys(SPLITS, 0)
    split_of: dict[str, Split] = {}
    for name in in_hash_order(groups):
        split = min(SPLITS, key=lambda split: held[split] / share[split])
        held[split] += len(groups[name])
        split_of |= dict.fromkeys(groups[name], split)
    return split_of


def training_fingerprint(manifest: Manifest) -> str:
    """A hash of which annotated clips train and which choose: where it is another one, a test clip may be known."""
    names = [f"{row.split}/{row.clip_id}" for row in manifest.clips if row.split in ("train", "val") and row.scores]
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def seen_in_other_splits(manifest: Manifest, split: Split) -> dict[str, frozenset[str]]:
    """Which clips of a split share their video, or their person, with a clip of another split.

    Returns:
        Names of clips by "video" or "person": by person only where every annotated clip has one, by video only where
        that says something else.
    """
    rows = tuple(row for row in manifest.clips if row.scores is not None and row.split is not None)
    names: dict[str, Callable[[ClipRow], str]] = {"video": source_video}
    if rows and all(row.person is not None for row in rows):
        names["person"] = lambda row: str(row.person)
    found = {}
    for grouping, name_of in names.items():
        elsewhere = {name_of(row) for row in rows if row.split != split}
        found[grouping] = frozenset(row.clip_id for row in rows if row.split == split and name_of(row) in elsewhere)
    if found.get("person") == found["video"]:
        del found["video"]
    return found


def split_validation(rows: Sequence[ClipRow]) -> tuple[tuple[ClipRow, ...], tuple[ClipRow, ...]]:
    """Divide validation clips, in the same way every time.

    Args:
        rows: The validation split.

    Returns:
        The clips that choose the networks, and those that calibrate, each in the order of `rows`. With fewer than
        twice `FEWEST_CALIBRATION_CLIPS` clips, or too few persons to divide, all of them choose.
    """
    groups = group_clips(rows, split_group)
    calibrating: set[str] = set()
    for name in in_hash_order(groups):
        if len(calibrating) + len(groups[name]) <= len(rows) // 2:
            calibrating.update(groups[name])
    if len(calibrating) < FEWEST_CALIBRATION_CLIPS:
        return tuple(rows), ()
    return (
        tuple(row for row in rows if row.clip_id not in calibrating),
        tuple(row for row in rows if row.clip_id in calibrating),
    )


_OF_A_VIDEO = re.compile(r"(?P<video>.+)\.\d{3}(\.\w+)?")  # First Impressions: <video>.<number of the clip>.mp4


def split_group(row: ClipRow) -> str:
    """Whom or what a clip shows: its person, or the video it was cut from, or itself."""
    return source_video(row) if row.person is None else f"person {row.person}"


def source_video(row: ClipRow) -> str:
    """The video that a clip was cut from, or the clip itself if its name does not tell."""
    cut = _OF_A_VIDEO.fullmatch(row.clip_id)
    return f"video {cut['video'] if cut else row.clip_id}"


def group_clips(rows: Iterable[ClipRow], name_of: Callable[[ClipRow], str]) -> dict[str, list[str]]:
    """Names of the clips that go by one name of a group, in the order of `rows`."""
    groups: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        groups[name_of(row)].append(row.clip_id)
    return groups


def in_hash_order(names: Iterable[str]) -> list[str]:
    """Names in an order that has nothing to do with what they stand for, and is the same on every machine."""
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
