"""The classwise rule: mirrored sub-intervals, the same distribution, and a gain for class-guided regression alone."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.known_optima import rule_r2
from crnet.models.classes import EDGES
from crnet.simulate.cues import cue_weights, noise_shares, sample_latents
from crnet.simulate.score_rules import SUB_INTERVALS, mirror_within_sub_intervals, shown_correlations, shown_scores
from crnet.simulate.scores import sample_scores, score_correlations, score_deviations, score_means, standardise
from crnet.types import TARGETS


@pytest.fixture(scope="module")
def scores() -> np.ndarray:
    return sample_scores(10_000, np.random.default_rng(1))


def test_sub_intervals_are_the_classes_of_a_cr_block() -> None:
    assert SUB_INTERVALS[1:-1] == EDGES[4]


def test_the_linear_rule_shows_the_scores_themselves(scores: np.ndarray) -> None:
    assert shown_scores(scores, "linear") is scores
    np.testing.assert_array_equal(shown_correlations("linear"), score_correlations())
    np.testing.assert_array_equal(
        sample_latents(scores, "easy", np.random.default_rng(2)),
        sample_latents(scores, "easy", np.random.default_rng(2), rule="linear"),
    )


def test_ends_and_medians_of_mirrored_sub_intervals_by_hand() -> None:
    column = TARGETS.index("openness")  # mean .566, deviation .147
    normal = NormalDist(0.566, 0.147)
    median = normal.inv_cdf((normal.cdf(0.0) + normal.cdf(0.5)) / 2)
    pairs = {0.0: 0.5, median: median, 0.6: 0.7, 0.7 - 1e-9: 0.6, 0.55: 0.55, 0.5: 0.5, 0.7: 0.7, 0.9: 0.9, 1.0: 1.0}
    scores = np.full((len(pairs), len(TARGETS)), 0.55)
    scores[:, column] = list(pairs)
    shown = mirror_within_sub_intervals(scores)
    np.testing.assert_allclose(shown[:, column], list(pairs.values()), atol=1e-6)
    np.testing.assert_array_equal(np.delete(shown, column, axis=1), 0.55)


@given(st.lists(st.floats(0.0, 1.0), min_size=6, max_size=6))
def test_mirroring_keeps_the_sub_interval_and_twice_restores_the_score(values: list[float]) -> None:
    scores = np.array([values])
    shown = mirror_within_sub_intervals(scores)
    assert np.all(np.isfinite(shown))
    index = np.clip(np.searchsorted(SUB_INTERVALS, scores, side="right") - 1, 0, 3)
    edges = np.array(SUB_INTERVALS)
    assert np.all((shown >= edges[index] - 1e-9) & (shown <= edges[index + 1] + 1e-9))
    inside = np.abs(scores[..., None] - edges).min(-1) > 1e-3
    np.testing.assert_allclose(mirror_within_sub_intervals(shown)[inside], scores[inside], atol=1e-6)


def test_a_higher_score_looks_lower_in_the_first_and_third_sub_interval_only() -> None:
    for low, high, direction in ((0.1, 0.49, -1), (0.5, 0.59, 1), (0.6, 0.69, -1), (0.7, 0.95, 1)):
        rising = np.linspace(low, high, 20)[:, None].repeat(6, axis=1)
        assert np.all(direction * np.diff(mirror_within_sub_intervals(rising), axis=0) > 0)


def test_shown_scores_have_the_distribution_of_scores() -> None:
    normal = np.random.default_rng(4).standard_normal((10_000, 6))
    scores = np.clip(score_means() + score_deviations() * normal, 0.0, 1.0)  # not on the steps of the release
    shown = mirror_within_sub_intervals(scores)
    np.testing.assert_allclose(shown.mean(0), score_means(), atol=0.01)
    np.testing.assert_allclose(shown.std(0), score_deviations(), atol=0.01)
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        np.testing.assert_allclose(np.quantile(shown, share, axis=0), np.quantile(scores, share, axis=0), atol=0.02)


def test_correlations_of_shown_scores(scores: np.ndarray) -> None:
    measured = np.corrcoef(mirror_within_sub_intervals(scores).T)
    np.testing.assert_allclose(shown_correlations("classwise"), measured, atol=0.03)


def test_latents_of_the_classwise_rule_have_unit_variance_and_the_known_share_of_noise(scores: np.ndarray) -> None:
    latents = sample_latents(scores, "fivalike", np.random.default_rng(2), rule="classwise")
    np.testing.assert_allclose(latents.mean(0), 0.0, atol=0.06)
    np.testing.assert_allclose(latents.std(0), 1.0, atol=0.05)
    share = noise_shares("fivalike")
    signal = standardise(mirror_within_sub_intervals(scores)) @ cue_weights("classwise").T
    np.testing.assert_allclose((latents - np.sqrt(1 - share) * signal).var(0), share, rtol=0.08)


def test_class_guided_regression_gains_from_the_classwise_rule_and_not_from_the_linear_one() -> None:
    ridge, guided = rule_r2("classwise", "easy")
    assert ridge < 0.67
    assert guided > ridge + 0.18
    ridge, guided = rule_r2("linear", "easy")
    assert guided == pytest.approx(ridge, abs=0.005)
