"""The fused score as a weighted sum of the scores of streams and extra-trees; see `crnet.models.stacking`.

The floor are the training medians. With all weights at 0 the fused score is the floor, and with one weight at 1 it is
that candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crnet.errors import FormatError
from crnet.models.stacking import Scores
from crnet.types import STREAMS, TARGETS
from crnet.utils.number_format import decimal

TREES = "trees"
"""Name of the extra-trees among the candidates; the other names are those of the streams."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Weights of the candidates, shared by all six targets.

    Attributes:
        medians: float64 [6], the training medians.
        weights: The weight of every stream, and that of the trees under `TREES` unless it is 0.
        min_samples_leaf: The fewest clips in a leaf of the trees; 0 without trees.
    """

    medians: Scores
    weights: Mapping[str, float]
    min_samples_leaf: int = 0

    def __post_init__(self) -> None:
        if not all(np.isfinite(weight) and weight >= 0 for weight in self.weights.values()):
            raise FormatError(f"the weights of the fusion are not all finite and at least 0: {dict(self.weights)}")
        if self.min_samples_leaf < 0 or (self.min_samples_leaf > 0) != (TREES in self.weights):
            raise FormatError("the leaf size of the fusion does not fit its weights")

    def combine(self, candidates: Mapping[str, ArrayLike]) -> Scores:
        """Return the fused scores [N, 6], given the scores [N, 6] of every candidate with a weight.

        Raises:
            FormatError: The scores of a candidate are missing.
        """
        missing = [name for name in self.weights if name not in candidates]
        if missing:
            raise FormatError(f"this fusion needs the scores of {' and '.join(missing)}")
        fused: Scores = (1 - sum(self.weights.values())) * self.medians
        for name, weight in self.weights.items():
            fused = fused + weight * np.asarray(candidates[name], dtype=np.float64)
        return fused

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays by name, for safetensors."""
        weights = {f"weight.{name}": np.array([weight]) for name, weight in self.weights.items()}
        return {**weights, "medians": self.medians, "min_samples_leaf": np.array([self.min_samples_leaf], np.int64)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.generic]]) -> Stack:
        """Rebuild a stack from the untrusted arrays of `to_tensors`.

        Raises:
            FormatError: An array is missing or foreign, or a value is impossible.
        """
        expected = {"medians": (np.float64, (len(TARGETS),)), "min_samples_leaf": (np.int64, (1,))}
        names = [name for name in (*STREAMS, TREES) if f"weight.{name}" in tensors]
        expected |= {f"weight.{name}": (np.float64, (1,)) for name in names}
        if set(tensors) != set(expected):
            raise FormatError(f"the weights of a fusion hold the arrays {sorted(expected)}, found {sorted(tensors)}")
        for name, (dtype, shape) in expected.items():
            if tensors[name].dtype != dtype or tensors[name].shape != shape:
                raise FormatError(f"{name} of the fusion is {tensors[name].dtype} of shape {tensors[name].shape}")
        medians = tensors["medians"].astype(np.float64, copy=False)
        if not np.all((medians >= 0) & (medians <= 1)):
            raise FormatError("the training medians of the fusion are not scores")
        weights = {name: float(tensors[f"weight.{name}"].item()) for name in names}
        return cls(medians, weights, int(tensors["min_samples_leaf"].item()))

    @property
    def formula(self) -> str:
        """What the fused score is made of: ".52 scene + .40 audio-text + .08 floor"."""
        floor = 1 - sum(self.weights.values())
        terms = [f"{decimal(weight, digits=2)} {name}" for name, weight in self.weights.items() if weight > 0]
        if not terms:
            return "the floor"
        rest = f" {'+' if floor > 0 else '−'} {decimal(abs(floor), digits=2)} floor" if round(abs(floor), 2) else ""
        return f"{' + '.join(terms)}{rest}"
