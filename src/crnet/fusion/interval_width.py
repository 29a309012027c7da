"""How wide the interval of one clip should be, compared with that of others: what a clip reveals about its error.

Four things are known without the truth: how far the score lies from the usual score, how much the streams disagree on
this target and on all of them together, and how far the clip lies from the training clips. Non-negative least squares
fits the absolute error on them, so more of any of them never makes an interval narrower. The fit takes clips that do
not calibrate the intervals, so the coverage of the intervals does not depend on it (locally weighted split conformal
prediction; Lei et al. 2018, Sec. 5.2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crnet.types import STREAMS, TARGETS, Stream

Floats = NDArray[np.float64]

FEWEST_CLIPS = 100
"""With fewer clips to fit on, widths do not depend on the clip."""
LEAST_GAIN = 0.01  # mean width that a fit must save on its own clips; otherwise widths do not depend on the clip
NARROWEST, WIDEST = 0.25, 4.0
"""Bounds of a clip's width, relative to the mean."""
FEATURES = (
    "constant",
    "distance from the usual score",
    "disagreement of the streams",
    "distance from training",
    "disagreement on all targets",  # the last one, because files of earlier versions lack it
)


@dataclass(frozen=True)
class ClipFacts:
    """What is known about N clips without the truth.

    Attributes:
        scores: [N, 6], the fused scores.
        streams: [N, 6] of each stream.
        distances: [N] of each stream, see `Fusion.distances`.
    """

    scores: ArrayLike
    streams: Mapping[Stream, ArrayLike]
    distances: Mapping[Stream, ArrayLike]

    @classmethod
    def joined(cls, parts: Iterable[ClipFacts]) -> Self:
        """Return what is known about the clips of several parts, one after another."""
        blocks = list(parts)
        streams, distances = (
            {name: np.concatenate([np.asarray(block[name]) for block in mappings]) for name in mappings[0]}
            for mappings in ([part.streams for part in blocks], [part.distances for part in blocks])
        )
        return cls(np.concatenate([np.asarray(part.scores) for part in blocks]), streams, distances)

    def features(self, usual: ArrayLike) -> Floats:
        """Return `FEATURES` of each clip and target, float64 [N, 6, 5].

        Args:
            usual: [6], the usual score of each target.
        """
        scores = np.asarray(self.scores, dtype=np.float64)
        streams = [np.asarray(self.streams[s], dtype=np.float64) for s in STREAMS if s in self.streams]
        distances = [np.asarray(self.distances[s], dtype=np.float64) for s in STREAMS if s in self.distances]
        disagreement = np.std(streams, axis=0) if streams else np.zeros_like(scores)
        distance = np.mean(distances, axis=0) if distances else np.zeros(len(scores))
        far = np.abs(scores - np.asarray(usual, dtype=np.float64))
        overall = np.sqrt(np.mean(disagreement**2, axis=1))
        of_clip = [np.repeat(values[:, None], len(TARGETS), axis=1) for values in (distance, overall)]
        return np.stack([np.ones_like(scores), far, disagreement, *of_clip], axis=2)


@dataclass(frozen=True)
class WidthModel:
    """The width of a clip's intervals relative to the mean width.

    Attributes:
        usual: [6], the usual score of each target: the median of the clips that it was fitted on.
        weights: [6][5], the weights of `FEATURES` for each target, none negative.
    """

    usual: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]

    @classmethod
    def fit(cls, truth: ArrayLike, facts: ClipFacts) -> Self | None:
        """Fit on clips that do not calibrate the intervals.

        Args:
            truth: [n, 6], the annotated scores.
            facts: What is known about the clips.

        Returns:
            None for too few clips, or if the widths would not be narrower on average.
        """
        from scipy.optimize import nnls  # prediction does not need it

        scores = np.asarray(facts.scores, dtype=np.float64)
        errors = np.abs(scores - np.asarray(truth, dtype=np.float64))
        if len(errors) < FEWEST_CLIPS or not (errors > 0).any(axis=0).all():
            return None
        usual = np.median(scores, axis=0)
        features = facts.features(usual)
        weights = []
        for i in range(len(TARGETS)):
            fitted, _ = nnls(features[:, i], errors[:, i])
            weights.append(tuple((fitted / (features[:, i] @ fitted).mean()).tolist()))
        model = cls(tuple(usual.tolist()), tuple(weights))
        relative = model.relative_width(facts)
        constant, varying = np.quantile(errors, 0.9, axis=0), np.quantile(errors / relative, 0.9, axis=0)
        gain = 1 - float((varying * relative.mean(axis=0)).mean() / constant.mean())
        return model if gain >= LEAST_GAIN else None

    def relative_width(self, facts: ClipFacts) -> Floats:
        """Return the width of each clip's intervals relative to the mean width, float64 [N, 6]."""
        relative = np.einsum("ntf,tf->nt", facts.features(self.usual), np.array(self.weights))
        return np.clip(relative, NARROWEST, WIDEST)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object in `calibration.json`."""
        return {
            "usual": dict(zip(TARGETS, self.usual, strict=True)),
            "weights": {
                target: dict(zip(FEATURES, weights, strict=True))
                for target, weights in zip(TARGETS, self.weights, strict=True)
            },
        }

    @classmethod
    def from_dict(cls, document: Any) -> Self:
        """Rebuild a model from the object of `to_dict`.

        Raises:
            KeyError, TypeError, ValueError: Something is missing or no number.
        """
        usual = tuple(float(document["usual"][target]) for target in TARGETS)
        stored = [{FEATURES[-1]: 0.0, **document["weights"][target]} for target in TARGETS]
        weights = tuple(tuple(float(of_target[name]) for name in FEATURES) for of_target in stored)
        if not all(math.isfinite(number) and number >= 0 for row in (usual, *weights) for number in row):
            raise ValueError("a usual score or a weight is negative or not finite")
        return cls(usual, weights)
