"""Split-conformal intervals of the scores, and the distance of a clip from the training clips.

Calibration takes clips that neither trained a network nor selected one, and measures the errors of the system on them.
If a new clip comes from the same source, its true score lies within the ceil((n + 1) level)-th smallest of those n
errors with a probability of at least `level` (split conformal prediction; Papadopoulos et al. 2002, Lei et al. 2018).
The method assumes nothing about the system or the distribution of its errors. It holds on average over clips, not for
every kind of clip. With a model of the widths (`crnet.fusion.interval_width`), errors are compared with what the clip
leads to expect, and clips that are harder to score get wider intervals. Older bundles have constant widths.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crnet.data.splits import FEWEST_CALIBRATION_CLIPS, balanced_folds
from crnet.errors import FormatError
from crnet.fusion.interval_width import ClipFacts, WidthModel
from crnet.text.language import guess_language
from crnet.types import STREAMS, TARGETS, TRAITS, Stream
from crnet.utils.number_format import percent

FORMAT = 1
KIND = "split-conformal"
KIND_BY_CLIP = "split-conformal, width by clip"
INTERVAL_LEVEL = 0.9
"""Nominal coverage of every interval."""
NEAR_LEVEL = 0.99
"""Share of unseen clips that count as near the training clips."""
REGIONS = ("low", "middle", "high")
"""Thirds of the clips by their score."""
ROUNDING = 1e-9  # 0.9 * 20 is slightly more than 18

OTHER_LANGUAGE = "the transcript seems to be in {language}, but most training transcripts are in {training_language}"
UNLIKE_TRAINING: dict[Stream, str] = {
    "scene": "the scene is unlike those in the training clips",
    "face": "the face is unlike those in the training clips",
    "audio-text": "the combination of voice and words is unlike that in the training clips",
}


def conformal_quantile(errors: ArrayLike, level: float) -> NDArray[np.float64]:
    """Return the ceil((n + 1) level)-th smallest of n absolute errors in each column: half the width of an interval.

    Args:
        errors: [n, ...], predictions minus truth.
        level: Nominal coverage, in (0, 1).

    Returns:
        float64 [...]; infinite if n is too small for the level.
    """
    values = np.sort(np.abs(np.asarray(errors, dtype=np.float64)), axis=0)
    rank = math.ceil((len(values) + 1) * level - ROUNDING)
    if rank > len(values):
        return np.full(values.shape[1:], np.inf)
    return np.asarray(values[max(rank, 1) - 1])


def intervals(scores: ArrayLike, half_width: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lower and upper ends of intervals around scores, clipped to [0, 1], the range of true scores."""
    centre, half = np.asarray(scores, dtype=np.float64), np.asarray(half_width, dtype=np.float64)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def interval_coverage(
    truth: ArrayLike, low: ArrayLike, high: ArrayLike, targets: Sequence[str] = TARGETS
) -> dict[str, dict[str, float]]:
    """Return how often the intervals of N clips hold the true score, and their mean width.

    Args:
        truth, low, high: [N, T]; a clip without a true score or an interval does not count.
        targets: Names of the T columns.

    Returns:
        `{target: {"coverage", "width"}}` and the same under "average", the mean of the traits; targets without any
        interval are left out.
    """
    true, lower, upper = (np.asarray(values, dtype=np.float64) for values in (truth, low, high))
    known = ~np.isnan(true) & ~np.isnan(lower) & ~np.isnan(upper)
    inside, width = (lower <= true) & (true <= upper), upper - lower
    figures = {
        t: {"coverage": float(inside[known[:, i], i].mean()), "width": float(width[known[:, i], i].mean())}
        for i, t in enumerate(targets)
        if known[:, i].any()
    }
    averaged = [figures[name] for name in figures if name in TRAITS] or list(figures.values())
    if not averaged:
        return {}
    means = {name: float(np.mean([values[name] for values in averaged])) for name in ("coverage", "width")}
    return {**figures, "average": means}


