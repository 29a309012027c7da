"""Scores of synthetic people, sampled with the moments, correlations and steps of First Impressions v2."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from jaxtyping import Float64

from crnet.types import TARGETS

# Measured on the 6,000 training clips of First Impressions v2; see docs/simulation.md.
FIV2_MEAN = {
    "extraversion": 0.476,
    "neuroticism": 0.520,
    "agreeableness": 0.548,
    "conscientiousness": 0.523,
    "openness": 0.566,
    "interview": 0.504,
}
FIV2_DEVIATION = {
    "extraversion": 0.152,
    "neuroticism": 0.154,
    "agreeableness": 0.136,
    "conscientiousness": 0.155,
    "openness": 0.147,
    "interview": 0.150,
}
FIV2_CORRELATION = {
    "EN": 0.80, "EA": 0.71, "EC": 0.59, "EO": 0.77, "EI": 0.82,
    "NA": 0.73, "NC": 0.72, "NO": 0.77, "NI": 0.88,
    "AC": 0.66, "AO": 0.65, "AI": 0.83,
    "CO": 0.58, "CI": 0.83,
    "OI": 0.77,
}  # fmt: skip
FIV2_STEPS = {
    "extraversion": 107,
    "neuroticism": 96,
    "agreeableness": 91,
    "conscientiousness": 103,
    "openness": 90,
    "interview": 107,
}
"""The release's scores are whole multiples of 1 / steps, because its raters' ranking was scaled to [0, 1]."""

LETTERS = {target[0].upper(): target for target in TARGETS}
SMALLEST_EIGENVALUE = 1e-4


def score_means() -> Float64[np.ndarray, " 6"]:
    """Return the mean of each target, in the order of `TARGETS`."""
    return np.array([FIV2_MEAN[target] for target in TARGETS])


def score_deviations() -> Float64[np.ndarray, " 6"]:
    """Return the standard deviation of each target, in the order of `TARGETS`."""
    return np.array([FIV2_DEVIATION[target] for target in TARGETS])


def score_correlations() -> Float64[np.ndarray, "6 6"]:
    """Return the correlations of the targets, in the order of `TARGETS`, positive definite in spite of rounding."""
    matrix = np.eye(len(TARGETS))
    letters = {target: letter for letter, target in LETTERS.items()}
    for (i, first), (j, second) in combinations(enumerate(TARGETS), 2):
        pair = letters[first] + letters[second]
        matrix[i, j] = matrix[j, i] = FIV2_CORRELATION.get(pair, FIV2_CORRELATION.get(pair[::-1], np.nan))
    values, vectors = np.linalg.eigh(matrix)
    positive = (vectors * np.maximum(values, SMALLEST_EIGENVALUE)) @ vectors.T
    scale = np.sqrt(np.diag(positive))
    return positive / np.outer(scale, scale)


def sample_scores(count: int, rng: np.random.Generator) -> Float64[np.ndarray, "count 6"]:
    """Sample scores in [0, 1] from a Gaussian copula, on the release's steps.

    Args:
        count: Number of clips.
        rng: Source of randomness.
    """
    normal = rng.standard_normal((count, len(TARGETS))) @ np.linalg.cholesky(score_correlations()).T
    return round_to_steps(score_means() + score_deviations() * normal)


def round_to_steps(scores: Float64[np.ndarray, "count 6"]) -> Float64[np.ndarray, "count 6"]:
    """Return the scores clipped to [0, 1] and rounded to the release's steps."""
    steps = np.array([FIV2_STEPS[target] for target in TARGETS], dtype=np.float64)
    return np.rint(np.clip(scores, 0.0, 1.0) * steps) / steps


def standardise(scores: Float64[np.ndarray, "count 6"]) -> Float64[np.ndarray, "count 6"]:
    """Return the deviation of scores from the dataset's means, in standard deviations; cues follow these."""
    return (scores - score_means()) / score_deviations()
