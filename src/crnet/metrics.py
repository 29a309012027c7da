"""Metrics of predicted scores: the paper's 1 - MAE, and what it hides. NumPy alone but for intervals; float64.

Labels of apparent personality lie close to their mean, so a constant already scores 1 - MAE = .88. Every metric is
therefore reported beside that floor. R2, correlations and the spread ratio distinguish a model from a constant.

An undefined metric is None, never NaN:

* a clip whose truth is NaN is not annotated for that target, and the target ignores it;
* a prediction that is not finite makes every metric of its target undefined;
* Pearson's r needs both sides to vary, R2 and the spread need the truth to vary, and Lin's coefficient is undefined
  only if both sides are the same constant;
* an interval needs `MIN_CLIPS_FOR_INTERVAL` clips, from as many persons or videos if the bootstrap draws those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crnet.errors import UsageError
from crnet.types import TARGETS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

METRICS = ("accuracy", "mae", "r2", "pearson", "ccc", "floor_accuracy", "error_removed", "spread")
RESAMPLES = 1000
CONFIDENCE = 0.95
MIN_CLIPS_FOR_INTERVAL = 10
CHUNK_NUMBERS = 8_000_000  # counts held at once while resampling: 64 MB
CONSTANT = 1e-12  # a variance below this share of the mean square is rounding, not variation
AVERAGE = "average"
NOT_AVERAGED = "interview"


def mae(truth: ArrayLike, prediction: ArrayLike) -> float | None:
    """Return the mean absolute error."""
    return _metric("mae", truth, prediction)


def accuracy(truth: ArrayLike, prediction: ArrayLike) -> float | None:
    """Return 1 - MAE, the paper's "accuracy" (Eq. 10)."""
    return _metric("accuracy", truth, prediction)


def r2(truth: ArrayLike, prediction: ArrayLike) -> float | None:
    """Return the explained share of the truth's variance: 1 is perfect, 0 is as good as the truth's own mean."""
    return _metric("r2", truth, prediction)


def pearson(truth: ArrayLike, prediction: ArrayLike) -> float | None:
    """Return Pearson's correlation."""
    return _metric("pearson", truth, prediction)


def ccc(truth: ArrayLike, prediction: ArrayLike) -> float | None:
    """Return Lin's concordance, which also penalises a wrong mean or spread (Lin 1989, population moments)."""
    return _metric("ccc", truth, prediction)


def spread(truth: ArrayLike, prediction: ArrayLike) -> float | None:
    """Return the predictions' standard deviation over the truth's; below 1 means regression to the mean."""
    return _metric("spread", truth, prediction)


def floor_accuracy(truth: ArrayLike, train_median: float) -> float | None:
    """Return 1 - MAE of predicting the training median for everyone."""
    return accuracy(truth, np.full(np.shape(truth), train_median))


def error_removed(truth: ArrayLike, prediction: ArrayLike, train_median: float) -> float | None:
    """Return the share of the floor's MAE that the predictions remove: 1 is perfect, 0 is the floor, less is worse."""
    return _metric("error_removed", truth, prediction, train_median)


