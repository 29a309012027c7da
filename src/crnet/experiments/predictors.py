"""From trained networks to scores: the network's own, a weighted mean of several, or extra-trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from sklearn.linear_model import LinearRegression

from crnet.data.dataset import stack_scores
from crnet.data.splits import split_validation
from crnet.errors import ConfigError
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.workspace import Lab
from crnet.fusion.fusion import FusionConfig
from crnet.types import Split, Stream

if TYPE_CHECKING:
    from jaxtyping import Float64

Predictor = Literal["network", "trees", "weighted outputs", "learned weights"]
"""network: a single stream's own output. trees: extra-trees on the features, joined as the fusion says. weighted
outputs: the mean of the networks' outputs with the fusion's weights (7:5:3). learned weights: likewise, with weights
found for each target on validation clips."""

BESIDE: dict[Predictor, Predictor] = {"network": "trees", "trees": "weighted outputs"}
"""Which other predictor of the same networks stands beside the one that a row is about."""

SINGLE_STREAM_TREES = 100
"""Trees on one stream, beside its network: by then their number hardly matters, and tables have dozens of rows."""


def predict(
    lab: Lab, specs: Sequence[NetSpec], seed: int, fusion: FusionConfig, predictor: Predictor
) -> Float64[np.ndarray, "N 6"]:
    """Scores in [0, 1] of the test clips.

    Raises:
        ConfigError: A network's own output is asked for, but there are several networks, or it is not trained.
        UntrainedError: The training of one of them failed.
    """
    if predictor == "trees":
        if len(specs) == 1:
            fusion = replace(fusion, mode="sum", trees=min(SINGLE_STREAM_TREES, fusion.trees))
        return lab.fused(specs, seed, fusion, "test")
    outputs = {spec.stream: network_scores(lab, spec, seed, "test") for spec in specs}
    if predictor == "network":
        if len(specs) != 1:
            raise ConfigError(
                f"{len(specs)} networks have no single output", remedy="ask for trees or weighted outputs"
            )
        return outputs[specs[0].stream]
    if predictor == "weighted outputs":
        total = sum(fusion.weights[stream] for stream in outputs)
        return sum(fusion.weights[stream] / total * scores for stream, scores in outputs.items())  # type: ignore[return-value]
    return np.clip(_with_learned_weights(lab, specs, seed, outputs), 0, 1)


def network_scores(lab: Lab, spec: NetSpec, seed: int, split: Split) -> Float64[np.ndarray, "N 6"]:
    """A network's own scores, clipped to [0, 1] as everywhere."""
    return np.clip(lab.outputs(spec, seed, split).scores.astype(np.float64), 0, 1)


def _with_learned_weights(
    lab: Lab, specs: Sequence[NetSpec], seed: int, outputs: dict[Stream, np.ndarray]
) -> Float64[np.ndarray, "N 6"]:
    """Non-negative least squares of the deviations from the training mean, for each target apart.

    The weights come from the validation clips that chose no network, or from all where too few are left of those.
    """
    means = lab.truth("train").mean(axis=0)
    rows = lab.rows("val")
    kept = {row.clip_id for row in split_validation(rows)[1] or rows}
    held_out = [i for i, row in enumerate(rows) if row.clip_id in kept]
    truth = stack_scores([rows[i] for i in held_out]) - means
    of_val = {spec.stream: network_scores(lab, spec, seed, "val")[held_out] - means for spec in specs}
    mixed = np.empty_like(next(iter(outputs.values())))
    for target in range(mixed.shape[1]):
        seen = np.stack([of_val[stream][:, target] for stream in outputs], axis=1)
        weights = LinearRegression(fit_intercept=False, positive=True).fit(seen, truth[:, target])
        deviations = np.stack([scores[:, target] - means[target] for scores in outputs.values()], axis=1)
        mixed[:, target] = means[target] + weights.predict(deviations)
    return mixed
