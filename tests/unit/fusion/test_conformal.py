"""Conformal intervals have their nominal coverage, and foreign calibration files are refused."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crnet.errors import FormatError
from crnet.fusion.conformal import (
    FEWEST_CALIBRATION_CLIPS,
    INTERVAL_LEVEL,
    Calibration,
    conformal_quantile,
    interval_coverage,
    intervals,
)
from crnet.fusion.interval_width import ClipFacts
from crnet.types import STREAMS, TARGETS

SPLITS, NOMINAL_WITHIN = 100, 0.01
LEVELS = (0.5, 0.8, INTERVAL_LEVEL, 0.95)


def simulated(clips: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """True scores and predictions like those of a regression: shrunk to the mean, with skewed and uneven errors."""
    rng = np.random.default_rng(seed)
    truth = np.clip(0.52 + 0.15 * rng.standard_normal((clips, 6)), 0, 1)
    noise = rng.standard_t(3, (clips, 6)) * (0.03 + 0.1 * np.abs(truth - 0.5)) + rng.exponential(0.02, (clips, 6))
    return truth, np.clip(0.5 + 0.7 * (truth - 0.52) + noise, 0, 1)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("calibrating", [19, 100, 400])
def test_coverage_is_nominal_over_random_splits(level: float, calibrating: int) -> None:
    truth, predictions = simulated(1000)
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(SPLITS):
        order = rng.permutation(len(truth))
        calibration, new = order[:calibrating], order[calibrating:]
        half = conformal_quantile(predictions[calibration] - truth[calibration], level)
        low, high = intervals(predictions[new], half)
        covered.append(((low <= truth[new]) & (truth[new] <= high)).mean())
    # The method guarantees the level, rounded up to a rank among n + 1 clips.
    guaranteed = math.ceil((calibrating + 1) * level - 1e-9) / (calibrating + 1)
    assert np.mean(covered) == pytest.approx(guaranteed, abs=NOMINAL_WITHIN)
    if calibrating >= 100:
        assert np.mean(covered) == pytest.approx(level, abs=NOMINAL_WITHIN)


def test_the_plain_quantile_covers_too_little() -> None:
    """The coverage above depends on the finite-sample correction."""
    truth, predictions = simulated(1000)
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(SPLITS):
        order = rng.permutation(len(truth))
        errors = np.abs(predictions - truth)
        half = np.quantile(errors[order[:19]], INTERVAL_LEVEL, axis=0)
        covered.append((errors[order[19:]] <= half).mean())
    assert np.mean(covered) < INTERVAL_LEVEL - NOMINAL_WITHIN


@pytest.mark.parametrize(
    ("n", "level", "rank"),
    [(9, 0.9, 9), (10, 0.9, 10), (19, 0.9, 18), (99, 0.9, 90), (100, 0.9, 91), (19, 0.95, 19), (1, 0.5, 1)],
)
def test_the_rank_of_the_quantile_by_hand(n: int, level: float, rank: int) -> None:
    errors = np.random.default_rng(0).permutation(np.arange(1.0, n + 1)) * np.where(np.arange(n) % 2, 1, -1)
    assert conformal_quantile(errors, level) == rank


def test_too_few_clips_for_a_level_give_no_bound() -> None:
    assert conformal_quantile(np.ones((8, 2)), 0.9).tolist() == [np.inf, np.inf]
    low, high = intervals([0.3, 0.4], [np.inf, 0.5])
    assert low.tolist() == [0, 0] and high.tolist() == [1, 0.9]


def test_a_higher_level_gives_wider_intervals() -> None:
    truth, predictions = simulated(200)
    scores = np.full(6, 0.5)
    for narrow, wide in pairwise(LEVELS):
        inner = intervals(scores, conformal_quantile(predictions - truth, narrow))
        outer = intervals(scores, conformal_quantile(predictions - truth, wide))
        assert (outer[0] <= inner[0]).all() and (inner[0] <= 0.5).all()
        assert (inner[1] >= 0.5).all() and (inner[1] <= outer[1]).all()


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=6, max_size=6), st.floats(0, 2))
def test_intervals_hold_their_score_and_stay_in_range(scores: list[float], half: float) -> None:
    low, high = intervals(scores, half)
    assert (low <= scores).all() and (scores <= high).all() and (low >= 0).all() and (high <= 1).all()


def fitted(clips: int = 200) -> Calibration:
    truth, predictions = simulated(clips)
    distances = {s: np.abs(np.random.default_rng(2).standard_normal(clips)) for s in STREAMS}
    return Calibration.fit(truth, ClipFacts(predictions, {}, distances), "English")


def test_a_calibration_covers_its_own_clips() -> None:
    calibration = fitted()
    assert calibration.clips == 200
    truth, predictions = simulated(200)
    figures = interval_coverage(truth, *calibration.bounds(ClipFacts(predictions, {}, {})))
    assert list(figures) == [*TARGETS, "average"]
    for target in TARGETS:
        assert figures[target]["coverage"] == pytest.approx(181 / 200)  # ceil(201 x 0.9) of its own clips
    assert figures["average"]["width"] == pytest.approx(np.mean([figures[t]["width"] for t in TARGETS[:5]]))
    ends = calibration.intervals(ClipFacts(np.full((1, 6), 0.5), {}, {}))
    half_width = conformal_quantile(predictions - truth, INTERVAL_LEVEL)
    for target, half in zip(TARGETS, half_width, strict=True):
        assert ends[target] == (max(0.5 - half, 0), min(0.5 + half, 1))


def test_few_unseen_clips_count_as_far() -> None:
    rng = np.random.default_rng(3)
    truth, predictions = simulated(500)
    limit = Calibration.fit(truth, ClipFacts(predictions, {}, {"face": rng.gamma(9, size=500)}), None).distance_limit[
        "face"
    ]
    assert (rng.gamma(9, size=5000) > limit).mean() == pytest.approx(0.01, abs=0.006)


def test_too_few_clips_are_refused() -> None:
    with pytest.raises(FormatError, match="too few"):
        fitted(FEWEST_CALIBRATION_CLIPS - 1)
    assert np.isfinite(fitted(FEWEST_CALIBRATION_CLIPS).half_width).all()


def test_a_calibration_survives_its_file() -> None:
    calibration = fitted()
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())), Path("c.json")) == calibration


def test_the_file_of_an_earlier_version_holds_other_levels_too() -> None:
    calibration = fitted()
    document = calibration.to_dict()
    assert list(document["half_widths"]) == ["0.9"]
    others = {str(level): dict.fromkeys(TARGETS, level) for level in (0.5, 0.8, 0.95)}
    document["half_widths"] = {**others, **document["half_widths"]}
    assert Calibration.from_dict(document, Path("c.json")) == calibration


def test_unlike_training_names_the_language_and_each_distant_stream() -> None:
    calibration = Calibration(200, (0.1,) * 6, {"scene": 1.5, "face": 2.0}, "English")
    distances = {"scene": np.array([1.6]), "face": np.array([2.0]), "audio-text": np.array([99.0])}
    german = "ich bin nicht so sicher und das ist auch gut für mich"
    assert list(calibration.unlike_training(distances, german)) == [
        "the transcript seems to be in German, but most training transcripts are in English",
        "the scene is unlike those in the training clips (distance 1.60; 99% of calibration clips are within 1.50)",
    ]
    assert list(calibration.unlike_training({"scene": np.array([1.5])}, "")) == []


BROKEN: list[Any] = [
    None,
    [],
    {},
    {"format": 2},
    {"kind": "other"},
    {"half_widths": {}},
    {"half_widths": {"0.9": {"extraversion": 0.1}}},
    {"half_widths": {"0.9": dict.fromkeys(TARGETS, -0.1)}},
    {"half_widths": {"0.9": dict.fromkeys(TARGETS, float("nan"))}},
    {"half_widths": {"nine": dict.fromkeys(TARGETS, 0.1)}},
    {"half_widths": [1]},
    {"nearness": {"face": "far"}},
    {"nearness": None},
    {"clips": "many"},
    {"clips": float("inf")},
]


@pytest.mark.parametrize("change", BROKEN)
def test_a_foreign_file_is_refused_by_name(change: Any) -> None:
    document = {**fitted().to_dict(), **change} if isinstance(change, dict) and change else change
    with pytest.raises(FormatError, match=r"calibration\.json"):
        Calibration.from_dict(document, Path("calibration.json"))