def cross_calibrated(
    truth: ArrayLike, scores: ArrayLike, clusters: Sequence[Hashable]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return intervals of any system's scores: each half of the clips calibrates those of the other half.

    Args:
        truth, scores: [N, T]; NaN where there is no label or no score.
        clusters: The person or video of each clip; its clips stay in one half.

    Returns:
        The lower and upper ends [N, T]; NaN where the other half has fewer than `FEWEST_CALIBRATION_CLIPS` clips.
    """
    predicted = np.asarray(scores, dtype=np.float64)
    errors = predicted - np.asarray(truth, dtype=np.float64)
    low, high = np.full_like(predicted, np.nan), np.full_like(predicted, np.nan)
    halves = balanced_folds([str(cluster) for cluster in clusters], 2)
    for tested, calibrating in (halves, halves[::-1]):
        low[tested], high[tested] = intervals(predicted[tested], half_widths(errors[calibrating]))
    return low, high


def half_widths(errors: ArrayLike) -> NDArray[np.float64]:
    """Return half the width of the intervals of each column [T] of errors [n, T], of which NaN do not count.

    NaN for a column with fewer than `FEWEST_CALIBRATION_CLIPS` errors.
    """
    columns = [column[~np.isnan(column)] for column in np.asarray(errors, dtype=np.float64).T]
    return np.array(
        [
            conformal_quantile(column, INTERVAL_LEVEL) if len(column) >= FEWEST_CALIBRATION_CLIPS else np.nan
            for column in columns
        ]
    )


def coverage_by_region(truth: ArrayLike, scores: ArrayLike, low: ArrayLike, high: ArrayLike) -> dict[str, Any]:
    """Return `interval_coverage` of the clips with low, middle and high scores, a third of the clips each.

    Args:
        truth, scores, low, high: [N, 6]. The thirds are those of each target.

    Returns:
        `{"low" | "middle" | "high": {target or "average": {"coverage", "width"}}}`; nothing for fewer than
        `FEWEST_CALIBRATION_CLIPS` clips in a third.
    """
    arrays = [np.asarray(values, dtype=np.float64) for values in (truth, low, high)]
    order = np.argsort(np.asarray(scores, dtype=np.float64), axis=0, kind="stable")
    thirds = np.array_split(order, len(REGIONS), axis=0)
    if len(thirds[-1]) < FEWEST_CALIBRATION_CLIPS:
        return {}
    regions = {}
    for region, third in zip(REGIONS, thirds, strict=True):
        true, lower, upper = (np.take_along_axis(values, third, axis=0) for values in arrays)
        regions[region] = interval_coverage(true, lower, upper)
    return regions


@dataclass(frozen=True)
class Calibration:
    """What the errors of a system on unseen clips say about its scores; `calibration.json` of a bundle.

    Attributes:
        clips: Number of calibration clips.
        half_width: Half the width of the interval of each target, in the order of `TARGETS`, in score units; with a
            model of the widths, that of a clip whose relative width is 1.
        distance_limit: For each stream, the distance from the training clips (`Fusion.distances`) within which
            `NEAR_LEVEL` of the calibration clips lie; stored as `nearness`.
        language: Language of most training transcripts, as `crnet.text.language` names it; None if unknown.
        widths: How the width depends on the clip; None: it does not.
    """

    clips: int
    half_width: tuple[float, ...]
    distance_limit: Mapping[Stream, float] = field(default_factory=dict)
    language: str | None = None
    widths: WidthModel | None = None

    @classmethod
    def fit(
        cls, truth: ArrayLike, facts: ClipFacts, language: str | None, widths: WidthModel | None = None
    ) -> Calibration:
        """Calibrate on clips that took no part in training.

        Args:
            truth: [n, 6], the annotated scores.
            facts: What is known about the clips: scores, streams and distances.
            language: Language of most training transcripts.
            widths: How the width depends on the clip, fitted on other clips; None: it does not.

        Raises:
            FormatError: Fewer than `FEWEST_CALIBRATION_CLIPS` clips.
        """
        errors = np.asarray(facts.scores, dtype=np.float64) - np.asarray(truth, dtype=np.float64)
        if len(errors) < FEWEST_CALIBRATION_CLIPS:
            raise FormatError(
                f"{len(errors)} clips are too few for intervals", remedy=f"at least {FEWEST_CALIBRATION_CLIPS}"
            )
        limits: dict[Stream, float] = {}
        for stream, values in facts.distances.items():
            ordered = np.sort(np.asarray(values, dtype=np.float64))
            rank = math.ceil((len(ordered) + 1) * NEAR_LEVEL - ROUNDING)
            limits[stream] = float(ordered[min(rank, len(ordered)) - 1])  # too few clips: the farthest of them
        relative = 1.0 if widths is None else widths.relative_width(facts)
        half_width = conformal_quantile(errors / relative, INTERVAL_LEVEL)
        return cls(len(errors), tuple(half_width.tolist()), limits, language, widths)

    def intervals(self, facts: ClipFacts) -> dict[str, tuple[float, float]]:
        """Return the interval of each target's score of one clip."""
        low, high = self.bounds(facts)
        return {t: (float(a), float(b)) for t, a, b in zip(TARGETS, low[0], high[0], strict=True)}

    def bounds(self, facts: ClipFacts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the lower and upper ends [N, 6] of the intervals of N clips."""
        relative = 1.0 if self.widths is None else self.widths.relative_width(facts)
        return intervals(facts.scores, np.array(self.half_width) * relative)

    def unlike_training(self, distances: Mapping[Stream, ArrayLike], transcript: str) -> Iterator[str]:
        """Yield a sentence for each way in which one clip differs from the training clips.

        Args:
            distances: `Fusion.distances` of the clip, [1] for each stream.
            transcript: The clip's transcript; "" if there is none.
        """
        language = guess_language(transcript)
        if language is not None and self.language is not None and language != self.language:
            yield OTHER_LANGUAGE.format(language=language, training_language=self.language)
        for stream, values in distances.items():
            distance, limit = float(np.asarray(values)[0]), self.distance_limit.get(stream, math.inf)
            if distance > limit:
                share = f"{percent(NEAR_LEVEL, 0)} of calibration clips are within {limit:.2f}"
                yield f"{UNLIKE_TRAINING[stream]} (distance {distance:.2f}; {share})"

    def to_dict(self) -> dict[str, Any]:
        """Return the document of `calibration.json`."""
        return {
            "format": FORMAT,
            "kind": KIND if self.widths is None else KIND_BY_CLIP,
            "clips": self.clips,
            "half_widths": {str(INTERVAL_LEVEL): dict(zip(TARGETS, self.half_width, strict=True))},
            "nearness": dict(self.distance_limit),
            "language": self.language,
            **({} if self.widths is None else {"widths": self.widths.to_dict()}),
        }

    @classmethod
    def from_dict(cls, document: Any, path: Path) -> Calibration:
        """Rebuild a calibration from the document of `to_dict`; widths of other levels are ignored.

        Raises:
            FormatError: Something is missing, foreign, or not a number.
        """
        try:
            if document["format"] != FORMAT or document["kind"] not in (KIND, KIND_BY_CLIP):
                raise ValueError("another format")
            widths = {float(level): by_target for level, by_target in document["half_widths"].items()}[INTERVAL_LEVEL]
            half_width = tuple(float(widths[target]) for target in TARGETS)
            stored = document["nearness"]
            limits = {stream: float(stored[stream]) for stream in STREAMS if stream in stored}
            if not all(math.isfinite(number) and number >= 0 for number in (*half_width, *limits.values())):
                raise ValueError("a width or distance is negative or not finite")
            language = document["language"]
            widths = WidthModel.from_dict(document["widths"]) if document["kind"] == KIND_BY_CLIP else None
            return cls(int(document["clips"]), half_width, limits, None if language is None else str(language), widths)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise FormatError(f"not a calibration of this version: {error}", path=path) from error
