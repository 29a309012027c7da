"""Test scores from trained networks: a network's own output, a weighted mean of several outputs, or extra-trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from sklearn.linear_model import LinearRegression

from crnet.data.dataset import stack_scores
from crnet.data.splits import split_validation
from crnet.errors import ConfigError
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.workspace import Workspace
from crnet.fusion.fusion import FusionConfig
from crnet.types import Split, Stream

if TYPE_CHECKING:
    from jaxtyping import Float64

ScoreMethod = Literal["network", "trees", "held-out fusion", "weighted outputs", "learned weights"]
"""Source of the scores.

- network: the output of a single stream's network
- trees: extra-trees on the features, joined as the fusion configuration says, fitted on the training clips as in the
  paper
- held-out fusion: trees fitted on validation clips, and a weighted sum of their and the networks' scores, as
  `crnet train` does it (`fusion.fit_on`)
- weighted outputs: the mean of the networks' outputs with the weights of the fusion (7:5:3)
- learned weights: the same with weights fitted for each target on validation clips
"""

ALTERNATIVE: dict[ScoreMethod, ScoreMethod] = {"network": "trees", "trees": "weighted outputs"}
"""The second method that a table reports for the same networks."""

SINGLE_STREAM_TREES = 100
"""Trees on the features of one stream. More hardly change the scores, and the tables have dozens of such rows."""


def predict(
    workspace: Workspace, specs: Sequence[NetSpec], seed: int, fusion: FusionConfig, method: ScoreMethod
) -> Float64[np.ndarray, "N 6"]:
    """Return the scores of the test clips, in [0, 1].

    Raises:
        ConfigError: A network is not trained, or `method` is "network" and there are several.
        UntrainedError: Training of a network failed.
    """
    if method == "trees":
        if len(specs) == 1:
            fusion = replace(fusion, mode="sum", trees=min(SINGLE_STREAM_TREES, fusion.trees))
        return workspace.fused_scores(specs, seed, replace(fusion, fit_on="training"), "test")
    if method == "held-out fusion":
        return workspace.fused_scores(specs, seed, replace(fusion, fit_on="held-out"), "test")
    outputs = {spec.stream: network_scores(workspace, spec, seed, "test") for spec in specs}
    if method == "network":
        if len(specs) != 1:
            raise ConfigError(f"{len(specs)} networks have no single output", remedy="use trees or weighted outputs")
        return outputs[specs[0].stream]
    if method == "weighted outputs":
        total = sum(fusion.weights[stream] for stream in outputs)
        return sum(fusion.weights[stream] / total * scores for stream, scores in outputs.items())  # type: ignore[return-value]
    return np.clip(_learned_weights_mean(workspace, specs, seed, outputs), 0, 1)


def network_scores(workspace: Workspace, spec: NetSpec, seed: int, split: Split) -> Float64[np.ndarray, "N 6"]:
    """Return a network's own scores of a split, clipped to [0, 1]."""
    return np.clip(workspace.outputs(spec, seed, split).scores.astype(np.float64), 0, 1)


def all_seed_scores(workspace: Workspace, spec: NetSpec, split: Split) -> Float64[np.ndarray, "S N 6"]:
    """Return a network's own scores of a split for each of the workspace's seeds, in [0, 1]."""
    return np.stack([network_scores(workspace, spec, seed, split) for seed in workspace.seeds])


def _learned_weights_mean(
    workspace: Workspace, specs: Sequence[NetSpec], seed: int, outputs: Mapping[Stream, np.ndarray]
) -> Float64[np.ndarray, "N 6"]:
    """Return the outputs' mean with weights from non-negative least squares, fitted for each target.

    The regression is on deviations from the training mean. It uses the validation clips that did not select a network,
    or all of them if too few of those remain.
    """
    means = workspace.truth("train").mean(axis=0)
    rows = workspace.rows("val")
    held_out_ids = {row.clip_id for row in split_validation(rows)[1] or rows}
    held_out = [i for i, row in enumerate(rows) if row.clip_id in held_out_ids]
    truth = stack_scores([rows[i] for i in held_out]) - means
    val = {spec.stream: network_scores(workspace, spec, seed, "val")[held_out] - means for spec in specs}
    scores = np.empty_like(next(iter(outputs.values())))
    for target in range(scores.shape[1]):
        inputs = np.stack([val[stream][:, target] for stream in outputs], axis=1)
        regression = LinearRegression(fit_intercept=False, positive=True).fit(inputs, truth[:, target])
        deviations = np.stack([output[:, target] - means[target] for output in outputs.values()], axis=1)
        scores[:, target] = means[target] + regression.predict(deviations)
    return scores
