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
from crnet.fusion.held_out import HeldOutClips
from crnet.types import STREAMS, TARGETS


def features_of(bundle: Bundle, seed: int, spread: float = 1.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        s: (bundle.fusion.mean[s] + spread * rng.normal(size=bundle.fusion.mean[s].shape))[None].astype(np.float32)
        for s in bundle.fusion.streams
    }


def scores_of(seed: int, streams: tuple[str, ...] = STREAMS) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {stream: rng.uniform(-0.2, 1.2, (1, 6)).astype(np.float32) for stream in streams}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 50))
def test_contributions_add_up_to_the_score(bundle: Bundle, seed: int, spread: float) -> None:
    features = features_of(bundle, seed, spread)
    fused, _ = system_scores(bundle.fusion, features, {})
    parts = contributions(bundle, features, scores_of(seed))
    for i, target in enumerate(TARGETS):
        assert parts.total(target) == pytest.approx(fused[0, i], abs=1e-9)
        assert tuple(parts.streams[target]) == STREAMS


@pytest.mark.parametrize("fit_on", ["held-out", "training"])
@pytest.mark.parametrize("mode", ["sum", "concat"])
@pytest.mark.parametrize("streams", [STREAMS, ("scene", "face"), ("audio-text",)])
def test_every_fusion_adds_up(bundle: Bundle, fit_on: str, mode: str, streams: tuple[str, ...]) -> None:
    system = system_of(bundle, fit_on, mode, streams)
    clip = {s: np.random.default_rng(3).normal(size=(1, 6, 8)) for s in streams}
    parts = contributions(system, clip, scores_of(4, streams))
    for i, target in enumerate(TARGETS):
        fused = system.fusion.predict(clip, scores_of(4, streams))[0, i]
        assert parts.total(target) == pytest.approx(fused, abs=1e-9)


def system_of(bundle: Bundle, fit_on: str, mode: str, streams: tuple[str, ...], trees_know: float = 1.0) -> Bundle:
    """A system of random features, whose held-out scores have noise and whose trees know the truth, or nothing."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.2, 0.8, (60, 6))
    features = {s: trees_know * truth[..., None] + 0.1 * rng.normal(size=(60, 6, 8)) for s in streams}
    scores = {s: truth + 0.2 * rng.normal(size=(60, 6)) for s in streams}
    held_out = HeldOutClips(features, scores, truth, [str(i) for i in range(60)])
    config = replace(bundle.config.fusion, fit_on=fit_on, mode=mode, trees=2)
    fusion = Fusion.fit(config, features, truth, held_out)
    return replace(bundle, fusion=fusion, train_medians=np.median(truth, axis=0))


def test_without_trees_a_contribution_is_the_weighted_deviation_from_the_median(bundle: Bundle) -> None:
    system = system_of(bundle, "held-out", "sum", STREAMS, trees_know=0.0)
    assert system.fusion.forest is None and system.fusion.stack is not None
    scores = {s: np.full((1, 6), value) for s, value in zip(STREAMS, (0.5, 0.6, 0.4), strict=True)}
    parts = contributions(system, {s: np.zeros((1, 6, 8)) for s in STREAMS}, scores)
    for i, target in enumerate(TARGETS):
        assert parts.base[target] == pytest.approx(system.train_medians[i])  # the floor
        for stream in STREAMS:
            deviation = scores[stream][0, i] - system.train_medians[i]
            assert parts.streams[target][stream] == pytest.approx(system.fusion.stack.weights[stream] * deviation)


def test_a_stream_at_its_training_mean_contributes_nothing(bundle: Bundle) -> None:
    features = features_of(bundle, 1)
    features["face"] = bundle.fusion.mean["face"][None]
    parts = contributions(bundle, features, scores_of(1))
    assert all(parts.streams[target]["face"] == 0 for target in TARGETS)
    assert any(parts.streams[target]["scene"] != 0 for target in TARGETS)


def test_the_base_is_the_average_person(bundle: Bundle) -> None:
    means = {s: bundle.fusion.mean[s][None] for s in bundle.fusion.streams}
    fused, _ = system_scores(bundle.fusion, means, {})
    assert list(contributions(bundle, features_of(bundle, 2), scores_of(2)).base.values()) == fused[0].tolist()
    assert len(score_subsets(bundle, means, scores_of(2))) == 8


def test_shapley_values_by_hand() -> None:
    """Scene alone gives 3, face alone 1, both 10: they share the 6 that both add."""
    scores = {
        frozenset(streams): np.array([value])
        for streams, value in (((), 0.0), (("scene",), 3.0), (("face",), 1.0), (("scene", "face"), 10.0))
    }
    assert shapley_value(scores, "scene", ("scene", "face")).tolist() == [6]
    assert shapley_value(scores, "face", ("scene", "face")).tolist() == [4]
