"""What each stream brought to a score, exactly: Shapley values over the streams.

The fused feature is a sum of the streams' standardised features, in which a stream at its training mean is zero. So a
stream is taken out of a prediction by putting its training mean in its place: no retraining, no sampling. With three
streams there are eight predictions; a stream's contribution is what it adds to them on average over all orders in
which the streams can join. Contributions and base add up to the score.
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

Known = frozenset[Stream]


@dataclass(frozen=True)
class Contributions:
    """How a clip's fused scores come about.

    Attributes:
        base: Score of each target with every stream at its training mean: a person about whom nothing stands out.
        streams: By target, what each stream adds to the base; positive raises the score.
    """

    base: Mapping[str, float]
    streams: Mapping[str, Mapping[Stream, float]]

    def total(self, target: str) -> float:
        """Base and contributions together: the fused score."""
        return self.base[target] + sum(self.streams[target].values())


def contributions(bundle: Bundle, features: Mapping[Stream, ArrayLike]) -> Contributions:
    """Divide the fused scores of one clip among its streams.

    Args:
        bundle: The trained system.
        features: [1, 6, F] of each stream that it fuses.
    """
    scores = scores_of_subsets(bundle, features)
    streams = bundle.fusion.streams
    shares = {stream: shapley(scores, stream, streams) for stream in streams}
    return Contributions(
        base=dict(zip(TARGETS, scores[frozenset()].tolist(), strict=True)),
        streams={target: {s: float(shares[s][i]) for s in streams} for i, target in enumerate(TARGETS)},
    )


def scores_of_subsets(bundle: Bundle, features: Mapping[Stream, ArrayLike]) -> dict[Known, NDArray[np.float64]]:
    """The fused scores [6] when only some of the streams are known, for every set of them."""
    streams = bundle.fusion.streams
    subsets = [frozenset(some) for size in range(len(streams) + 1) for some in combinations(streams, size)]
    rows = {
        stream: np.stack(
            [np.asarray(features[stream])[0] if stream in known else bundle.fusion.mean[stream] for known in subsets]
        )
        for stream in streams
    }
    fused, _ = system_scores(bundle.fusion, rows, {})
    return dict(zip(subsets, fused, strict=True))


def shapley(
    scores: Mapping[Known, NDArray[np.float64]], stream: Stream, streams: tuple[Stream, ...]
) -> NDArray[np.float64]:
    """What a stream adds to the sets of others, averaged over all orders in which the streams can join."""
    others = [other for other in STREAMS if other in streams and other != stream]
    value = np.zeros_like(scores[frozenset()])
    for size in range(len(others) + 1):
        weight = math.factorial(size) * math.factorial(len(others) - size) / math.factorial(len(streams))
        for known in map(frozenset, combinations(others, size)):
            value += weight * (scores[known | {stream}] - scores[known])
    return value
