"""Paired comparisons: p-values worked by hand, uniform where nothing differs, and clustered by video."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from crnet.errors import UsageError
from crnet.evaluation.paired_bootstrap import enough_resamples, holm, p_value_better, paired_difference, two_sided_p
from crnet.metrics import bootstrap
from crnet.types import TARGETS

MANY = 10**9  # units, so that Student's distribution is the normal one


def _system(clips: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 1, (clips, len(TARGETS)))
    return truth, 0.5 * truth + 0.25 + rng.normal(0, 0.1, truth.shape), np.median(truth, axis=0)


def test_p_value_of_equal_better_and_worse_systems() -> None:
    truth, prediction, medians = _system(200)
    floor = np.tile(medians, (200, 1))
    assert p_value_better(truth, prediction, prediction, resamples=500) == 1
    assert p_value_better(truth, prediction, floor, resamples=500) == pytest.approx(1 / 501)
    assert p_value_better(truth, floor, prediction, resamples=500) == 1
    noise = np.random.default_rng(3)
    first, second = (prediction + noise.normal(0, 0.1, prediction.shape) for _ in range(2))
    p = p_value_better(truth, first, second, resamples=2_000)
    reverse = p_value_better(truth, second, first, resamples=2_000)
    assert p is not None
    assert reverse is not None
    assert p + reverse == pytest.approx(1, abs=0.01)


def test_p_values_of_equal_systems_are_uniform() -> None:
    rng = np.random.default_rng(11)
    values = []
    for _ in range(120):
        truth = rng.uniform(0, 1, 60)
        values.append(
            p_value_better(truth, truth + rng.normal(0, 0.1, 60), truth + rng.normal(0, 0.1, 60), resamples=300)
        )
    assert stats.kstest(values, "uniform").pvalue > 0.01


def test_p_value_without_enough_clips_or_finite_predictions() -> None:
    truth = np.linspace(0, 1, 9)
    assert p_value_better(truth, truth, truth * 0.5) is None
    truth = np.linspace(0, 1, 20)
    broken = truth.copy()
    broken[4] = np.nan
    assert p_value_better(truth, broken, truth * 0.5) is None
    annotated = truth.copy()
    annotated[4] = np.nan
    assert p_value_better(annotated, broken, truth * 0.5, resamples=200) == pytest.approx(1 / 201)


def test_vectors_that_do_not_match_are_refused() -> None:
    with pytest.raises(UsageError):
        p_value_better([0.1], [0.1, 0.2], [0.1])


def test_the_two_sided_p_is_twice_the_smaller_tail() -> None:
    # Of 9 resamples, 2 are at or below 0 and 8 at or above it: 2 (1 + 2) / (1 + 9).
    assert two_sided_p(np.array([-1, 0, 1, 2, 3, 4, 5, 6, 7.0]), MANY) == pytest.approx(0.6)
    assert two_sided_p(np.array([1.0] * 99), MANY) == pytest.approx(0.02)
    assert two_sided_p(np.array([-1.0] * 99 + [np.nan]), MANY) == pytest.approx(0.02)
    assert two_sided_p(np.zeros(50), MANY) == 1
    assert two_sided_p(np.array([np.nan]), MANY) is None
    assert two_sided_p(np.zeros(50), 9) is None


def test_the_p_value_of_few_units_is_that_of_student() -> None:
    # A tail of 1 in 40 is 1.96 normal deviations, times sqrt(9 / 10) it is 1.8594: p = .0959 with 9 degrees of freedom.
    assert two_sided_p(np.array([1.0] * 39), 10) == pytest.approx(0.0959, abs=2e-4)


def test_p_values_of_equally_good_systems_are_uniform_with_ten_videos_too() -> None:
    rng = np.random.default_rng(2)
    values = []
    for _ in range(400):
        difference = rng.normal(0, 0.1, 10)
        resampled = difference[rng.integers(10, size=(199, 10))].mean(axis=1)
        values.append(two_sided_p(resampled, 10))
    assert np.mean(np.array(values) < 0.05) < 0.075  # without Student's distribution, .10
    assert stats.kstest(values, "uniform").pvalue > 0.01


def test_holm_multiplies_the_smallest_by_the_number_of_p_values() -> None:
    # .01 * 3, .02 * 2 and .9 * 1; then .03 * 2 = .06 pulls the .04 * 1 behind it up.
    assert holm([0.9, None, 0.01, 0.02]) == pytest.approx([0.9, None, 0.03, 0.04])
    assert holm([0.04, 0.03]) == pytest.approx([0.06, 0.06])
    assert holm([0.7, 0.8]) == pytest.approx([1.0, 1.0])


def test_many_systems_take_more_resamples_or_no_difference_could_be_found() -> None:
    for systems, pairs in ((2, 1), (4, 6), (8, 28), (12, 66)):
        resamples = enough_resamples(systems)
        assert holm([two_sided_p(np.ones(resamples), MANY), *[1.0] * (pairs - 1)])[0] < 0.0126
        assert resamples == (1000 if pairs <= 6 else 160 * pairs)
    assert enough_resamples(3, 120) == 120
    with pytest.raises(UsageError, match="119 resamples cannot tell 3 systems apart"):
        enough_resamples(3, 119)


def null_p_values(*, clustered: bool) -> list[float]:
    """p-values of 150 pairs of equally good systems, on 60 videos of two clips with the same errors."""
    rng = np.random.default_rng(5)
    values = []
    for _ in range(150):
        truth = np.repeat(rng.uniform(0.3, 0.7, (60, 1)), 2, axis=0)
        systems = [truth + np.repeat(rng.normal(0, 0.1, (60, 1)), 2, axis=0) for _ in range(2)]
        clusters = np.arange(120) // 2 if clustered else None
        first, second = (
            bootstrap(truth, scores, [0.5], ["openness"], clusters=clusters, resamples=199) for scores in systems
        )
        values.append(paired_difference(first, second, "openness", "accuracy")["p"])
    return values


def test_p_values_of_equally_good_systems_are_uniform_if_videos_are_drawn() -> None:
    clustered = null_p_values(clustered=True)
    assert stats.kstest(clustered, "uniform").pvalue > 0.05
    assert np.mean(np.array(clustered) < 0.05) < 0.10
    # Single clips pretend twice as many videos: the p-values are too small.
    assert stats.kstest(null_p_values(clustered=False), "uniform").pvalue < 0.01


def test_interval_and_p_of_a_difference_agree() -> None:
    truth, prediction, medians = _system(100)
    worse = prediction + np.random.default_rng(1).normal(0, 0.1, prediction.shape)
    first, second = (bootstrap(truth, scores, medians, resamples=400) for scores in (prediction, worse))
    found = paired_difference(first, second, "average", "accuracy")
    assert found["value"] == first.to_dict()["average"]["accuracy"] - second.to_dict()["average"]["accuracy"]
    assert 0 < found["ci95"][0] < found["value"] < found["ci95"][1]
    assert found["p"] == pytest.approx(2 * stats.t.cdf(stats.norm.ppf(1 / 401) * 0.99**0.5, 99))
    reverse = paired_difference(second, first, "average", "accuracy")
    assert reverse["ci95"] == pytest.approx([-found["ci95"][1], -found["ci95"][0]])
    assert paired_difference(first, first, "openness", "pearson") == {"value": 0.0, "ci95": [0.0, 0.0], "p": 1.0}


def test_a_difference_without_enough_clips_has_no_interval() -> None:
    truth, prediction, medians = _system(9)
    system = bootstrap(truth, prediction, medians, resamples=50)
    assert paired_difference(system, system, "openness", "ccc") == {"value": 0.0, "ci95": None, "p": None}
    broken = bootstrap(truth, np.full_like(truth, np.nan), medians, resamples=50)
    assert paired_difference(system, broken, "openness", "ccc") == {"value": None, "ci95": None, "p": None}
