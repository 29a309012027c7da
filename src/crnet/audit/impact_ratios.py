"""Impact ratios of continuous scores as the rules of New York City's Local Law 144 define them.

The *scoring rate* of a group is the share of its clips whose score is above the median of the whole sample. The
*impact ratio* is a group's scoring rate divided by the highest scoring rate of any group (6 RCNY § 5-300 and
§ 5-301(c); a group with less than 2% of the data may be left out of the ratios, § 5-301(d)). The rules count
applicants; here, each clip counts as one. The same is computed from the labels, because a gap there is the raters',
not the system's.

Which group is the highest is uncertain too, and the highest of many sample rates is too high. An interval therefore
compares a group with every other one (multiple comparisons with the best; Hsu 1984): the ratio to the highest group is
the lowest of the ratios to all others, so its upper end is the lowest of their upper ends, each with a level corrected
for the number of other groups (Bonferroni), and its lower end the lowest of their lower ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnet.audit.clips import UNKNOWN, AuditClips
from crnet.metrics import CONFIDENCE, MIN_CLIPS_FOR_INTERVAL, cluster_numbers, percentile_tail, resampled_counts
from crnet.types import TARGETS

Floats = NDArray[np.float64]

SMALLEST_SHARE = 0.02
"""A group with a smaller share of the clips is left out of the ratios (6 RCNY § 5-301(d))."""
SOURCES = ("labels", "scores")
TAIL = (1 - CONFIDENCE) / 2


@dataclass(frozen=True)
class ImpactRatio:
    """The impact ratio of one group.

    Attributes:
        clips: Number of clips of the group.
        rate: The scoring rate, in [0, 1].
        ratio: The rate over the highest rate of a group; None for a group that is left out, or if no rate is above 0.
        interval: 95% interval of the ratio from the bootstrap of persons or videos, see above. None for fewer than
            `MIN_CLIPS_FOR_INTERVAL` persons or videos.
        left_out: Why the group has no ratio; None if it has one.
    """

    clips: int
    rate: float
    ratio: float | None
    interval: tuple[float, float] | None
    left_out: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of `audit.json`."""
        interval = None if self.interval is None else list(self.interval)
        return {
            "clips": self.clips,
            "rate": self.rate,
            "ratio": self.ratio,
            "ci95": interval,
            "left_out": self.left_out,
        }


def impact_ratios(
    clips: AuditClips, *, resamples: int, seed: int = 0
) -> dict[str, dict[str, dict[str, dict[str, ImpactRatio]]]]:
    """Return the impact ratios: `{grouping: {group: {target: {"labels" or "scores": ImpactRatio}}}}`."""
    names = {grouping: sorted(set(groups) - {UNKNOWN}) for grouping, groups in clips.groupings.items()}
    table: dict[str, dict[str, dict[str, dict[str, ImpactRatio]]]] = {
        grouping: {name: {} for name in of_grouping} for grouping, of_grouping in names.items()
    }
    columns = [(grouping, name) for grouping, of_grouping in names.items() for name in of_grouping]
    members = np.stack([np.array(clips.groupings[grouping]) == name for grouping, name in columns], axis=1)
    for i, target in enumerate(TARGETS):
        if target not in clips.targets:
            continue
        usable = np.isfinite(clips.truth[:, i]) & np.isfinite(clips.scores[:, i])
        own, units = members[usable], cluster_numbers(clips.clusters[usable])
        for source, values in zip(SOURCES, (clips.truth[usable, i], clips.scores[usable, i]), strict=True):
            rates = scoring_rates(values, own.astype(np.float64), np.ones((1, len(values))))[0]
            resampled = _resampled_rates(values, own, units, resamples, seed)
            for grouping in clips.groupings:
                places = [k for k, (name, _) in enumerate(columns) if name == grouping]
                ratios = _ratios(rates[places], resampled[:, places], own[:, places], units)
                for k, ratio in zip(places, ratios, strict=True):
                    if ratio is not None:
                        table[grouping][columns[k][1]].setdefault(target, {})[source] = ratio
    return table


def scoring_rates(values: Floats, members: Floats, weights: Floats) -> Floats:
    """Return the share of each group's weight that is above the median of the whole sample.

    Args:
        values: [N], the scores.
        members: [N, groups], 1 for the members of a group, 0 for others.
        weights: [R, N], how often each of R resamples holds each clip.

    Returns:
        [R, groups]; NaN for a group without weight.
    """
    order = np.argsort(values, kind="stable")
    ordered, drawn = values[order], weights[:, order]
    reached = np.cumsum(drawn, axis=1) >= drawn.sum(axis=1, keepdims=True) / 2
    # The first value that half of the weight does not exceed: above it is above the median, also where the median lies
    # between two values.
    median = ordered[reached.argmax(axis=1)]
    above = np.where(ordered[None, :] > median[:, None], drawn, 0.0)
    with np.errstate(invalid="ignore"):
        return (above @ members[order]) / (drawn @ members[order])


def _resampled_rates(
    values: Floats, members: NDArray[np.bool_], units: NDArray[np.int64], resamples: int, seed: int
) -> Floats:
    chunks = [
        scoring_rates(values, members.astype(np.float64), counts[:, units])
        for counts in resampled_counts(units, resamples, seed)
    ]
    return np.concatenate(chunks) if chunks else np.empty((0, members.shape[1]))


def _ratios(
    rates: Floats, resampled: Floats, members: NDArray[np.bool_], units: NDArray[np.int64]
) -> list[ImpactRatio | None]:
    """Return the ratio of each group of a grouping; None for a group without clips.

    Args:
        rates: [groups], the scoring rates.
        resampled: [R, groups], those of the resamples.
        members: [N, groups].
        units: [N], the number of each clip's person or video.
    """
    clips = members.sum(axis=0)
    kept = clips >= SMALLEST_SHARE * len(members)
    highest = rates[kept].max(initial=0.0)
    sizes = [len(np.unique(units[column])) for column in members.T]
    ratios: list[ImpactRatio | None] = []
    for k, count in enumerate(clips.tolist()):
        if not count:
            ratios.append(None)
        elif not kept[k]:
            reason = f"{count} of {len(members)} clips, less than {SMALLEST_SHARE:.0%} of the data"
            ratios.append(ImpactRatio(count, float(rates[k]), None, None, reason))
        elif highest == 0:
            ratios.append(ImpactRatio(count, float(rates[k]), None, None, "no score is above the median"))
        else:
            others = [other for other in np.flatnonzero(kept).tolist() if other != k]
            interval = _interval(resampled, k, others, sizes)
            ratios.append(ImpactRatio(count, float(rates[k]), float(rates[k] / highest), interval, None))
    return ratios


def _interval(resampled: Floats, k: int, others: list[int], sizes: list[int]) -> tuple[float, float] | None:
    """Return the interval of a group's ratio to the highest of the other groups, or 1 if the group is the highest."""
    if sizes[k] < MIN_CLIPS_FOR_INTERVAL or not len(resampled):
        return None
    low = high = 1.0
    for other in others:
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = resampled[:, k] / resampled[:, other]
        if len(defined := ratios[~np.isnan(ratios)]):
            smaller = min(sizes[k], sizes[other])
            lower, upper = (percentile_tail(share, smaller) for share in (TAIL, TAIL / len(others)))
            low = min(low, float(np.quantile(defined, lower, method="lower")))
            high = min(high, float(np.quantile(defined, 1 - upper, method="higher")))
    return low, high
