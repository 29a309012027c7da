"""How far a score may be off: split-conformal intervals, and how far a clip may lie from the training clips.

Take clips that neither trained a network nor chose one, and see by how much the system misses them. If a new clip
comes from where they came from, its true score lies within the ceil((n + 1) level)-th smallest of those n misses
with a probability of at least `level` (split conformal prediction; Papadopoulos et al. 2002, Lei et al. 2018).
Nothing is assumed of the system or of the errors' shape. It holds on average over clips, not for every kind of clip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crnet.data.splits import FEWEST_CALIBRATION_CLIPS
from crnet.errors import FormatError
from crnet.text.language import guess_language
from crnet.types import STREAMS, TARGETS, TRAITS, Stream

FORMAT = 1
LEVEL = 0.9
"""The level of every interval that is not said to be of another."""
LEVELS = (0.5, 0.8, LEVEL, 0.95)
"""Levels whose quantiles are kept."""
NEAR_LEVEL = 0.99
"""Share of unseen clips that count as near the training clips."""
ROUNDING = 1e-9  # 0.9 * 20 is a little more than 18

OTHER_LANGUAGE = "the transcript seems to be in {language}, most training transcripts are in {training_language}"
UNLIKE_TRAINING: dict[Stream, str] = {
    "scene": "the scene is unlike the training clips",
    "face": "the face is unlike the training clips",
    "audio-text": "voice and words together are unlike the training clips",
}


def conformal_quantile(misses: ArrayLike, level: float) -> NDArray[np.float64]:
    """The ceil((n + 1) level)-th smallest of n absolute misses, for each column: half an interval's width.

    Args:
        misses: [n, ...], predictions minus truth.
        level: Wanted coverage, in (0, 1).

    Returns:
        float64 [...]; infinite where n is too small for the level.
    """
    values = np.sort(np.abs(np.asarray(misses, dtype=np.float64)), axis=0)
    rank = math.ceil((len(values) + 1) * level - ROUNDING)
    if rank > len(values):
        return np.full(values.shape[1:], np.inf)
    return np.asarray(values[max(rank, 1) - 1])


def intervals(scores: ArrayLike, half_width: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper ends of intervals round scores, clipped to [0, 1], where every true score lies."""
    centre, half = np.asarray(scores, dtype=np.float64), np.asarray(half_width, dtype=np.float64)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


@dataclass(frozen=True)
class Calibration:
    """What a system's misses on clips that it had never met tell about its scores; `calibration.json` of a bundle.

    Attributes:
        clips: How many clips it was learned from.
        half_widths: By level, half the width of the interval of each target, order of `TARGETS`, in score units.
        nearness: By stream, the distance from the training clips (`Fusion.distances`) that `NEAR_LEVEL` of these
            clips stay within.
        language: What most training transcripts are in, by `crnet.text.language`; None if unknown.
    """

    clips: int
    half_widths: Mapping[float, tuple[float, ...]]
    nearness: Mapping[Stream, float] = field(default_factory=dict)
    language: str | None = None

    @classmethod
    def fit(
        cls, truth: ArrayLike, scores: ArrayLike, distances: Mapping[Stream, NDArray[np.float64]], language: str | None
    ) -> Calibration:
        """Learn from clips that took no part in training.

        Args:
            truth: [n, 6], as annotated.
            scores: [n, 6], the fused system's.
            distances: For each stream, [n].
            language: See the class.

        Raises:
            FormatError: Fewer than `FEWEST_CALIBRATION_CLIPS` clips.
        """
        misses = np.asarray(scores, dtype=np.float64) - np.asarray(truth, dtype=np.float64)
        if len(misses) < FEWEST_CALIBRATION_CLIPS:
            raise FormatError(
                f"{len(misses)} clips are too few for intervals", remedy=f"at least {FEWEST_CALIBRATION_CLIPS}"
            )
        half_widths = {level: tuple(conformal_quantile(misses, level).tolist()) for level in LEVELS}
        near: dict[Stream, float] = {}
        for stream, values in distances.items():
            ordered = np.sort(values)
            # Too few clips for the level: the farthest of them has to do.
            near[stream] = float(ordered[min(math.ceil((len(ordered) + 1) * NEAR_LEVEL - ROUNDING), len(ordered)) - 1])
        return cls(len(misses), half_widths, near, language)

    def intervals(self, scores: Mapping[str, float], level: float = LEVEL) -> dict[str, tuple[float, float]]:
        """The interval of each target's score.

        Raises:
            FormatError: No quantiles are kept for this level.
        """
        if level not in self.half_widths:
            raise FormatError(f"no intervals of level {level}", remedy=f"one of {sorted(self.half_widths)}")
        low, high = intervals([scores[target] for target in TARGETS], self.half_widths[level])
        return {t: (float(a), float(b)) for t, a, b in zip(TARGETS, low, high, strict=True)}

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
            distance, limit = float(np.asarray(values)[0]), self.nearness.get(stream, math.inf)
            if distance > limit:
                share = f"{100 * NEAR_LEVEL:.0f}% of calibration clips are within {limit:.2f}"
                yield f"{UNLIKE_TRAINING[stream]} (distance {distance:.2f}; {share})"

    def coverage(self, truth: ArrayLike, scores: ArrayLike, level: float = LEVEL) -> dict[str, dict[str, float]]:
        """How often the intervals of N clips hold their true score, and how wide they are on average.

        Args:
            truth, scores: [N, 6].
            level: Of the intervals.

        Returns:
            `{target: {"coverage", "width"}}` and the same under "average", over the five traits.
        """
        true = np.asarray(truth, dtype=np.float64)
        low, high = intervals(scores, self.half_widths[level])
        inside, width = ((low <= true) & (true <= high)).mean(axis=0), (high - low).mean(axis=0)
        figures = {t: {"coverage": float(inside[i]), "width": float(width[i])} for i, t in enumerate(TARGETS)}
        means = {name: float(np.mean([figures[trait][name] for trait in TRAITS])) for name in ("coverage", "width")}
        return {**figures, "average": means}

    def to_dict(self) -> dict[str, Any]:
        """The document that `calibration.json` holds."""
        return {
            "format": FORMAT,
            "kind": "split-conformal",
            "clips": self.clips,
            "half_widths": {
                str(level): dict(zip(TARGETS, widths, strict=True)) for level, widths in self.half_widths.items()
            },
            "nearness": dict(self.nearness),
            "language": self.language,
        }

    @classmethod
    def from_dict(cls, document: Any, path: Path) -> Calibration:
        """The reverse of `to_dict`.

        Raises:
            FormatError: Something is missing, foreign, or no number.
        """
        try:
            if document["format"] != FORMAT or document["kind"] != "split-conformal":
                raise ValueError("another format")
            levels = {
                float(level): tuple(float(widths[target]) for target in TARGETS)
                for level, widths in document["half_widths"].items()
            }
            near = {stream: float(document["nearness"][stream]) for stream in STREAMS if stream in document["nearness"]}
            numbers = [number for widths in levels.values() for number in widths] + list(near.values())
            if LEVEL not in levels or not all(math.isfinite(number) and number >= 0 for number in numbers):
                raise ValueError("widths are missing or not numbers")
            language = document["language"]
            return cls(int(document["clips"]), levels, near, None if language is None else str(language))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FormatError(f"not a calibration of this version: {error}", path=path) from error
