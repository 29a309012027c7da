"""Impact ratios of continuous scores as the rules of New York City's Local Law 144 define them.

The *scoring rate* of a group is the share of its clips whose score is above the median of the whole sample. The
*impact ratio* is a group's scoring rate divided by the highest scoring rate of any group (6 RCNY § 5-300 and
§ 5-301(c); a group with less than 2% of the data may be left out of the ratios, § 5-301(d)). The rules count
applicants; here, each clip counts as one. The same is computed from the labels, because a gap there is the raters',
not the system's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnet.audit.clips import UNKNOWN, AuditClips
from crnet.metrics import cluster_numbers, percentile_interval, resampled_counts
from crnet.types import TARGETS

Floats = NDArray[np.float64]

SMALLEST_SHARE = 0.02
"""A group with a smaller share of the clips is left out of the ratios (6 RCNY § 5-301(d))."""
SOURCES = ("labels", "scores")


@dataclass(frozen=True)
class ImpactRatio:
    """The impact ratio of one group.

    Attributes:
        clips: Number of clips of the group.
        rate: The scoring rate, in [0, 1].
        ratio: The rate over the highest rate of a group; None for a group that is left out, or if no rate is above 0.
        interval: 95% interval of the ratio from the bootstrap of persons or videos; the highest group is found anew in
            each resample. None for fewer than `MIN_CLIPS_FOR_INTERVAL` persons or videos.
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
    clips: AuditClips, grouping: str, *, resamples: int, seed: int = 0
) -> dict[str, dict[str, dict[str, ImpactRatio]]]:
    """Return the impact ratios of each group: `{group: {target: {"labels" or "scores": ImpactRatio}}}`."""
    groups = np.array(clips.groupings[grouping])
    names = sorted(set(groups.tolist()) - {UNKNOWN})
    table: dict[str, dict[str, dict[str, ImpactRatio]]] = {name: {} for name in names}
    for i, target in enumerate(TARGETS):
        if target not in clips.targets:
            continue
        usable = np.isfinite(clips.truth[:, i]) & np.isfinite(clips.scores[:, i])
        members = groups[usable, None] == np.array(names)[None, :]
        units = cluster_numbers(clips.clusters[usable])
        for source, values in zip(SOURCES, (clips.truth[usable, i], clips.scores[usable, i]), strict=True):
            rates = scoring_rates(values, members.astype(np.float64), np.ones((1, len(values))))[0]
            resampled = _resampled_rates(values, members, units, resamples, seed)
            for name, ratio in zip(names, _ratios(rates, resampled, members, units), strict=True):
                if ratio is not None:
                    table[name].setdefault(target, {})[source] = ratio
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
    """Return the ratio of each group; None for a group without clips."""
    clips = members.sum(axis=0)
    kept = clips >= SMALLEST_SHARE * len(members)
    highest = rates[kept].max(initial=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = resampled / np.nanmax(np.where(kept, resampled, -np.inf), axis=1, keepdims=True, initial=0.0)
    return [
        _ratio(int(clips[k]), rates[k], highest, ratios[:, k], bool(kept[k]), len(members), members[:, k], units)
        if clips[k]
        else None
        for k in range(len(clips))
    ]


def _ratio(
    clips: int,
    rate: float,
    highest: float,
    resampled: Floats,
    is_kept: bool,
    total: int,
    members: NDArray[np.bool_],
    units: NDArray[np.int64],
) -> ImpactRatio:
    if not is_kept:
        reason = f"{clips} of {total} clips, less than {SMALLEST_SHARE:.0%} of the data"
        return ImpactRatio(clips, float(rate), None, None, reason)
    if highest == 0:
        return ImpactRatio(clips, float(rate), None, None, "no score is above the median")
    bounds = percentile_interval(np.where(np.isfinite(resampled), resampled, np.nan), len(np.unique(units[members])))
    interval = None if bounds is None else (bounds[0], bounds[1])
    return ImpactRatio(clips, float(rate), float(rate / highest), interval, None)
