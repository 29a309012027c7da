"""The cache of a network's outputs."""

from __future__ import annotations

import numpy as np
import pytest

from crnet.experiments.workspace import Workspace
from random_net import random_net


def test_cached_outputs_equal_the_computed_ones(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    # A CR-block's scores are a transposed view, and safetensors writes arrays in memory order.
    monkeypatch.setattr(Workspace, "net", lambda _, spec, seed: random_net(spec.stream, spec.config.model, seed).eval())
    spec = workspace.standard_net("scene")
    first, cached = workspace.outputs(spec, 0, "val"), workspace.outputs(spec, 0, "val")
    np.testing.assert_array_equal(first.scores, cached.scores)
    np.testing.assert_array_equal(first.features, cached.features)
