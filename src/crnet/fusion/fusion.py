"""From the streams' features to the final scores: standardise, weight 7:5:3, extra-trees (Sec. 3.4).

`Fusion.fit(config, features, scores)` learns from the training split, and `predict` scores clips. `to_tensors` and
`from_tensors` convert it for a safetensors file. The trees are a `crnet.fusion.forest.Forest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crnet.errors import ConfigError, FormatError
from crnet.fusion.forest import Forest
from crnet.types import STREAMS, TARGETS, Stream

PAPER_WEIGHTS: dict[str, float] = {"scene": 7.0, "face": 5.0, "audio-text": 3.0}  # Sec. 3.4, "empirically"
PAPER_TREES = 1000  # Sec. 3.4, k
PAPER_MAX_FEATURES = 512  # Sec. 3.4, m

CONSTANT = 1e-6  # a feature whose deviation is a smaller share of its magnitude is constant up to rounding


@dataclass(frozen=True)
class FusionConfig:
    """How the streams' features become one vector, and how the extra-trees are fitted.

    Attributes:
        mode: "sum" takes the weighted average of the streams' standardised features. "concat" concatenates them; the
            weights then have no effect on the trees.
        trees: Number of extra-trees for each target (k).
        max_features: Features sampled at each node (m); all of them if there are fewer.
        weights: Weights of the streams in the sum.
        seed: Random seed for the trees.
    """

    mode: Literal["sum", "concat"] = "sum"
    trees: int = PAPER_TREES
    max_features: int = PAPER_MAX_FEATURES
    weights: dict[str, float] = field(default_factory=lambda: dict(PAPER_WEIGHTS))
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in ("sum", "concat"):
            raise ConfigError(f"fusion mode {self.mode!r} is neither 'sum' nor 'concat'")
        if self.trees < 1 or self.max_features < 1:
            raise ConfigError("fusion needs at least one tree and one feature at each node")
        if set(self.weights) != set(STREAMS) or not all(0 < w < float("inf") for w in self.weights.values()):
            raise ConfigError(f"fusion weights {self.weights} are not one positive number for each of {STREAMS}")


@dataclass(frozen=True, eq=False)
class Fusion:
    """A fitted fusion of one or more streams.

    Attributes:
        config: Its configuration.
        mean: For each stream, float64 [6, F], the mean of each feature over the training split.
        scale: For each stream, float64 [6, F], the factor of the centred feature: 1 / deviation, or 0 for a feature
            that is constant in training.
        forest: The trees of all targets.
    """

    config: FusionConfig
    mean: Mapping[Stream, NDArray[np.float64]]
    scale: Mapping[Stream, NDArray[np.float64]]
    forest: Forest

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The streams it was fitted on, in the order of `STREAMS`."""
        return tuple(stream for stream in STREAMS if stream in self.mean)

    @classmethod
    def fit(cls, config: FusionConfig, features: Mapping[Stream, ArrayLike], scores: ArrayLike) -> Fusion:
        """Learn means, deviations and trees from the training split.

        Args:
            config: The configuration.
            features: For each stream to fuse, f_reg_p [N, 6, F] of N clips, from their middle frames.
            scores: [N, 6] in [0, 1].

        Raises:
            ConfigError: No streams, an unknown one, or streams of different width in a sum.
            FormatError: Features that are not finite or do not fit together.
        """
        arrays = _checked(features)
        if not arrays or not set(arrays) <= set(STREAMS):
            raise ConfigError(f"cannot fuse the streams {sorted(arrays)}", remedy=f"choose among {', '.join(STREAMS)}")
        widths = {array.shape[2] for array in arrays.values()}
        if config.mode == "sum" and len(widths) > 1:
            raise ConfigError(f"streams of {sorted(widths)} features cannot be summed", remedy="use mode 'concat'")
        mean = {stream: array.mean(axis=0) for stream, array in arrays.items()}
        scale = {stream: _inverse_deviation(array) for stream, array in arrays.items()}
        targets = np.asarray(scores, dtype=np.float64)
        if targets.shape != (len(next(iter(arrays.values()))), len(TARGETS)) or not np.isfinite(targets).all():
            raise FormatError(f"scores of shape {targets.shape} do not fit the features, or are not all finite")
        fused = _fuse(config, arrays, mean, scale)
        forest = Forest.fit(fused, targets, trees=config.trees, max_features=config.max_features, seed=config.seed)
        return cls(config, mean, scale, forest)

    def fuse(self, features: Mapping[Stream, ArrayLike]) -> NDArray[np.float32]:
        """Standardise and join features [N, 6, F] of each stream: to [N, 6, F] (sum) or [N, 6, streams * F] (concat).

        Streams that the fusion was not fitted on are ignored.

        Raises:
            FormatError: A stream is missing, or features are not finite or differ in shape from training.
        """
        missing = [stream for stream in self.streams if stream not in features]
        if missing:
            raise FormatError(f"this fusion needs the features of the stream {' and '.join(missing)}")
        arrays = _checked({stream: features[stream] for stream in self.streams})
        for stream, array in arrays.items():
            if array.shape[1:] != self.mean[stream].shape:
                raise FormatError(f"{stream} features {array.shape[1:]}, expected {self.mean[stream].shape}")
        return _fuse(self.config, arrays, self.mean, self.scale)

    def distances(self, features: Mapping[Stream, ArrayLike]) -> dict[Stream, NDArray[np.float64]]:
        """Return the distance [N] of N clips from the centre of the training clips, for each stream.

        It is the root mean square of the standardised features, about 1 for a training clip.
        """
        standardised = _standardised(_checked({s: features[s] for s in self.streams}), self.mean, self.scale)
        return {stream: np.sqrt(np.square(array).mean(axis=(1, 2))) for stream, array in standardised.items()}

    def predict(self, features: Mapping[Stream, ArrayLike]) -> NDArray[np.float64]:
        """Return the scores [N, 6] of N clips, in the range of the training scores; see `fuse` for the errors."""
        return self.forest.predict(self.fuse(features))

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return everything but the configuration as named arrays, for safetensors."""
        tensors: dict[str, NDArray[np.generic]] = {}
        for stream in self.streams:
            tensors[f"mean.{stream}"] = self.mean[stream]
            tensors[f"scale.{stream}"] = self.scale[stream]
        return tensors | {f"forest.{name}": array for name, array in self.forest.to_tensors().items()}

    @classmethod
    def from_tensors(cls, config: FusionConfig, tensors: Mapping[str, NDArray[np.generic]]) -> Fusion:
        """Rebuild a fusion from the untrusted arrays of `to_tensors`.

        Raises:
            FormatError: Something is missing or foreign, or would make a tree read out of bounds or never end.
        """
        kinds: dict[str, dict[str, NDArray[np.generic]]] = {"mean": {}, "scale": {}, "forest": {}}
        for key, array in tensors.items():
            kind, _, name = key.partition(".")
            if kind not in kinds:
                raise FormatError(f"unknown array {key!r} in a fusion")
            kinds[kind][name] = array
        mean, scale = kinds["mean"], kinds["scale"]
        if not mean or set(mean) != set(scale) or not set(mean) <= set(STREAMS):
            raise FormatError("means and scales are not those of one set of streams")
        width = 0
        for stream, array in mean.items():
            for values in (array, scale[stream]):
                if values.dtype != np.float64 or values.ndim != 2 or len(values) != len(TARGETS):
                    raise FormatError(f"standardisation of {stream} is not float64 of six targets")
                if values.shape != array.shape or not np.isfinite(values).all():
                    raise FormatError(f"standardisation of {stream} does not fit together or is not finite")
            if config.mode == "sum" and width not in (0, array.shape[1]):
                raise FormatError("streams of different width cannot be summed")
            width = width + array.shape[1] if config.mode == "concat" else array.shape[1]
        forest = Forest.from_tensors(kinds["forest"], targets=len(TARGETS), features=width)
        means, scales = (
            {stream: kind[stream].astype(np.float64, copy=False) for stream in STREAMS if stream in kind}
            for kind in (mean, scale)
        )
        return cls(config, means, scales, forest)


def system_scores(
    fusion: Fusion, features: Mapping[Stream, ArrayLike], scores: Mapping[Stream, ArrayLike]
) -> tuple[NDArray[np.float64], dict[Stream, NDArray[np.float64]]]:
    """Return a trained system's scores of N clips; training, evaluation, explanation and prediction all use this.

    The outputs of the networks are not bounded, but the scores they estimate are, so they are clipped to [0, 1].

    Args:
        fusion: The fusion of the system.
        features: [N, 6, F] of each stream.
        scores: [N, 6] of each stream, as the network returns them.

    Returns:
        The fused scores [N, 6], and those of each stream [N, 6], all in [0, 1].
    """
    streams = {s: np.clip(np.asarray(scores[s], dtype=np.float64), 0, 1) for s in STREAMS if s in scores}
    return np.clip(fusion.predict(features), 0, 1), streams


def _checked(features: Mapping[Stream, ArrayLike]) -> dict[Stream, NDArray[np.float64]]:
    arrays = {stream: np.asarray(features[stream], dtype=np.float64) for stream in STREAMS if stream in features}
    arrays |= {stream: np.asarray(values) for stream, values in features.items() if stream not in arrays}
    for stream, array in arrays.items():
        if array.ndim != 3 or array.shape[1] != len(TARGETS) or 0 in array.shape:
            raise FormatError(f"{stream} features have the shape {array.shape}, expected [clips, 6, features]")
        if not np.isfinite(array).all():
            raise FormatError(f"{stream} features are not finite", remedy="the training of this stream diverged")
    if len({len(array) for array in arrays.values()}) > 1:
        raise FormatError("the streams have features of different numbers of clips")
    return arrays


def _inverse_deviation(array: NDArray[np.float64]) -> NDArray[np.float64]:
    deviation = array.std(axis=0)
    informative = deviation > CONSTANT * np.abs(array).max(axis=0)
    return np.divide(1.0, deviation, out=np.zeros_like(deviation), where=informative)


def _standardised(
    features: Mapping[Stream, NDArray[np.float64]],
    mean: Mapping[Stream, NDArray[np.float64]],
    scale: Mapping[Stream, NDArray[np.float64]],
) -> dict[Stream, NDArray[np.float64]]:
    return {stream: (array - mean[stream]) * scale[stream] for stream, array in features.items()}


def _fuse(
    config: FusionConfig,
    features: Mapping[Stream, NDArray[np.float64]],
    mean: Mapping[Stream, NDArray[np.float64]],
    scale: Mapping[Stream, NDArray[np.float64]],
) -> NDArray[np.float32]:
    standardised = _standardised(features, mean, scale)
    if config.mode == "concat":
        return np.concatenate(list(standardised.values()), axis=2).astype(np.float32)
    total = sum(config.weights[stream] for stream in standardised)
    weighted = sum(config.weights[stream] * array for stream, array in standardised.items())
    return (np.asarray(weighted) / total).astype(np.float32)
