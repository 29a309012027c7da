"""From the streams to the final scores: standardise features, weight them 7:5:3, extra-trees (Sec. 3.4), stacking.

`Fusion.fit` learns from the training split and from held-out clips (`crnet.fusion.held_out`), and `predict` scores
clips. The paper's way, `fit_on="training"`, fits the trees on the training clips, and their scores are the fused ones.
By default, trees are fitted on held-out clips and are one candidate beside the streams (`crnet.fusion.stack`).
`to_tensors` and `from_tensors` convert a fusion for a safetensors file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crnet.errors import ConfigError, FormatError
from crnet.fusion.feature_file import FeatureFile, Moments, check_features
from crnet.fusion.forest import Forest
from crnet.fusion.held_out import FEWEST_HELD_OUT_CLIPS, GrowTrees, HeldOutClips, fit_held_out, paper_weights
from crnet.fusion.stack import TREES, Stack
from crnet.types import STREAMS, TARGETS, Stream
from crnet.utils.number_format import counted

PAPER_WEIGHTS: dict[str, float] = {"scene": 7.0, "face": 5.0, "audio-text": 3.0}  # Sec. 3.4, "empirically"
PAPER_TREES = 1000  # Sec. 3.4, k
MAX_TREES = 100_000  # of each target
PAPER_MAX_FEATURES = 512  # Sec. 3.4, m

CONSTANT = 1e-6  # a feature whose deviation is a smaller share of its magnitude is constant up to rounding


@dataclass(frozen=True)
class FusionConfig:
    """How the streams' features become one vector, and how the fused score is fitted.

    Attributes:
        fit_on: "held-out" fits the extra-trees on the validation clips that select the networks, and takes the weighted
            sum of the trees' and the streams' scores that is best there. "training" is the paper's way: the extra-trees
            are fitted on the training clips, and their score is the fused score.
        mode: "sum" takes the weighted average of the streams' standardised features. "concat" concatenates them; the
            weights then have no effect on the trees.
        trees: Number of extra-trees for each target (k).
        max_features: Features sampled at each node (m); all of them if there are fewer.
        weights: Weights of the streams in the sum.
        seed: Random seed for the trees.
    """

    fit_on: Literal["held-out", "training"] = "held-out"
    mode: Literal["sum", "concat"] = "sum"
    trees: int = PAPER_TREES
    max_features: int = PAPER_MAX_FEATURES
    weights: dict[str, float] = field(default_factory=lambda: dict(PAPER_WEIGHTS))
    seed: int = 0

    def __post_init__(self) -> None:
        if self.fit_on not in ("held-out", "training"):
            raise ConfigError(f"the fusion is fitted on 'held-out' or 'training' clips, not on {self.fit_on!r}")
        if self.mode not in ("sum", "concat"):
            raise ConfigError(f"fusion mode {self.mode!r} is neither 'sum' nor 'concat'")
        if self.trees > MAX_TREES:
            raise ConfigError(f"fusion has {self.trees} trees", remedy=f"choose at most {MAX_TREES}")
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
        forest: The trees of all targets; None if the fused score does without them.
        stack: The weights of streams and trees; None if the fused score is that of the trees (`fit_on` "training").
    """

    config: FusionConfig
    mean: Mapping[Stream, NDArray[np.float64]]
    scale: Mapping[Stream, NDArray[np.float64]]
    forest: Forest | None
    stack: Stack | None = None

    def __post_init__(self) -> None:
        if (self.stack is None) != (self.config.fit_on == "training"):
            raise FormatError(f"the weights of a fusion fitted on {self.config.fit_on} clips are missing or foreign")
        has_trees = self.stack is None or TREES in self.stack.weights
        has_streams = self.stack is None or set(self.stack.weights) - {TREES} == set(self.mean)
        if (self.forest is not None) != has_trees or not has_streams:
            raise FormatError("the weights of the fusion are not those of its streams and trees")

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The streams it was fitted on, in the order of `STREAMS`."""
        return tuple(stream for stream in STREAMS if stream in self.mean)

    @property
    def summary(self) -> str:
        """What the fused score is made of, such as ".52 scene + .40 face + .08 trees (1000 per target, ...)"."""
        trees = f"{self.config.trees} per target"
        if self.stack is None:
            return f"extra-trees alone ({trees}), fitted on the training clips"
        leaf = self.stack.min_samples_leaf
        return self.stack.formula + (f" ({trees}, at least {counted(leaf, 'clip')} in a leaf)" if leaf else "")

    @classmethod
    def fit(
        cls,
        config: FusionConfig,
        features: Mapping[Stream, FeatureFile | ArrayLike],
        truth: ArrayLike,
        held_out: HeldOutClips | None = None,
    ) -> Fusion:
        """Learn means and deviations from the training split, and trees and weights from the clips of `config.fit_on`.

        Args:
            config: The configuration.
            features: For each stream to fuse, f_reg_p [N, 6, F] of N training clips, from their middle frames.
            truth: [N, 6] in [0, 1], their annotated scores.
            held_out: Clips that trained no network; not used if `config.fit_on` is "training". With fewer than
                `FEWEST_HELD_OUT_CLIPS` the fused score is the 7:5:3 mean of the streams' scores, with a warning.

        Raises:
            ConfigError: No streams, an unknown one, or streams of different width in a sum.
            FormatError: Features or scores that are not finite or do not fit together.
        """
        if not features or not set(features) <= set(STREAMS):
            raise ConfigError(
                f"cannot fuse the streams {sorted(features)}", remedy=f"choose among {', '.join(STREAMS)}"
            )
        moments = {stream: Moments.of(stream, features[stream]) for stream in STREAMS if stream in features}
        if len({moment.clips for moment in moments.values()}) > 1:
            raise FormatError("the streams have features of different numbers of clips")
        widths = {moment.mean.shape[1] for moment in moments.values()}
        if config.mode == "sum" and len(widths) > 1:
            raise ConfigError(f"streams of {sorted(widths)} features cannot be summed", remedy="use mode 'concat'")
        mean = {stream: moment.mean for stream, moment in moments.items()}
        scale = {stream: _inverse_deviation(moment) for stream, moment in moments.items()}
        targets = np.asarray(truth, dtype=np.float64)
        clips = next(iter(moments.values())).clips
        if targets.shape != (clips, len(TARGETS)) or not np.isfinite(targets).all():
            raise FormatError(f"scores of shape {targets.shape} do not fit the features, or are not all finite")
        grow = partial(Forest.fit, max_features=config.max_features, seed=config.seed)
        if config.fit_on == "training":
            joined = _fuse(config, _checked(features), mean, scale)
            return cls(config, mean, scale, grow(joined, targets, trees=config.trees))
        stack, forest = _fit_stack(config, mean, scale, np.median(targets, axis=0), held_out, grow)
        return cls(config, mean, scale, forest, stack)

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

    def predict(self, features: Mapping[Stream, ArrayLike], scores: Mapping[Stream, ArrayLike]) -> NDArray[np.float64]:
        """Return the fused scores [N, 6] of N clips, in [0, 1].

        Args:
            features: [N, 6, F] of each stream.
            scores: [N, 6] of each stream, as its network returns them; not used if `fit_on` is "training".

        Raises:
            FormatError: A stream is missing, or features are not finite or differ in shape from training.
        """
        candidates: dict[str, NDArray[np.float64]] = {stream: clipped(scores[stream]) for stream in scores}
        if self.forest is not None:
            candidates[TREES] = self.forest.predict(self.fuse(features))
        return clipped(candidates[TREES] if self.stack is None else self.stack.combine(candidates))

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return everything but the configuration as named arrays, for safetensors."""
        tensors: dict[str, NDArray[np.generic]] = {}
        for stream in self.streams:
            tensors[f"mean.{stream}"] = self.mean[stream]
            tensors[f"scale.{stream}"] = self.scale[stream]
        if self.stack is not None:
            tensors |= {f"stack.{name}": array for name, array in self.stack.to_tensors().items()}
        if self.forest is not None:
            tensors |= {f"forest.{name}": array for name, array in self.forest.to_tensors().items()}
        return tensors

    @classmethod
    def from_tensors(
        cls, config: FusionConfig, tensors: Mapping[str, NDArray[np.generic]], *, check_nodes: bool = True
    ) -> Fusion:
        """Rebuild a fusion from the untrusted arrays of `to_tensors`.

        Args:
            config: Its configuration.
            tensors: The arrays.
            check_nodes: Check every node of the trees now; otherwise `predict` checks those that it comes to.

        Raises:
            FormatError: Something is missing or foreign, or would make a tree read out of bounds or never end.
        """
        kinds: dict[str, dict[str, NDArray[np.generic]]] = {"mean": {}, "scale": {}, "stack": {}, "forest": {}}
        for key, array in tensors.items():
            kind, _, name = key.partition(".")
            if kind not in kinds:
                raise FormatError(f"unknown array {key!r} in a fusion")
            kinds[kind][name] = array
        mean, scale = kinds["mean"], kinds["scale"]
        if not mean or set(mean) != set(scale) or not set(mean) <= set(STREAMS):
            raise FormatError("means and scales are not those of one set of streams")
        width = _checked_width(config, mean, scale)
        stack = Stack.from_tensors(kinds["stack"]) if kinds["stack"] else None
        needs_trees = stack is None or TREES in stack.weights
        forest = None
        if kinds["forest"] or needs_trees:
            forest = Forest.from_tensors(kinds["forest"], targets=len(TARGETS), features=width, check_nodes=check_nodes)
        means, scales = (
            {stream: kind[stream].astype(np.float64, copy=False) for stream in STREAMS if stream in kind}
            for kind in (mean, scale)
        )
        return cls(config, means, scales, forest, stack)


