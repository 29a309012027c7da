"""Effects with intervals, clustered by person and corrected for the number of claims, and their verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64
from scipy.stats import t as student_t

from benchmarks.evidence.registration import LESS_IS_BETTER, Outcome
from crnet.experiments.paper.extremes import tail_masks
from crnet.metrics import spread

Scores = Float64[np.ndarray, "N T"]
"""Scores of the T targets over which an outcome is averaged."""
Verdict = Literal["present", "absent", "unresolved"]

LARGE_ERROR = 0.2
RESAMPLES = 100


@dataclass(frozen=True)
class SeedEffect:
    """The effect that one seed shows.

    Attributes:
        difference: Outcome of the better system minus that of the worse; positive in the claimed direction.
        people_error: Its standard error over the test clips, by resampling whole persons.
        people: Number of persons.
    """

    difference: float
    people_error: float
    people: int


@dataclass(frozen=True)
class Effect:
    """An effect over all seeds.

    Attributes:
        mean: Mean of the seeds' differences.
        low, high: Its interval.
        seeds: Number of seeds.
    """

    mean: float
    low: float
    high: float
    seeds: int

    def verdict(self, smallest: float) -> Verdict:
        """Return whether the effect is present, given the smallest effect of interest.

        absent: The whole interval is below that effect, also if it is above 0. present: The whole interval is above 0,
        and it reaches that effect. unresolved: Everything else.
        """
        if self.high < smallest:
            return "absent"
        return "present" if self.low > 0 else "unresolved"


def outcome_value(outcome: Outcome, scores: Scores, truth: Scores) -> float:
    """Return the outcome of a system on N clips, the mean over the targets."""
    errors = np.abs(scores - truth)
    if outcome == "1 - MAE":
        return float(1 - errors.mean())
    if outcome == "large errors":
        return float((errors > LARGE_ERROR).mean())
    if outcome == "spread":
        return float(np.mean([spread(truth[:, i], scores[:, i]) or 0.0 for i in range(truth.shape[1])]))
    low, high = tail_masks(truth)
    outer = low | high
    return float((np.where(outer, errors, 0.0).sum(axis=0) / outer.sum(axis=0)).mean())


def seed_effect(
    outcome: Outcome,
    better: Scores,
    worse: Scores,
    truth: Scores,
    people: Int64[np.ndarray, " N"],
    resamples: int = RESAMPLES,
) -> SeedEffect:
    """Compare two systems on the same clips.

    Args:
        outcome: What to compare.
        better, worse: Scores of the two systems.
        truth: The true scores.
        people: The person of each clip.
        resamples: Bootstrap resamples of the persons.
    """
    sign = -1 if outcome in LESS_IS_BETTER else 1

    def difference(clips: Int64[np.ndarray, " n"] | slice) -> float:
        first, second = (outcome_value(outcome, scores[clips], truth[clips]) for scores in (better, worse))
        return sign * (first - second)

    persons, index = np.unique(people, return_inverse=True)
    error = _bootstrap_error(difference, index, len(persons), resamples)
    return SeedEffect(difference(slice(None)), error, len(persons))


def _bootstrap_error(
    statistic: Callable[[Int64[np.ndarray, " n"]], float], index: Int64[np.ndarray, " N"], groups: int, resamples: int
) -> float:
    """Return the standard deviation of a statistic over resamples of whole groups."""
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(groups + 1))
    rng = np.random.default_rng(0)
    values = []
    for _ in range(resamples):
        drawn = rng.integers(groups, size=groups)
        values.append(statistic(np.concatenate([order[starts[g] : starts[g + 1]] for g in drawn])))
    return float(np.std(values, ddof=1))


def combine(seeds: Sequence[SeedEffect], error_share: float, *, same_clips: bool = False) -> Effect:
    """Return the mean effect of the seeds and its interval.

    The variance of the mean has a part from the seeds, s^2 / S, and a part from the persons. If every seed has its own
    people, the part from the seeds contains the other one, and the larger of the two counts. If all seeds share the
    test clips, both parts add up. The interval uses Student's t, with the degrees of freedom of Satterthwaite for a
    sum.

    Args:
        seeds: The effect of each seed, of at least two.
        error_share: Chance that the interval misses the effect.
        same_clips: Whether all seeds share the test clips.
    """
    differences = np.array([seed.difference for seed in seeds])
    count = len(differences)
    between = float(differences.var(ddof=1)) / count
    errors = np.array([seed.people_error for seed in seeds])
    if same_clips:
        within = float(np.mean(errors)) ** 2
        variance = between + within
        parts = between**2 / (count - 1) + within**2 / (min(seed.people for seed in seeds) - 1)
        freedom = variance**2 / parts if parts > 0 else count - 1
    else:
        variance, freedom = max(between, float((errors**2).sum()) / count**2), count - 1
    half = float(student_t.ppf(1 - error_share / 2, freedom)) * math.sqrt(variance)
    mean = float(differences.mean())
    return Effect(mean, mean - half, mean + half, count)
