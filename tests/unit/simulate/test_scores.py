"""Scores of synthetic people: moments, correlations and steps equal those of First Impressions v2."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crnet.simulate.scores import (
    FIV2_STEPS,
    sample_scores,
    score_correlations,
    score_deviations,
    score_means,
    standardise,
)
from crnet.types import TARGETS


@pytest.fixture(scope="module")
def scores() -> np.ndarray:
    return sample_scores(10_000, np.random.default_rng(0))


def test_moments_and_correlations(scores: np.ndarray) -> None:
    np.testing.assert_allclose(scores.mean(0), [0.476, 0.520, 0.548, 0.523, 0.566, 0.504], atol=0.01)
    np.testing.assert_allclose(scores.std(0), [0.152, 0.154, 0.136, 0.155, 0.147, 0.150], atol=0.01)
    correlations = np.corrcoef(scores.T)
    neuroticism, interview = TARGETS.index("neuroticism"), TARGETS.index("interview")
    assert correlations[neuroticism, interview] == pytest.approx(0.88, abs=0.03)
    np.testing.assert_allclose(correlations, score_correlations(), atol=0.03)


def test_correlations_equal_the_release_and_are_positive_definite() -> None:
    matrix = score_correlations()
    openness, conscientiousness = TARGETS.index("openness"), TARGETS.index("conscientiousness")
    assert matrix[openness, conscientiousness] == pytest.approx(0.58, abs=0.005)
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-12)
    np.testing.assert_allclose(np.diag(matrix), 1.0)
    assert np.linalg.eigvalsh(matrix).min() > 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 200))
def test_scores_are_multiples_of_the_release_steps(seed: int, count: int) -> None:
    drawn = sample_scores(count, np.random.default_rng(seed))
    assert drawn.shape == (count, 6)
    assert drawn.min() >= 0.0
    assert drawn.max() <= 1.0
    for column, target in enumerate(TARGETS):
        np.testing.assert_allclose(drawn[:, column] * FIV2_STEPS[target] % 1.0 % (1 - 1e-9), 0.0, atol=1e-9)


def test_steps_equal_the_release() -> None:
    assert [FIV2_STEPS[target] for target in TARGETS] == [107, 96, 91, 103, 90, 107]


def test_standardise() -> None:
    np.testing.assert_allclose(
        standardise(np.stack([score_means(), score_means() + 2 * score_deviations()])), [[0] * 6, [2] * 6], atol=1e-12
    )