def system_scores(
    fusion: Fusion, features: Mapping[Stream, ArrayLike], scores: Mapping[Stream, ArrayLike]
) -> tuple[NDArray[np.float64], dict[Stream, NDArray[np.float64]]]:
    """Return a trained system's scores of N clips; training, evaluation, explanation and prediction all use this.

    Args:
        fusion: The fusion of the system.
        features: [N, 6, F] of each stream.
        scores: [N, 6] of each stream, as the network returns them.

    Returns:
        The fused scores [N, 6], and those of each stream [N, 6], all in [0, 1].
    """
    return fusion.predict(features, scores), {s: clipped(scores[s]) for s in STREAMS if s in scores}


def clipped(scores: ArrayLike) -> NDArray[np.float64]:
    """Return scores as float64, clipped to [0, 1]: networks are not bounded, but the scores they estimate are."""
    return np.clip(np.asarray(scores, dtype=np.float64), 0, 1)


def _checked(features: Mapping[Stream, FeatureFile | ArrayLike]) -> dict[Stream, NDArray[np.float64]]:
    arrays = {stream: np.asarray(features[stream], dtype=np.float64) for stream in STREAMS if stream in features}
    arrays |= {stream: np.asarray(values) for stream, values in features.items() if stream not in arrays}
    for stream, array in arrays.items():
        check_features(stream, array)
    if len({len(array) for array in arrays.values()}) > 1:
        raise FormatError("the streams have features of different numbers of clips")
    return arrays


