"""How good predicted scores are: the paper's 1 - MAE, and what it hides. NumPy only, float64 throughout.

Labels of apparent personality crowd round their mean, so a constant already scores 1 - MAE = .88. Every figure here
therefore stands beside that floor, and R2, correlations and the spread ratio tell a model from a constant.

A figure that is not defined is None, never NaN:

* a clip whose truth is NaN is not annotated for that target and is left out there;
* a prediction that is not finite leaves every figure of that target undefined;
* Pearson's r needs both sides to vary, R2 and the spread need the truth to vary, and Lin's coefficient is undefined
  only where both sides are one and the same constant;
* an interval needs `MIN_CLIPS_FOR_INTERVAL` clips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crnet.errors import UsageError
from crnet.types import TARGETS, TRAITS

Floats = NDArray[np.float64]

METRICS = ("accuracy", "mae", "r2", "pearson", "ccc", "floor_accuracy", "error_removed", "spread")
RESAMPLES = 1000
CONFIDENCE = 0.95
MIN_CLIPS_FOR_INTERVAL = 10
CHUNK_NUMBERS = 8_000_000  # of counts held at once while resampling: 64 MB
CONSTANT = 1e-12  # a variance below this share of the mean square is rounding, not variation


def mae(truth: ArrayLike, prediction: ArrayLike) -> float | None:
    """Mean absolute error."""
    return _one("mae", truth, prediction)


def accuracy(truth: ArrayLike, prediction: ArrayLike) -> float | None:
    """1 - MAE, the paper's "accuracy" (Eq. 10)."""
    return _one("accuracy", truth, prediction)


def r2(truth: ArrayLike, prediction: ArrayLike) -> float | None:
    """Share of the truth's variance explained: 1 for perfect, 0 for the truth's own mean, negative below that."""
    return _one("r2", truth, prediction)


def pearson(truth: ArrayLike, prediction: ArrayLike) -> float | None:
    """Pearson's correlation."""
    return _one("pearson", truth, prediction)


def ccc(truth: ArrayLike, prediction: ArrayLike) -> float | None:
    """Lin's concordance: correlation that also pays for a wrong mean or spread (Lin 1989, population moments)."""
    return _one("ccc", truth, prediction)


def spread(truth: ArrayLike, prediction: ArrayLike) -> float | None:
    """Standard deviation of the predictions over that of the truth: below 1 is regression to the mean."""
    return _one("spread", truth, prediction)


def floor_accuracy(truth: ArrayLike, train_median: float) -> float | None:
    """1 - MAE of predicting the training median for everyone."""
    return accuracy(truth, np.full(np.shape(truth), train_median))


def error_removed(truth: ArrayLike, prediction: ArrayLike, train_median: float) -> float | None:
    """Share of the floor's MAE that the predictions remove: 0 at the floor, 1 when perfect, negative below it."""
    return _one("error_removed", truth, prediction, train_median)