def describe(
    truth: ArrayLike,
    prediction: ArrayLike,
    floor: ArrayLike,
    targets: Sequence[str] = TARGETS,
    *,
    clusters: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Return every metric of one system with its bootstrap interval, as `metrics.json` holds it.

    Args:
        truth: [N, T]; NaN means not annotated.
        prediction: [N, T].
        floor: The constants of the floor [T], usually training medians; or [N, T] if clips have training splits of
            their own.
        targets: Names of the T columns.
        clusters: [N], the number of each clip's person or video. The bootstrap then draws whole clusters, because clips
            of one person are alike. None: it draws single clips.
        resamples: Bootstrap resamples, the same for every target and every system of the same clips.
        seed: Seed of the resampling.

    Returns:
        `{target: {metric: value, "ci95": {metric: [low, high]}}, "average": ...}`. The average is over all targets
        except the interview score. Averages are means of the targets' metrics, except that the average `error_removed`
        comes from the average MAEs (as the paper's .9188 against .8835 would).

    Raises:
        UsageError: The shapes do not match, or target names are not unique.
    """
    return bootstrap(truth, prediction, floor, targets, clusters=clusters, resamples=resamples, seed=seed).to_dict()


def averaged_targets(targets: Sequence[str]) -> tuple[str, ...]:
    """Return the targets that the average is over: all but the interview score, which is averaged only if alone."""
    return tuple(target for target in targets if target != NOT_AVERAGED) or tuple(targets)


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """The metrics of one system and of its resamples, by target; `AVERAGE` is one of the targets.

    Two systems of the same clips with the same clusters, resamples and seed have the same resamples, so their
    difference in each resample is that of a paired bootstrap.

    Attributes:
        points: Each metric of all clips, [1].
        resampled: Each metric of each resample, [R]; NaN where undefined.
        units: Number of clips, or of clusters, with a truth.
    """

    points: Mapping[str, Mapping[str, Floats]]
    resampled: Mapping[str, Mapping[str, Floats]]
    units: Mapping[str, int]

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return what `describe` returns."""
        return {
            target: _document(self.points[target], self.resampled[target], self.units[target]) for target in self.points
        }


def bootstrap(
    truth: ArrayLike,
    prediction: ArrayLike,
    floor: ArrayLike,
    targets: Sequence[str] = TARGETS,
    *,
    clusters: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Bootstrap:
    """Return the metrics of one system and of its resamples; see `describe` for arguments and errors."""
    truths, predictions, floors = _checked(truth, prediction, floor, targets)
    units = np.arange(len(truths)) if clusters is None else cluster_numbers(clusters)
    columns = list(zip(truths.T, predictions.T, floors.T, strict=True))
    points, resampled = _bootstrapped(columns, units, resamples, seed)
    annotated = [len(np.unique(units[~np.isnan(column)])) for column in truths.T]
    averaged = [i for i, target in enumerate(targets) if target in averaged_targets(targets)]
    names = (*targets, AVERAGE)
    return Bootstrap(
        dict(zip(names, [*points, _average([points[i] for i in averaged])], strict=True)),
        dict(zip(names, [*resampled, _average([resampled[i] for i in averaged])], strict=True)),
        dict(zip(names, [*annotated, min(annotated[i] for i in averaged)], strict=True)),
    )


def _checked(
    truth: ArrayLike, prediction: ArrayLike, floor: ArrayLike, targets: Sequence[str]
) -> tuple[Floats, Floats, Floats]:
    """Return the arrays of `describe` as float64 [N, T], after checking that they match."""
    truths, predictions, floors = (np.asarray(a, dtype=np.float64) for a in (truth, prediction, floor))
    if truths.shape != predictions.shape or truths.ndim != 2 or floors.shape not in (truths.shape, truths.shape[1:]):
        raise UsageError(
            f"the shapes do not match: truth {truths.shape}, prediction {predictions.shape}, floor {floors.shape}"
        )
    if truths.shape[1] != len(targets) or not targets:
        raise UsageError(f"{truths.shape[1]} columns, but {len(targets)} names of targets")
    if len({*targets, AVERAGE}) != len(targets) + 1:
        raise UsageError(f"two targets have the same name, or one is named {AVERAGE!r}", remedy="rename it")
    return truths, predictions, np.broadcast_to(floors, truths.shape)


def _bootstrapped(
    columns: Sequence[tuple[Floats, Floats, Floats]], units: Integers, resamples: int, seed: int
) -> tuple[list[dict[str, Floats]], list[dict[str, Floats]]]:
    """Return the metrics [1] of each column (truth, prediction and floor [N]), and those of its resamples [R]."""
    points = [_metrics(_PopulationMoments.of(*column)) for column in columns]
    chunks = [
        [_metrics(_PopulationMoments.of(*column, counts[:, units])) for column in columns]
        for counts in resampled_counts(units, resamples, seed)
    ]
    resampled = [
        {name: np.concatenate([chunk[i][name] for chunk in chunks]) if chunks else np.empty(0) for name in METRICS}
        for i in range(len(columns))
    ]
    return points, resampled


def cluster_numbers(clusters: ArrayLike) -> Integers:
    """Return the clusters of N clips as numbers from 0, in the order of their first clips, so that order decides."""
    _, first, numbers = np.unique(np.asarray(clusters), return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[numbers]


@dataclass(frozen=True)
class _PopulationMoments:
    """Weighted means over clips, one for each of R resamples; all metrics follow from them.

    Truth and prediction are centred at their medians before they are squared, so that a constant gives exactly 0 and
    variances do not cancel.
    """

    offset: float  # median of the predictions minus median of the truths
    error: Floats
    floor_error: Floats
    square_error: Floats
    truth: Floats
    prediction: Floats
    truth_square: Floats
    prediction_square: Floats
    product: Floats

    @classmethod
    def of(
        cls, truth: Floats, prediction: Floats, floor: float | Floats = np.nan, counts: Floats | None = None
    ) -> Self:
        """Compute the moments of one target's N clips.

        Args:
            truth, prediction: [N].
            floor: The floor's constant, or [N].
            counts: [R, N], how often each resample draws each clip; None means once each (R = 1).
        """
        annotated = ~np.isnan(truth)
        weights = np.ones((1, int(annotated.sum()))) if counts is None else counts[:, annotated]
        t, p, constant = truth[annotated], prediction[annotated], np.broadcast_to(floor, truth.shape)[annotated]
        offset_t, offset_p = (float(np.median(a)) if len(a) else 0.0 for a in (t, p))
        with np.errstate(invalid="ignore"):
            tc, pc = t - offset_t, p - offset_p
        columns = (np.abs(p - t), np.abs(t - constant), (p - t) ** 2, tc, pc, tc * tc, pc * pc, tc * pc)
        count = weights.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = [weights @ column / count for column in columns]
        return cls(offset_p - offset_t, *means)


def _metrics(m: _PopulationMoments) -> dict[str, Floats]:
    """Return all metrics of one target, each [R]; NaN where undefined."""
    with np.errstate(invalid="ignore", divide="ignore"):
        truth_variance = _variance(m.truth_square, m.truth)
        prediction_variance = _variance(m.prediction_square, m.prediction)
        covariance = m.product - m.truth * m.prediction
        shift = m.offset + m.prediction - m.truth
        r = covariance / np.sqrt(truth_variance * prediction_variance)
        varies = (truth_variance > 0) & (prediction_variance > 0)
        figures = {
            "accuracy": 1 - m.error,
            "mae": m.error,
            "r2": 1 - m.square_error / truth_variance,
            "pearson": np.clip(r, -1, 1),
            "ccc": np.where(varies, 2 * covariance, 0.0) / (truth_variance + prediction_variance + shift**2),
            "floor_accuracy": 1 - m.floor_error,
            "error_removed": 1 - m.error / m.floor_error,
            "spread": np.sqrt(prediction_variance / truth_variance),
        }
    usable = np.isfinite(m.error)
    return {name: np.where(usable & np.isfinite(values), values, np.nan) for name, values in figures.items()}


def _variance(square: Floats, mean: Floats) -> Floats:
    variance = square - mean * mean
    return np.where(variance <= CONSTANT * square, 0.0, variance)


def _average(targets: list[dict[str, Floats]]) -> dict[str, Floats]:
    average = {name: np.mean([figures[name] for figures in targets], axis=0) for name in METRICS}
    with np.errstate(invalid="ignore", divide="ignore"):
        removed = 1 - average["mae"] / (1 - average["floor_accuracy"])
    average["error_removed"] = np.where(np.isfinite(removed), removed, np.nan)
    return average


def resampled_counts(units: Integers, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield how often each resample draws each unit: [chunk, units] at a time.

    Args:
        units: [N], the number of each clip's unit, from `cluster_numbers`.
        resamples: Number of resamples.
        seed: Seed of the resampling.
    """
    if len(units) == 0:
        return
    count = int(units.max()) + 1
    rng = np.random.default_rng(seed)
    rows = max(1, CHUNK_NUMBERS // len(units))
    for start in range(0, resamples, rows):
        chunk = min(rows, resamples - start)
        sampled = rng.integers(count, size=(chunk, count)) + np.arange(chunk)[:, None] * count
        yield np.bincount(sampled.ravel(), minlength=chunk * count).reshape(chunk, count).astype(np.float64)


def _document(point: Mapping[str, Floats], resampled: Mapping[str, Floats], units: int) -> dict[str, Any]:
    values: dict[str, Any] = {name: _number(point[name][0]) for name in METRICS}
    values["ci95"] = {
        name: None if values[name] is None else percentile_interval(resampled[name], units) for name in METRICS
    }
    return values


def percentile_interval(values: Floats, units: int) -> list[float] | None:
    """Return the percentile interval over the resamples in which a metric is defined.

    Resamples of n units vary less than samples by the factor sqrt((n - 1) / n), and the normal distribution ignores
    that few units tell little about the deviation. The percentiles are therefore those of t sqrt(n / (n - 1)) for a
    Student's t with n - 1 degrees of freedom (the expanded percentile interval of Hesterberg 2015, Sec. 5.3).

    Args:
        values: [R], a metric of each resample; NaN where it is undefined.
        units: Number of clips, or of clusters, that each resample draws.

    Returns:
        None for fewer than `MIN_CLIPS_FOR_INTERVAL` units, or if the metric is defined in no resample.
    """
    defined = values[~np.isnan(values)]
    if len(defined) == 0 or units < MIN_CLIPS_FOR_INTERVAL:
        return None
    tail = percentile_tail((1 - CONFIDENCE) / 2, units)
    low, high = np.quantile(defined, [tail, 1 - tail])
    return [float(low), float(high)]


def percentile_tail(share: float, units: int) -> float:
    """Return the share of resamples to cut off at one end of an interval that should miss `share` of the cases there.

    Args:
        share: In (0, .5).
        units: Number of clips, or of clusters, that each resample draws; see `percentile_interval`.
    """
    from scipy.special import ndtr, stdtrit  # prediction does not need it

    if units < 2:
        return 0.0
    return float(ndtr(stdtrit(units - 1, share) * np.sqrt(units / (units - 1))))


def _metric(name: str, truth: ArrayLike, prediction: ArrayLike, floor: float = np.nan) -> float | None:
    truths, predictions = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if truths.shape != predictions.shape or truths.ndim != 1:
        raise UsageError(
            f"truth {truths.shape} and prediction {predictions.shape} must be two vectors of the same length"
        )
    return _number(_metrics(_PopulationMoments.of(truths, predictions, floor))[name][0])


def _number(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
