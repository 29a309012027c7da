"""Contributions of the streams: they add up, and each belongs to its stream."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crnet.bundle.bundle import Bundle
from crnet.explain.contributions import contributions, score_subsets, shapley_value
from crnet.fusion.fusion import Fusion, system_scores
from crnet.types import STREAMS, TARGETS


def features_of(bundle: Bundle, seed: int, spread: float = 1.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        s: (bundle.fusion.mean[s] + spread * rng.normal(size=bundle.fusion.mean[s].shape))[None].astype(np.float32)
        for s in bundle.fusion.streams
    }


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 50))
def test_contributions_add_up_to_the_score(bundle: Bundle, seed: int, spread: float) -> None:
    features = features_of(bundle, seed, spread)
    fused, _ = system_scores(bundle.fusion, features, {})
    parts = contributions(bundle, features)
    for i, target in enumerate(TARGETS):
        assert parts.total(target) == pytest.approx(fused[0, i], abs=1e-9)
        assert tuple(parts.streams[target]) == STREAMS


@pytest.mark.parametrize("mode", ["sum", "concat"])
@pytest.mark.parametrize("streams", [STREAMS, ("scene", "face"), ("audio-text",)])
def test_every_fusion_adds_up(bundle: Bundle, mode: str, streams: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    features = {s: rng.normal(size=(30, 6, 8)) for s in streams}
    fusion = Fusion.fit(replace(bundle.config.fusion, mode=mode), features, rng.uniform(size=(30, 6)))
    system = replace(bundle, fusion=fusion)
    clip = {s: values[:1] for s, values in features.items()}
    parts = contributions(system, clip)
    for i, target in enumerate(TARGETS):
        assert parts.total(target) == pytest.approx(fusion.predict(clip)[0, i], abs=1e-9)


def test_a_stream_at_its_training_mean_contributes_nothing(bundle: Bundle) -> None:
    features = features_of(bundle, 1)
    features["face"] = bundle.fusion.mean["face"][None]
    parts = contributions(bundle, features)
    assert all(parts.streams[target]["face"] == 0 for target in TARGETS)
    assert any(parts.streams[target]["scene"] != 0 for target in TARGETS)


def test_the_base_is_the_average_person(bundle: Bundle) -> None:
    means = {s: bundle.fusion.mean[s][None] for s in bundle.fusion.streams}
    fused, _ = system_scores(bundle.fusion, means, {})
    assert list(contributions(bundle, features_of(bundle, 2)).base.values()) == fused[0].tolist()
    assert len(score_subsets(bundle, means)) == 8


def test_shapley_values_by_hand() -> None:
    """Scene alone gives 3, face alone 1, both 10: they share the 6 that both add."""
    scores = {
        frozenset(streams): np.array([value])
        for streams, value in (((), 0.0), (("scene",), 3.0), (("face",), 1.0), (("scene", "face"), 10.0))
    }
    assert shapley_value(scores, "scene", ("scene", "face")).tolist() == [6]
    assert shapley_value(scores, "face", ("scene", "face")).tolist() == [4]
