"""Metrics compared with values computed by hand, with scipy and with scikit-learn, and their properties."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics as sklearn_metrics

from crnet import metrics
from crnet.errors import UsageError
from crnet.types import TARGETS, TRAITS

# By hand. errors .1 .0 .2 .1; truth mean .5, variance .05; prediction mean .45, variance .0225 - .01 = .0125
TRUTH = [0.2, 0.4, 0.6, 0.8]
PREDICTION = [0.3, 0.4, 0.4, 0.7]


def test_hand_values() -> None:
    assert metrics.mae(TRUTH, PREDICTION) == pytest.approx(0.1)
    assert metrics.accuracy(TRUTH, PREDICTION) == pytest.approx(0.9)
    # residual squares .01 + 0 + .04 + .01 = .06; total squares .09 + .01 + .01 + .09 = .2
    assert metrics.r2(TRUTH, PREDICTION) == pytest.approx(1 - 0.06 / 0.2)
    # prediction deviations -.15 -.05 -.05 .25: squares .0225 + .0025 + .0025 + .0625 = .09; products
    # .045 + .005 - .005 + .075 = .12; r = .12 / sqrt(.2 * .09)
    assert metrics.pearson(TRUTH, PREDICTION) == pytest.approx(0.12 / np.sqrt(0.2 * 0.09))
    # Lin: 2 * .03 / (.05 + .0225 + .05^2)
    assert metrics.ccc(TRUTH, PREDICTION) == pytest.approx(0.06 / 0.075)
    assert metrics.spread(TRUTH, PREDICTION) == pytest.approx(np.sqrt(0.09 / 0.2))
    # a median of .5 errs by .3 .1 .1 .3 = .2 on average; half of that is removed
    assert metrics.floor_accuracy(TRUTH, 0.5) == pytest.approx(0.8)
    assert metrics.error_removed(TRUTH, PREDICTION, 0.5) == pytest.approx(0.5)


def test_the_paper_removes_thirty_percent_of_the_floors_error() -> None:
    # .9188 against .8835, made of one clip at distance .1165 from the median and .0812 from the prediction
    removed = metrics.error_removed([0.6165], [0.6165 - 0.0812], 0.5)
    assert removed == pytest.approx(0.303, abs=5e-4)


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        # a constant prediction off the truth's mean
        ([0.1, 0.3], [0.4, 0.4], {"mae": 0.2, "r2": -4.0, "pearson": None, "ccc": 0.0, "spread": 0.0}),
        # a constant whose binary value is not exact
        ([0.1, 0.2, 0.6], [0.3, 0.3, 0.3], {"pearson": None, "ccc": 0.0, "spread": 0.0, "r2": 0.0}),
        # constant truth
        ([0.4, 0.4], [0.1, 0.3], {"mae": 0.2, "r2": None, "pearson": None, "ccc": 0.0, "spread": None}),
        # both the same constant, and two different ones
        ([0.3, 0.3, 0.3], [0.3, 0.3, 0.3], {"mae": 0.0, "r2": None, "pearson": None, "ccc": None, "spread": None}),
        ([0.3, 0.3], [0.5, 0.5], {"mae": 0.2, "ccc": 0.0, "pearson": None}),
        # one clip, no clip
        ([0.3], [0.5], {"mae": 0.2, "accuracy": 0.8, "r2": None, "pearson": None, "spread": None}),
        ([], [], dict.fromkeys(("mae", "accuracy", "r2", "pearson", "ccc", "spread"))),
        # not annotated: ignored
        ([0.1, np.nan, 0.3], [0.1, 0.9, 0.3], {"mae": 0.0, "pearson": 1.0, "r2": 1.0}),
        ([np.nan], [0.2], {"mae": None, "r2": None}),
        # a diverged model
        ([0.1, 0.3], [np.nan, 0.3], dict.fromkeys(("mae", "accuracy", "r2", "pearson", "ccc", "spread"))),
        ([0.1, 0.3], [np.inf, 0.3], dict.fromkeys(("mae", "accuracy", "r2", "pearson", "ccc", "spread"))),
    ],
)
def test_degenerate_input_is_defined(
    truth: list[float], prediction: list[float], expected: dict[str, float | None]
) -> None:
    for name, value in expected.items():
        result = getattr(metrics, name)(truth, prediction)
        assert result is None if value is None else result == pytest.approx(value), name


def test_a_perfect_floor_leaves_nothing_to_remove() -> None:
    assert metrics.error_removed([0.5, 0.5], [0.5, 0.5], 0.5) is None


scores = arrays(np.float64, st.integers(3, 40), elements=st.integers(0, 90).map(lambda i: i / 90))


@settings(max_examples=60, deadline=None)
@given(scores, st.integers(0, 2**32 - 1))
def test_agree_with_scipy_and_sklearn(truth: np.ndarray, seed: int) -> None:
    prediction = np.random.default_rng(seed).uniform(0, 1, len(truth))
    assert metrics.mae(truth, prediction) == pytest.approx(sklearn_metrics.mean_absolute_error(truth, prediction))
    if np.ptp(truth) > 0:
        assert metrics.r2(truth, prediction) == pytest.approx(sklearn_metrics.r2_score(truth, prediction))
        assert metrics.pearson(truth, prediction) == pytest.approx(stats.pearsonr(truth, prediction)[0], abs=1e-9)
        assert metrics.spread(truth, prediction) == pytest.approx(np.std(prediction) / np.std(truth))
        covariance = np.cov(truth, prediction, bias=True)
        lin = 2 * covariance[0, 1] / (covariance.trace() + (truth.mean() - prediction.mean()) ** 2)
        assert metrics.ccc(truth, prediction) == pytest.approx(lin, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(scores, st.integers(0, 2**32 - 1))
def test_concordance_never_exceeds_correlation_and_metrics_stay_in_range(truth: np.ndarray, seed: int) -> None:
    prediction = np.random.default_rng(seed).uniform(0, 1, len(truth))
    r, lin, explained = (f(truth, prediction) for f in (metrics.pearson, metrics.ccc, metrics.r2))
    if r is not None and lin is not None and explained is not None:
        assert -1 <= r <= 1
        assert abs(lin) <= abs(r) + 1e-9
        assert explained <= r * r + 1e-9
    assert metrics.ccc(truth, truth) in (None, pytest.approx(1.0))


def _system(clips: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 1, (clips, len(TARGETS)))
    return truth, 0.5 * truth + 0.25 + rng.normal(0, 0.1, truth.shape), np.median(truth, axis=0)


def test_describe_contains_every_metric_and_averages_the_five_traits() -> None:
    truth, prediction, medians = _system(50)
    document = metrics.describe(truth, prediction, medians, resamples=50)
    assert list(document) == [*TARGETS, "average"]
    for i, target in enumerate(TARGETS):
        assert set(document[target]) == {*metrics.METRICS, "ci95"}
        for name in ("accuracy", "mae", "r2", "pearson", "ccc", "spread"):
            assert document[target][name] == getattr(metrics, name)(truth[:, i], prediction[:, i])
        assert document[target]["floor_accuracy"] == metrics.floor_accuracy(truth[:, i], medians[i])
        assert document[target]["error_removed"] == metrics.error_removed(truth[:, i], prediction[:, i], medians[i])
    for name in ("accuracy", "pearson", "floor_accuracy"):
        assert document["average"][name] == pytest.approx(np.mean([document[t][name] for t in TRAITS]))
    average = document["average"]
    assert average["error_removed"] == pytest.approx(1 - average["mae"] / (1 - average["floor_accuracy"]))
    json.dumps(document, allow_nan=False)


def test_intervals_contain_the_metric_and_equal_a_plain_loop() -> None:
    truth, prediction, medians = _system(40)
    document = metrics.describe(truth, prediction, medians, resamples=300, seed=7)
    rng = np.random.default_rng(7)
    resamples = rng.integers(40, size=(300, 40))
    for name in ("accuracy", "r2", "pearson", "ccc", "spread"):
        slow = [getattr(metrics, name)(truth[rows, 2], prediction[rows, 2]) for rows in resamples]
        # t(.025; 39) sqrt(40 / 39) = -2.0227 * 1.0127 = -2.0485, below which 2.0257% of a normal distribution lie.
        expected = np.quantile(slow, [0.020257, 1 - 0.020257])
        assert document["agreeableness"]["ci95"][name] == pytest.approx(expected.tolist(), abs=1e-5)
    low, high = document["average"]["ci95"]["accuracy"]
    assert low < document["average"]["accuracy"] < high


def test_the_interval_of_a_mean_agrees_with_its_standard_error() -> None:
    truth, prediction, medians = _system(2_000)
    low, high = metrics.describe(truth, prediction, medians)["openness"]["ci95"]["mae"]
    errors = np.abs(truth - prediction)[:, TARGETS.index("openness")]
    standard_error = errors.std() / np.sqrt(len(errors))
    assert high - low == pytest.approx(2 * 1.96 * standard_error, rel=0.1)


def test_intervals_of_few_clips_hold_the_true_mean_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for seed in range(400):
        error = np.abs(rng.normal(0, 0.1, (12, 1)))
        low, high = metrics.describe(error, np.zeros((12, 1)), [0.5], ["openness"], resamples=300, seed=seed)[
            "openness"
        ]["ci95"]["mae"]
        held += low <= 0.1 * np.sqrt(2 / np.pi) <= high
    assert held / 400 >= 0.93  # plain percentiles: .90


def test_the_size_of_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, prediction, medians = _system(30)
    whole = metrics.describe(truth, prediction, medians, resamples=64)
    monkeypatch.setattr(metrics, "CHUNK_NUMBERS", 30 * 7)
    pieces = metrics.describe(truth, prediction, medians, resamples=64)
    for target, values in pieces.items():
        for name, interval in values["ci95"].items():
            assert interval == pytest.approx(whole[target]["ci95"][name], abs=1e-12), (target, name)


def test_any_number_of_named_targets() -> None:
    rng = np.random.default_rng(4)
    truth, noise = rng.uniform(0, 1, (25, 3)), rng.normal(0, 0.1, (25, 3))
    floor = np.median(truth, axis=0)
    names = ("warmth", "dominance", "trust")
    document = metrics.describe(truth, truth + noise, floor, targets=names, resamples=40)
    assert list(document) == [*names, "average"]
    for i, name in enumerate(names):
        assert document[name]["mae"] == metrics.mae(truth[:, i], truth[:, i] + noise[:, i])
        assert document[name]["error_removed"] == metrics.error_removed(truth[:, i], (truth + noise)[:, i], floor[i])
    assert document["average"]["mae"] == pytest.approx(np.abs(noise).mean())
    low, high = document["average"]["ci95"]["accuracy"]
    assert low < document["average"]["accuracy"] < high
    alone = metrics.describe(truth[:, :1], truth[:, :1] + noise[:, :1], floor[:1], targets=["interview"], resamples=40)
    assert alone["average"]["mae"] == alone["interview"]["mae"]


@pytest.mark.parametrize("targets", [("a", "b"), ("a", "a", "b"), ("a", "b", "average"), ()])
def test_target_names_must_be_unique_and_match_the_columns(targets: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        metrics.describe(np.zeros((4, 3)), np.zeros((4, 3)), np.zeros(3), targets=targets)


def test_the_seed_decides() -> None:
    system = _system(30)
    assert metrics.describe(*system, resamples=50, seed=1) == metrics.describe(*system, resamples=50, seed=1)
    assert metrics.describe(*system, resamples=50, seed=1) != metrics.describe(*system, resamples=50, seed=2)


def test_the_floor_itself_removes_nothing() -> None:
    truth, _, medians = _system(30)
    floor = metrics.describe(truth, np.tile(medians, (30, 1)), medians, resamples=20)
    for values in floor.values():
        assert values["error_removed"] == pytest.approx(0)
        assert values["accuracy"] == values["floor_accuracy"]
        assert values["spread"] == 0
        assert values["pearson"] is None
        assert values["ci95"]["pearson"] is None


@pytest.mark.parametrize("clips", [0, 1, 2, 9])
def test_few_clips_have_no_interval_and_no_nan(clips: int) -> None:
    truth, prediction, medians = _system(12)
    document = metrics.describe(truth[:clips], prediction[:clips], medians, resamples=20)
    assert all(interval is None for values in document.values() for interval in values["ci95"].values())
    assert (document["average"]["mae"] is None) == (clips == 0)
    json.dumps(document, allow_nan=False)


def test_a_target_that_diverged_leaves_the_others_alone() -> None:
    truth, prediction, medians = _system(20)
    prediction[3, 0] = np.nan
    document = metrics.describe(truth, prediction, medians, resamples=20)
    assert document["extraversion"]["accuracy"] is None
    assert document["average"]["accuracy"] is None
    assert document["openness"]["accuracy"] is not None
    json.dumps(document, allow_nan=False)


@pytest.mark.parametrize(
    ("truth", "prediction", "medians"),
    [
        (np.zeros((4, 6)), np.zeros((5, 6)), np.zeros(6)),
        (np.zeros((4, 5)), np.zeros((4, 5)), np.zeros(5)),
        (np.zeros((4, 6)), np.zeros((4, 6)), np.zeros(5)),
        (np.zeros(6), np.zeros(6), np.zeros(6)),
    ],
)
def test_shapes_that_do_not_match(truth: np.ndarray, prediction: np.ndarray, medians: np.ndarray) -> None:
    with pytest.raises(UsageError):
        metrics.describe(truth, prediction, medians)


def test_vectors_that_do_not_match() -> None:
    for call in (
        lambda: metrics.mae([0.1], [0.1, 0.2]),
        lambda: metrics.mae([[0.1]], [[0.1]]),
    ):
        with pytest.raises(UsageError):
            call()
