"""The exact contribution of each stream to a score: Shapley values over the streams.

A fused score is a weighted sum of the streams' scores and of the score of trees on the streams' standardised features.
In it, a stream whose score is the training median adds nothing to the floor, and features at their training mean are
zero. A stream is therefore removed from a prediction by replacing its score with the training median and its features
with their training mean: no retraining, no sampling. Three streams give eight predictions; a stream's contribution is
what it adds to them, averaged over all orders in which the streams can join. Base and contributions add up to the
score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crnet.bundle.bundle import Bundle
from crnet.fusion.fusion import system_scores
from crnet.types import STREAMS, TARGETS, Stream

StreamSet = frozenset[Stream]


@dataclass(frozen=True)
class Contributions:
    """A clip's fused scores, divided among the streams.

    Attributes:
        base: The score of each target with every stream removed, that is, of an average person.
        streams: What each stream adds to the base, by target; positive values raise the score.
    """

    base: Mapping[str, float]
    streams: Mapping[str, Mapping[Stream, float]]

    def total(self, target: str) -> float:
        """Return base plus contributions: the fused score."""
        return self.base[target] + sum(self.streams[target].values())


def contributions(
    bundle: Bundle, features: Mapping[Stream, ArrayLike], stream_scores: Mapping[Stream, ArrayLike]
) -> Contributions:
    """Divide the fused scores of one clip among its streams.

    Args:
        bundle: The trained system.
        features: [1, 6, F] for each stream that the system fuses.
        stream_scores: [1, 6] for each of them, as its network returns them.
    """
    scores = score_subsets(bundle, features, stream_scores)
    streams = bundle.fusion.streams
    shares = {stream: shapley_value(scores, stream, streams) for stream in streams}
    return Contributions(
        base=dict(zip(TARGETS, scores[frozenset()].tolist(), strict=True)),
        streams={target: {s: float(shares[s][i]) for s in streams} for i, target in enumerate(TARGETS)},
    )


def score_subsets(
    bundle: Bundle, features: Mapping[Stream, ArrayLike], stream_scores: Mapping[Stream, ArrayLike]
) -> dict[StreamSet, NDArray[np.float64]]:
    """Return the fused scores [6] for every subset of the streams; the other streams are removed."""
    streams = bundle.fusion.streams
    subsets = [frozenset(subset) for size in range(len(streams) + 1) for subset in combinations(streams, size)]

    def replaced(values: Mapping[Stream, ArrayLike], absent: Mapping[Stream, ArrayLike]) -> dict[Stream, ArrayLike]:
        return {
            s: np.stack([np.asarray(values[s])[0] if s in subset else absent[s] for subset in subsets]) for s in streams
        }

    medians = dict.fromkeys(streams, bundle.train_medians)
    fused, _ = system_scores(bundle.fusion, replaced(features, bundle.fusion.mean), replaced(stream_scores, medians))
    return dict(zip(subsets, fused, strict=True))


def shapley_value(
    scores: Mapping[StreamSet, NDArray[np.float64]], stream: Stream, streams: tuple[Stream, ...]
) -> NDArray[np.float64]:
    """Return what a stream adds to the subsets of the others, averaged over all orders in which they can join."""
    others = [other for other in STREAMS if other in streams and other != stream]
    value = np.zeros_like(scores[frozenset()])
    for size in range(len(others) + 1):
        weight = math.factorial(size) * math.factorial(len(others) - size) / math.factorial(len(streams))
        for subset in map(frozenset, combinations(others, size)):
            value += weight * (scores[subset | {stream}] - scores[subset])
    return value
