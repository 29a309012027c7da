"""How cues follow scores: by one rule for all scores, or by rules that differ by the sub-interval of the score.

With the classwise rule, cues show each score mirrored within its sub-interval in some sub-intervals: there a higher
score looks lower. A linear predictor cannot follow both directions; one that knows the sub-interval can. Mirroring
keeps the distribution of what is shown, so the cues alone do not reveal the rule.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations
from statistics import NormalDist
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float64

from crnet.simulate.scores import round_to_steps, score_correlations, score_deviations, score_means, standardise
from crnet.types import TARGETS

ScoreRule = Literal["linear", "classwise"]
SCORE_RULES: tuple[ScoreRule, ...] = get_args(ScoreRule)

SUB_INTERVALS = (0.0, 0.5, 0.6, 0.7, 1.0)
"""Edges of the sub-intervals, the classes of a CR-block (Sec. 4.2.2). An edge belongs to the upper sub-interval."""
MIRRORED = (0, 2)
"""Sub-intervals in which a higher score looks lower. The lowest holds almost half of all clips."""

GRID_LIMIT, GRID_POINTS = 6.0, 600  # standard deviations, and points for each score, of the numerical integration


def shown_scores(scores: Float64[np.ndarray, "count 6"], rule: ScoreRule) -> Float64[np.ndarray, "count 6"]:
    """Return the scores that the cues show, in [0, 1]; with the linear rule, they are the scores themselves.

    Args:
        scores: Scores in [0, 1].
        rule: The rule that the cues follow.
    """
    return scores if rule == "linear" else mirror_within_sub_intervals(scores)


def mirror_within_sub_intervals(scores: Float64[np.ndarray, "count 6"]) -> Float64[np.ndarray, "count 6"]:
    """Return the scores with their ranks reversed within each sub-interval of `MIRRORED`.

    The ranks are those of the normal distribution of each target, so mirroring keeps this distribution. It depends on
    the score alone, not on the other clips.

    Args:
        scores: Scores in [0, 1].
    """
    index = np.clip(np.searchsorted(SUB_INTERVALS, scores, side="right") - 1, 0, len(SUB_INTERVALS) - 2)
    mirrored = scores.copy()
    for column, (mean, deviation) in enumerate(zip(score_means(), score_deviations(), strict=True)):
        distribution = NormalDist(mean, deviation)
        edges = np.array([distribution.cdf(edge) for edge in SUB_INTERVALS])
        for i in np.flatnonzero(np.isin(index[:, column], MIRRORED)):
            low, high = edges[index[i, column]], edges[index[i, column] + 1]
            mirrored[i, column] = distribution.inv_cdf(low + high - distribution.cdf(scores[i, column]))
    return mirrored


@cache
def shown_correlations(rule: ScoreRule) -> Float64[np.ndarray, "6 6"]:
    """Return the correlations of the scores that the cues show, in the order of `TARGETS`.

    Mirroring changes them: two scores that are almost equal may be shown far apart if an edge lies between them.

    Args:
        rule: The rule that the cues follow.
    """
    correlations = score_correlations()
    if rule == "linear":
        return correlations
    step = 2 * GRID_LIMIT / GRID_POINTS
    z = np.arange(GRID_POINTS) * step - GRID_LIMIT + step / 2
    scores = round_to_steps(score_means() + score_deviations() * z[:, None])
    shown = standardise(shown_scores(scores, rule))
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    shown -= weight @ shown
    shown /= np.sqrt(weight @ shown**2)
    result = np.eye(len(TARGETS))
    for i, j in combinations(range(len(TARGETS)), 2):
        rho = correlations[i, j]
        density = np.exp(-(z[:, None] ** 2 - 2 * rho * z[:, None] * z + z**2) / (2 * (1 - rho**2)))
        result[i, j] = result[j, i] = shown[:, i] @ density @ shown[:, j] / density.sum()
    return result


def choose_uninformative(count: int, share: float, rng: np.random.Generator) -> Bool[np.ndarray, " count"]:
    """Choose the clips whose cues say nothing about their scores; a larger share chooses these clips and more.

    Args:
        count: Number of clips.
        share: Share of clips to choose, in [0, 1].
        rng: Source of randomness.
    """
    chosen = np.zeros(count, dtype=np.bool_)
    chosen[rng.permutation(count)[: round(share * count)]] = True
    return chosen
