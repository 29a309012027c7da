"""Metrics of a system on each group of a grouping, by fairlearn's `MetricFrame`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from fairlearn.metrics import MetricFrame
from numpy.typing import NDArray

from crnet import metrics
from crnet.audit.clips import UNKNOWN, AuditClips
from crnet.types import TARGETS

Floats = NDArray[np.float64]

ALL = "all clips"
"""Name of the row over all clips, those of unknown groups included."""
COUNTS = ("clips", "clusters")
GROUP_METRICS = ("mean_truth", "mean_score", "bias", "mae", "error_removed", "spread", "ccc", "coverage")


def metrics_by_group(clips: AuditClips, grouping: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the metrics of each group: `{group: {target: {"clips", "clusters", metric of `GROUP_METRICS`}}}`.

    The first group is `ALL`. `bias` is the mean of score minus truth. `error_removed` is against the group's own floor:
    the best constant for this group alone, which is the median of its labels. `coverage` is the share of true scores in
    their intervals. An undefined metric is None.
    """
    groups = np.array(clips.groupings[grouping])
    names = [ALL, *sorted(set(groups.tolist()) - {UNKNOWN})]
    table: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in names}
    for i, target in enumerate(TARGETS):
        if target not in clips.targets:
            continue
        usable = np.isfinite(clips.truth[:, i]) & np.isfinite(clips.scores[:, i])
        covered = _covered(clips, i)
        inside = np.full(len(usable), np.nan) if covered is None else covered
        frame = MetricFrame(
            metrics=_METRICS,
            y_true=clips.truth[usable, i],
            y_pred=clips.scores[usable, i],
            sensitive_features={grouping: groups[usable].tolist()},  # an array of one clip is refused
            sample_params={"clusters": {"clusters": clips.clusters[usable]}, "coverage": {"covered": inside[usable]}},
        )
        by_group = frame.by_group.to_dict("index")
        for name in names:
            values = frame.overall.to_dict() if name == ALL else by_group.get(name)
            if values is not None:
                table[name][target] = {metric: _plain(metric, values[metric]) for metric in _METRICS}
    return table


def _covered(clips: AuditClips, i: int) -> Floats | None:
    """Return whether the interval of each clip holds the truth [N], as 0 or 1; NaN without an interval."""
    if clips.low is None or clips.high is None:
        return None
    low, high, truth = clips.low[:, i], clips.high[:, i], clips.truth[:, i]
    return np.where(np.isnan(low) | np.isnan(high), np.nan, (low <= truth) & (truth <= high))


def _plain(metric: str, value: Any) -> float | int | None:
    """Return a number of a data frame, whose columns hold floats alone, as JSON has it."""
    if metric in COUNTS:
        return int(value)
    return float(value) if np.isfinite(value) else None


def _or_nan(metric: Callable[[Floats, Floats], float | None]) -> Callable[[Floats, Floats], float]:
    """Return a metric that is NaN where it is undefined: a data frame holds no None among numbers."""

    def number(truth: Floats, score: Floats) -> float:
        value = metric(np.asarray(truth), np.asarray(score))
        return np.nan if value is None else value

    return number


def _error_removed(truth: Floats, score: Floats) -> float | None:
    return metrics.error_removed(truth, score, float(np.median(truth)))


_METRICS: dict[str, Callable[..., float]] = {
    "clips": lambda truth, score: len(truth),
    "clusters": lambda truth, score, clusters: len(np.unique(clusters)),
    "mean_truth": lambda truth, score: float(np.mean(truth)),
    "mean_score": lambda truth, score: float(np.mean(score)),
    "bias": lambda truth, score: float(np.mean(score) - np.mean(truth)),
    "mae": _or_nan(metrics.mae),
    "error_removed": _or_nan(_error_removed),
    "spread": _or_nan(metrics.spread),
    "ccc": _or_nan(metrics.ccc),
    "coverage": lambda truth, score, covered: float(np.mean(covered)),
}