def _fit_stack(
    config: FusionConfig,
    mean: Mapping[Stream, NDArray[np.float64]],
    scale: Mapping[Stream, NDArray[np.float64]],
    medians: NDArray[np.float64],
    held_out: HeldOutClips | None,
    grow: GrowTrees,
) -> tuple[Stack, Forest | None]:
    """Fit weights and trees on held-out clips; if there are too few, return the 7:5:3 mean of the streams' scores."""
    clips = 0 if held_out is None else len(held_out.groups)
    if held_out is None or clips < FEWEST_HELD_OUT_CLIPS:
        return paper_weights(config.weights, tuple(mean), medians, clips), None
    x = _fuse(config, _checked({stream: held_out.features[stream] for stream in mean}), mean, scale)
    streams: dict[str, NDArray[np.float64]] = {stream: clipped(held_out.scores[stream]) for stream in mean}
    truth = np.asarray(held_out.truth, dtype=np.float64)
    return fit_held_out(grow, config.trees, x, streams, truth, held_out.groups, medians)


def _checked_width(
    config: FusionConfig, mean: Mapping[str, NDArray[np.generic]], scale: Mapping[str, NDArray[np.generic]]
) -> int:
    """Return the number of joined features of untrusted means and scales.

    Raises:
        FormatError: They are not finite, of another shape or type, or cannot be joined.
    """
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
    return width


def _inverse_deviation(moments: Moments) -> NDArray[np.float64]:
    deviation = moments.deviation
    informative = deviation > CONSTANT * moments.largest
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
