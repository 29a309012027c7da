"""Differences between each group and everyone else, with simultaneous intervals and what the audit could have missed.

Each group is compared with all other clips whose group is known, in four quantities: the mean label, the mean score,
the mean of score minus label (bias), and the mean absolute error. The bootstrap draws persons or videos. All
comparisons of an audit are corrected together by the largest standardised deviation in each resample (the single-step
max-T method of Westfall and Young 1993). It takes into account that targets and groups are correlated: if no group
differed in anything, an audit would report any difference at all in about 5% of cases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from crnet.audit.clips import UNKNOWN, AuditClips
from crnet.errors import LabelError
from crnet.metrics import CONFIDENCE, cluster_numbers, resampled_counts
from crnet.types import TARGETS

Floats = NDArray[np.float64]

QUANTITIES = ("label", "score", "bias", "mae")
FEWEST_CLUSTERS = 20
"""Persons or videos on each side of a comparison: with fewer, the bootstrap's deviation is too uncertain."""
POWER = 0.8
"""Probability with which a difference of the size `detectable` is found."""
MOST_SUMS = 5_000_000  # groups times persons or videos: about 1 GB
SMALLEST_DEVIATION = 1e-9  # a quantity that hardly varies over resamples is constant


@dataclass(frozen=True)
class Difference:
    """One group compared with everyone else.

    Attributes:
        grouping, group: The group.
        against: Whom it is compared with: the name of the other group if there are two, else "all others".
        target: One of `TARGETS`.
        quantity: One of `QUANTITIES`.
        clips: Number of clips of the group with a label and a score of the target.
        clusters: Number of their persons or videos.
        value: The group's mean minus that of the others.
        low, high: The simultaneous 95% interval of all comparisons of the audit.
        p: The p-value, corrected for the number of comparisons.
        detectable: The size of a difference that such an audit finds in 80% of cases; most smaller ones are missed.
    """

    grouping: str
    group: str
    against: str
    target: str
    quantity: str
    clips: int
    clusters: int
    value: float
    low: float
    high: float
    p: float
    detectable: float

    @property
    def found(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of `audit.json`."""
        return {**asdict(self), "found": self.found}


class TooSmall(NamedTuple):
    """A group with too few persons or videos for a comparison; of all targets if `target` is None."""

    grouping: str
    group: str
    target: str | None
    clusters: int


@dataclass(frozen=True)
class Differences:
    """All comparisons of an audit.

    Attributes:
        rows: The comparisons.
        critical: Half the width of the intervals of large groups in standard deviations; 1.96 without correction.
        too_small: Groups with too few persons or videos for a comparison.
    """

    rows: tuple[Difference, ...]
    critical: float | None
    too_small: tuple[TooSmall, ...]

    @property
    def found(self) -> tuple[Difference, ...]:
        """The differences whose interval leaves out 0, the largest first."""
        return tuple(sorted((row for row in self.rows if row.found), key=lambda row: -abs(row.value)))


@dataclass(frozen=True)
class _Pair:
    """The two sides of a comparison: columns of the group, and of the others whose means are pooled."""

    grouping: str
    group: str
    against: str
    column: int
    others: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Sizes:
    """Number of clips and of persons or videos with label and score, float64 and int64 [groups, targets]."""

    clips: Floats
    clusters: NDArray[np.int64]

    def smaller_side(self, pair: _Pair) -> NDArray[np.int64]:
        """Return the number of persons or videos of the smaller side of a comparison [targets]."""
        return np.minimum(self.clusters[pair.column], self.clusters[list(pair.others)].sum(axis=0))


def differences(clips: AuditClips, *, resamples: int, seed: int = 0) -> Differences:
    """Compare each group of each grouping with everyone else.

    Args:
        clips: The clips with their groups.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.
    """
    members, names = _members(clips.groupings)
    units = cluster_numbers(clips.clusters)
    sums = _cluster_sums(clips, members, units)
    sizes = _Sizes(sums[..., 0].sum(axis=0), (sums[..., 0] > 0).sum(axis=0))
    pairs = _pairs(names, sizes)
    too_small = tuple(_too_small(names, sizes, clips.targets))
    if not pairs or not resamples:
        return Differences((), None, too_small)
    point = _values(sums.sum(axis=0)[None], pairs)[0]
    resampled = np.concatenate(
        [_values(np.tensordot(counts, sums, axes=1), pairs) for counts in resampled_counts(units, resamples, seed)]
    )
    return _simultaneous(clips.targets, pairs, sizes, point, resampled, too_small)


def _members(groupings: Mapping[str, tuple[str, ...]]) -> tuple[NDArray[np.bool_], list[tuple[str, str]]]:
    """Return the members of every group of every grouping [N, groups], and the names of these groups."""
    columns, names = [], []
    for grouping, groups in groupings.items():
        of_clip = np.array(groups)
        for group in sorted(set(groups) - {UNKNOWN}):
            columns.append(of_clip == group)
            names.append((grouping, group))
    return np.stack(columns, axis=1), names


def _pairs(names: list[tuple[str, str]], sizes: _Sizes) -> list[_Pair]:
    """Return the comparisons: each group with enough persons or videos against the others of its grouping.

    Two groups make one comparison, not two.
    """
    pairs = []
    for grouping in dict.fromkeys(grouping for grouping, _ in names):
        columns = [i for i, name in enumerate(names) if name[0] == grouping]
        for column in columns[:1] if len(columns) == 2 else columns:
            others = tuple(other for other in columns if other != column)
            against = names[others[0]][1] if len(others) == 1 else "all others"
            pair = _Pair(grouping, names[column][1], against, column, others)
            if others and sizes.smaller_side(pair).max(initial=0) >= FEWEST_CLUSTERS:
                pairs.append(pair)
    return pairs


def _too_small(names: list[tuple[str, str]], sizes: _Sizes, targets: tuple[str, ...]) -> Iterator[TooSmall]:
    """Yield the groups with too few persons or videos: of all targets, or else of single ones."""
    for (grouping, group), counts in zip(names, sizes.clusters.tolist(), strict=True):
        if max(counts, default=0) < FEWEST_CLUSTERS:
            yield TooSmall(grouping, group, None, max(counts, default=0))
        else:
            few = ((target, count) for target, count in zip(targets, counts, strict=True) if count < FEWEST_CLUSTERS)
            yield from (TooSmall(grouping, group, target, count) for target, count in few)


def _cluster_sums(clips: AuditClips, members: NDArray[np.bool_], units: NDArray[np.int64]) -> Floats:
    """Return, for each cluster and group, the sums over its clips: [clusters, groups, targets of the clips, 4].

    The four are the number of clips, the labels, the scores and the absolute errors.
    """
    clusters = int(units.max()) + 1
    if clusters * members.shape[1] > MOST_SUMS:
        raise LabelError(
            f"{members.shape[1]} groups of {clusters} persons or videos are too many", remedy="give fewer groups"
        )
    used = [TARGETS.index(target) for target in clips.targets]
    usable = (np.isfinite(clips.truth) & np.isfinite(clips.scores))[:, used]
    truth, scores = (np.where(usable, values, 0.0) for values in (clips.truth[:, used], clips.scores[:, used]))
    of_clip = np.stack([usable.astype(np.float64), truth, scores, np.abs(scores - truth)], axis=-1)
    sums = np.zeros((clusters, members.shape[1], len(used), 4))
    for group, column in enumerate(members.T):
        np.add.at(sums[:, group], units[column], of_clip[column])
    return sums


def _values(sums: Floats, pairs: list[_Pair]) -> Floats:
    """Return the differences of R resamples: [R, pairs, targets, 4 quantities]; NaN where a side is empty.

    Args:
        sums: [R, groups, targets, 4], see `_cluster_sums`.
        pairs: The comparisons.
    """
    own = np.stack([sums[:, pair.column] for pair in pairs], axis=1)
    others = np.stack([sums[:, pair.others].sum(axis=1) for pair in pairs], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = own[..., 1:] / own[..., :1] - others[..., 1:] / others[..., :1]
    label, score, error = np.moveaxis(gap, -1, 0)
    return np.stack([label, score, score - label, error], axis=-1)


def _simultaneous(
    targets: tuple[str, ...],
    pairs: list[_Pair],
    sizes: _Sizes,
    point: Floats,
    resampled: Floats,
    too_small: tuple[TooSmall, ...],
) -> Differences:
    """Return the comparisons with intervals and p-values that hold for all of them together.

    A comparison of a target that too few persons or videos have a label and a score of is left out.
    """
    smaller = np.stack([sizes.smaller_side(pair) for pair in pairs])[:, :, None]
    freedom = np.broadcast_to(np.maximum(smaller - 1.0, 1.0), point.shape)
    spread = np.nanstd(resampled, axis=0, ddof=1)
    usable = np.isfinite(point) & (spread > SMALLEST_DEVIATION) & (smaller >= FEWEST_CLUSTERS)
    if not usable.any():
        return Differences((), None, too_small)
    largest = np.sort(np.nanmax(np.abs(resampled - point)[:, usable] / spread[usable], axis=1))
    critical = float(np.quantile(largest, CONFIDENCE, method="higher"))
    # The spread over resamples of n persons is too small by the factor sqrt((n - 1) / n), and uncertain itself:
    # Student's t in place of the normal distribution.
    deviation = spread * np.sqrt((freedom + 1) / freedom)
    student = np.asarray(stdtrit(freedom, ndtr(critical)))
    rows = []
    for p, t, q in zip(*np.nonzero(usable), strict=True):
        pair, value, unit = pairs[p], float(point[p, t, q]), float(deviation[p, t, q])
        margin = float(student[p, t, q]) * unit
        normal = -float(ndtri(stdtr(freedom[p, t, q], -abs(value) / unit)))
        exceeding = len(largest) - int(np.searchsorted(largest, normal))
        rows.append(
            Difference(
                pair.grouping, pair.group, pair.against, targets[t], QUANTITIES[q],
                int(sizes.clips[pair.column, t]), int(sizes.clusters[pair.column, t]), value,
                value - margin, value + margin, (1 + exceeding) / (1 + len(largest)),
                margin + float(ndtri(POWER)) * unit,
            )
        )  # fmt: skip
    return Differences(tuple(rows), critical, too_small)
