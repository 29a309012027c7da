"""What a lab keeps of a network's outputs is what the network said."""

from __future__ import annotations

import numpy as np
import pytest

from crnet.experiments.workspace import Lab
from crnet.models.crnet import StreamNet


def test_outputs_read_again_are_the_same(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    # The scores of a CR-block lie transposed in memory, and safetensors writes memory as it lies.
    monkeypatch.setattr(Lab, "net", lambda _, spec, seed: StreamNet(spec.stream, spec.config.model, seed).eval())
    spec = lab.standard("scene")
    first, again = lab.outputs(spec, 0, "val"), lab.outputs(spec, 0, "val")
    np.testing.assert_array_equal(first.scores, again.scores)
    np.testing.assert_array_equal(first.features, again.features)