def describe(
    truth: ArrayLike, prediction: ArrayLike, train_medians: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Every figure of one system with its bootstrap interval, as it stands in `metrics.json`.

    Args:
        truth: [N, 6], order of `TARGETS`; NaN = not annotated.
        prediction: [N, 6].
        train_medians: [6], the floor's constants; or [N, 6] where clips have training splits of their own.
        resamples: Bootstrap resamples of the clips, the same ones for every target and every system of N clips.
        seed: Of the resampling.

    Returns:
        `{target: {metric: value, "ci95": {metric: [low, high]}}, "average": ...}`; the average is over the five
        traits, interview apart. Averages are means of the traits' figures, except that the average `error_removed`
        is taken from the average MAEs (as the paper's .9188 against .8835 would be).

    Raises:
        UsageError: The arrays do not fit together.
    """
    truths, predictions, medians = (np.asarray(a, dtype=np.float64) for a in (truth, prediction, train_medians))
    if truths.shape != predictions.shape or truths.ndim != 2 or medians.shape not in (truths.shape, truths.shape[1:]):
        raise UsageError(f"truth {truths.shape}, prediction {predictions.shape} and medians {medians.shape} do not fit")
    if truths.shape[1] != len(TARGETS):
        raise UsageError(f"{truths.shape[1]} targets, expected {len(TARGETS)}")
    columns = list(zip(truths.T, predictions.T, np.broadcast_to(medians, truths.shape).T, strict=True))
    points = [_figures(_Moments.of(*column)) for column in columns]
    parts: list[list[dict[str, Floats]]] = [
        [_figures(_Moments.of(*column, counts)) for column in columns]
        for counts in _resampled_counts(len(truths), resamples, seed)
    ]
    drawn = [
        {name: np.concatenate([part[i][name] for part in parts]) if parts else np.empty(0) for name in METRICS}
        for i in range(len(TARGETS))
    ]
    document = {target: _document(points[i], drawn[i], _has_enough(truths[:, i])) for i, target in enumerate(TARGETS)}
    traits = [TARGETS.index(trait) for trait in TRAITS]
    enough = all(_has_enough(truths[:, i]) for i in traits)
    document["average"] = _document(_average([points[i] for i in traits]), _average([drawn[i] for i in traits]), enough)
    return document


def p_value_better(
    truth: ArrayLike, better: ArrayLike, worse: ArrayLike, *, resamples: int = 10_000, seed: int = 0
) -> float | None:
    """One-sided paired bootstrap: how easily chance alone makes `better` look better than `worse` on these clips.

    Clips are resampled; both systems are compared on the same clips by their mean absolute error, averaged over the
    columns. The value is the share of resamples in which `better` is not better, with one added to both counts, so it
    is never 0, and it is 1 for two systems that make the same errors.

    Args:
        truth, better, worse: [N] or [N, targets]; NaN truths are left out of a clip's mean.
        resamples: Number of resamples.
        seed: Of the resampling.

    Returns:
        A number in (0, 1]; None below `MIN_CLIPS_FOR_INTERVAL` clips or where a prediction is not finite.

    Raises:
        UsageError: The arrays do not fit together.
    """
    truths, first, second = (np.asarray(a, dtype=np.float64) for a in (truth, better, worse))
    if not truths.shape == first.shape == second.shape or truths.ndim not in (1, 2):
        raise UsageError(f"truth {truths.shape}, better {first.shape} and worse {second.shape} do not fit")
    gain = (np.abs(second - truths) - np.abs(first - truths)).reshape(len(truths), -1)
    known = ~np.isnan(truths).reshape(len(truths), -1)
    annotated = known.any(axis=1)
    gain, known = gain[annotated], known[annotated]
    if len(gain) < MIN_CLIPS_FOR_INTERVAL or not np.isfinite(gain[known]).all():
        return None
    per_clip = np.where(known, gain, 0.0).sum(axis=1) / known.sum(axis=1)
    not_better = sum(
        int((counts @ per_clip <= 0).sum()) for counts in _resampled_counts(len(per_clip), resamples, seed)
    )
    return (1 + not_better) / (1 + resamples)


@dataclass(frozen=True)
class _Moments:
    """Weighted means over clips, one for each of R resamples: everything that the figures are made of.

    Truth and prediction are centred at their medians before they are squared, so that a constant gives exactly 0 and
    variances do not cancel.
    """

    offset: float  # median of the predictions less median of the truths
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
        cls, truth: Floats, prediction: Floats, train_median: float | Floats = np.nan, counts: Floats | None = None
    ) -> Self:
        """Moments of one target's N clips.

        Args:
            truth, prediction: [N].
            train_median: The floor's constant, or [N].
            counts: [R, N], how often each clip is drawn in each resample; None = once each (R = 1).
        """
        known = ~np.isnan(truth)
        weights = np.ones((1, int(known.sum()))) if counts is None else counts[:, known]
        t, p, floor = truth[known], prediction[known], np.broadcast_to(train_median, truth.shape)[known]
        offset_t, offset_p = (float(np.median(a)) if len(a) else 0.0 for a in (t, p))
        with np.errstate(invalid="ignore"):
            tc, pc = t - offset_t, p - offset_p
        columns = (np.abs(p - t), np.abs(t - floor), (p - t) ** 2, tc, pc, tc * tc, pc * pc, tc * pc)
        count = weights.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = [weights @ column / count for column in columns]
        return cls(offset_p - offset_t, *means)


def _figures(moments: _Moments) -> dict[str, Floats]:
    """All figures of one target, each [R]; NaN where undefined."""
    m = moments
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


def _resampled_counts(clips: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each clip is drawn in each resample, [chunk, N] at a time."""
    if clips == 0:
        return
    rng = np.random.default_rng(seed)
    rows = max(1, CHUNK_NUMBERS // clips)
    for start in range(0, resamples, rows):
        chunk = min(rows, resamples - start)
        drawn = rng.integers(clips, size=(chunk, clips)) + np.arange(chunk)[:, None] * clips
        yield np.bincount(drawn.ravel(), minlength=chunk * clips).reshape(chunk, clips).astype(np.float64)


def _document(point: dict[str, Floats], drawn: dict[str, Floats], enough: bool) -> dict[str, Any]:
    values: dict[str, Any] = {name: _number(point[name][0]) for name in METRICS}
    values["ci95"] = {name: _interval(drawn[name]) if enough and values[name] is not None else None for name in METRICS}
    return values


def _interval(values: Floats) -> list[float] | None:
    """Percentile interval over the resamples in which the figure is defined."""
    defined = values[~np.isnan(values)]
    if len(defined) == 0:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return [float(low), float(high)]


def _has_enough(truth: Floats) -> bool:
    return int((~np.isnan(truth)).sum()) >= MIN_CLIPS_FOR_INTERVAL


def _one(name: str, truth: ArrayLike, prediction: ArrayLike, train_median: float = np.nan) -> float | None:
    truths, predictions = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if truths.shape != predictions.shape or truths.ndim != 1:
        raise UsageError(f"truth {truths.shape} and prediction {predictions.shape} are not two equal rows of numbers")
    return _number(_figures(_Moments.of(truths, predictions, train_median))[name][0])


def _number(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
