"""Paired comparisons of systems: a bootstrap draws the same clips, or clusters of clips, for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr

from crnet.errors import UsageError
from crnet.metrics import (
    METRICS,
    MIN_CLIPS_FOR_INTERVAL,
    RESAMPLES,
    Bootstrap,
    cluster_numbers,
    percentile_interval,
    resampled_counts,
)

COMPARED = tuple(metric for metric in METRICS if metric not in ("mae", "floor_accuracy"))
"""The metrics whose differences are reported: `mae` is 1 - `accuracy`, and the floor is no property of a system."""


@dataclass(frozen=True)
class PairedDifference:
    """A metric of one system minus that of another.

    Attributes:
        system, minus: Names of the two systems.
        target: A target, or "average".
        metric: One of `COMPARED`.
        value: The difference; None if a side is undefined.
        ci95: Its 95% percentile interval; None if a side has too few clips.
        p: Two-sided p-value of no difference, from the same resamples as the interval; None without an interval.
        p_corrected: `p`, corrected by Holm's method for the number of pairs of systems.
    """

    system: str
    minus: str
    target: str
    metric: str
    value: float | None
    ci95: list[float] | None
    p: float | None
    p_corrected: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of `comparison.json`."""
        return asdict(self)


def paired_difference(system: Bootstrap, minus: Bootstrap, target: str, metric: str) -> dict[str, Any]:
    """Return `value`, `ci95` and `p` of a `PairedDifference` of two systems with the same resamples."""
    first, second = system.points[target][metric][0], minus.points[target][metric][0]
    if not np.isfinite(first - second):
        return {"value": None, "ci95": None, "p": None}
    resampled = system.resampled[target][metric] - minus.resampled[target][metric]
    units = min(system.units[target], minus.units[target])
    return {
        "value": float(first - second),
        "ci95": percentile_interval(resampled, units),
        "p": two_sided_p(resampled, units),
    }


def two_sided_p(resampled: NDArray[np.float64], units: int) -> float | None:
    """Return the two-sided p-value of no difference, from the differences in R resamples.

    It is twice the smaller of the shares of resamples at or below 0 and at or above 0, with one added to both counts,
    so that it is never 0. It is enlarged for few units as `percentile_interval` is widened, so that p is below .05
    where the 95% interval leaves out 0. Two systems with the same predictions have p = 1.

    Args:
        resampled: [R]; NaN where a metric is undefined.
        units: Number of clips, or of clusters, that each resample draws.

    Returns:
        A number in (0, 1]; None for fewer than `MIN_CLIPS_FOR_INTERVAL` units, or if no resample is defined.
    """
    defined = resampled[~np.isnan(resampled)]
    if not len(defined) or units < MIN_CLIPS_FOR_INTERVAL:
        return None
    tail = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    share = min(0.5, (1 + tail) / (1 + len(defined)))
    return 2 * float(stdtr(units - 1, ndtri(share) * np.sqrt((units - 1) / units)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values corrected for their number (Holm 1979); None stays None and does not count."""
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - rank)))
        corrected[i] = largest
    return corrected


def enough_resamples(systems: int, wanted: int | None = None) -> int:
    """Return how many resamples let a clear difference be found after the correction for all pairs of systems.

    The smallest p-value of R resamples is 2 / (1 + R), times the number of pairs.

    Args:
        systems: Number of systems.
        wanted: Number of resamples that somebody wants; None: as many as make that p-value .0125, at least `RESAMPLES`.

    Raises:
        UsageError: Not even the smallest p-value would be below .05.
    """
    pairs = systems * (systems - 1) // 2
    if wanted is None:
        return max(RESAMPLES, 160 * pairs)
    if wanted < 40 * pairs:
        raise UsageError(
            f"{wanted} resamples cannot tell {systems} systems apart, because p-values are corrected for {pairs} pairs",
            remedy=f"choose {40 * pairs} or more",
        )
    return wanted


def p_value_better(
    truth: ArrayLike,
    better: ArrayLike,
    worse: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> float | None:
    """Return the p-value of a one-sided paired bootstrap test that `better` has a smaller error than `worse`.

    Clips are resampled, and both systems are compared on the same clips by their mean absolute error, averaged over the
    columns. The p-value is the share of resamples in which `better` is not better, with one added to both counts. It is
    therefore never 0, and it is 1 for two systems with the same errors.

    Args:
        truth, better, worse: [N] or [N, targets]; a clip's mean ignores NaN truths.
        clusters: [N], see `describe`.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        A number in (0, 1]; None for fewer than `MIN_CLIPS_FOR_INTERVAL` clips (or clusters) or if a prediction is not
        finite.

    Raises:
        UsageError: The shapes do not match.
    """
    truths, first, second = (np.asarray(a, dtype=np.float64) for a in (truth, better, worse))
    if not truths.shape == first.shape == second.shape or truths.ndim not in (1, 2):
        raise UsageError(f"the shapes do not match: truth {truths.shape}, better {first.shape}, worse {second.shape}")
    gain = (np.abs(second - truths) - np.abs(first - truths)).reshape(len(truths), -1)
    annotated = ~np.isnan(truths).reshape(len(truths), -1)
    used = annotated.any(axis=1)
    units = cluster_numbers(np.arange(len(truths))[used] if clusters is None else np.asarray(clusters)[used])
    gain, annotated = gain[used], annotated[used]
    if len(np.unique(units)) < MIN_CLIPS_FOR_INTERVAL or not np.isfinite(gain[annotated]).all():
        return None
    per_clip = np.where(annotated, gain, 0.0).sum(axis=1) / annotated.sum(axis=1)
    per_unit = np.bincount(units, per_clip)
    not_better = sum(int((counts @ per_unit <= 0).sum()) for counts in resampled_counts(units, resamples, seed))
    return (1 + not_better) / (1 + resamples)
