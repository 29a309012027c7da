"""Numbers that small networks of every kind computed when they were recorded. No change of them goes unnoticed.

Run this file to record them again, and explain in the commit why they changed.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crnet.models.config import ModelConfig
from crnet.models.crnet import StreamNet
from crnet.models.losses import lambda_at, loss_terms
from crnet.types import Batch, Stream

RECORDED = Path(__file__).with_name("model_numerics.json")
TINY = ModelConfig(width=8, blocks=(2, 1, 1, 1), frames=4)
CASES: dict[str, tuple[Stream, ModelConfig]] = {
    "scene, 2-D": ("scene", TINY),
    "face, 2-D, weight per frame, seven classes": ("face", replace(TINY, temporal="conv1x1", classes=7)),
    "scene, 3-D": ("scene", replace(TINY, backbone="r3d34")),
    "audio-text": ("audio-text", TINY),
}


def pattern(*shape: int, start: int = 0) -> np.ndarray:
    """Return numbers in [0, 1) that depend only on their position, not on any library's generator."""
    positions = np.arange(start, start + np.prod(shape), dtype=np.uint64)
    return ((positions * 2_654_435_761 + 12_345) % 2**32 / 2**32).reshape(shape)


def a_batch() -> Batch:
    frames = torch.from_numpy((pattern(3, 4, 3, 33, 40) * 256).astype(np.uint8))
    return Batch(
        ("a", "b", "c"),
        scene=frames,
        face=frames.flip(0),
        audio=torch.from_numpy((pattern(3, 5_000) - 0.5).astype(np.float32)),
        text=torch.from_numpy((pattern(3, 4_800) * 0.03 - 0.015).astype(np.float32)),
        scores=torch.from_numpy(pattern(3, 6).astype(np.float32)),
        classes=torch.from_numpy((pattern(3, 6) * 4).astype(np.int64)),
    )


def compute(stream: Stream, config: ModelConfig) -> dict[str, object]:
    """Return scores, mean squares of features and logits, every loss term, and the norm of the gradient."""
    net = StreamNet(stream, config)
    with torch.no_grad():
        for index, (name, parameter) in enumerate(sorted(net.named_parameters())):
            # About He's scale for convolutions and about 1 for batch norm, from the pattern, not from a generator.
            spread = 0.3 if parameter.ndim == 1 else (3 / parameter[0].numel()) ** 0.5
            values = torch.from_numpy(pattern(*parameter.shape, start=1_000 * index)).float() * 2 - 1
            parameter.copy_(values * spread + (1.0 if "bn" in name and name.endswith("weight") else 0.0))
        net.head.score_weight *= 0.1
    net.initialise_from_scores(np.full((1, 6), 0.5))
    batch = a_batch()
    assert batch.scores is not None and batch.classes is not None
    output = net.train()(batch)
    terms = loss_terms(output.scores, output.logits, batch.scores, batch.classes, lambda_at(1, 10))
    terms.total().backward()
    gradients = [p.grad.double().square().sum() for p in net.parameters() if p.grad is not None]
    return {
        "scores": output.scores.tolist(),
        "features_mean_square": output.features.square().mean().item(),
        "logits_mean_square": output.logits.square().mean().item(),
        **{name: value.item() for name, value in terms.by_name.items()},
        "total": terms.total().item(),
        "gradient_norm": torch.stack(gradients).sum().sqrt().item(),
        "parameters": sum(p.numel() for p in net.parameters()),
    }


@pytest.mark.parametrize("case", CASES)
def test_numbers_match_the_recorded_ones(case: str) -> None:
    recorded = json.loads(RECORDED.read_text())[case]
    computed = compute(*CASES[case])
    assert computed.keys() == recorded.keys()
    for name, value in computed.items():
        np.testing.assert_allclose(value, recorded[name], rtol=5e-4, atol=1e-5, err_msg=name)  # type: ignore[arg-type]


if __name__ == "__main__":
    RECORDED.write_text(json.dumps({case: compute(*CASES[case]) for case in CASES}, indent=1) + "\n")
