"""Intervals whose width depends on the clip: nominal coverage, wider for harder clips, constant for old files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crnet.errors import FormatError
from crnet.fusion.conformal import (
    INTERVAL_LEVEL,
    Calibration,
    conformal_quantile,
    coverage_by_region,
    interval_coverage,
)
from crnet.fusion.interval_width import FEATURES, FEWEST_CLIPS, NARROWEST, WIDEST, ClipFacts, WidthModel
from crnet.types import STREAMS, TARGETS

UNINFORMATIVE = 0.35


def split(facts: ClipFacts, rows: np.ndarray) -> ClipFacts:
    return ClipFacts(
        np.asarray(facts.scores)[rows],
        {stream: np.asarray(scores)[rows] for stream, scores in facts.streams.items()},
        {stream: np.asarray(values)[rows] for stream, values in facts.distances.items()},
    )


def clips(count: int, seed: int = 0) -> tuple[np.ndarray, ClipFacts]:
    """Return labels, and scores of three streams; on uninformative clips, each stream scores somebody else."""
    rng = np.random.default_rng(seed)
    truth = np.clip(rng.normal(0.52, 0.15, (count, 6)), 0, 1)
    others = np.clip(rng.normal(0.52, 0.15, (3, count, 6)), 0, 1)
    is_blind = rng.random(count) < UNINFORMATIVE
    seen = np.where(is_blind[None, :, None], others, truth[None])
    streams = np.clip(0.52 + 0.8 * (seen - 0.52) + rng.normal(0, 0.04, seen.shape), 0, 1)
    distances = {stream: rng.gamma(100, 0.01, count) for stream in STREAMS}
    return truth, ClipFacts(streams.mean(axis=0), dict(zip(STREAMS, streams, strict=True)), distances)


def test_coverage_is_nominal_and_widths_are_smaller_over_random_splits() -> None:
    truth, facts = clips(3000)
    rng = np.random.default_rng(1)
    covered, widths, constant = [], [], []
    for _ in range(100):
        fitting, calibrating, new = np.split(rng.permutation(3000), [1000, 2000])
        model = WidthModel.fit(truth[fitting], split(facts, fitting))
        assert model is not None
        calibration = Calibration.fit(truth[calibrating], split(facts, calibrating), None, model)
        figures = interval_coverage(truth[new], *calibration.bounds(split(facts, new)))["average"]
        covered.append(figures["coverage"])
        widths.append(figures["width"])
        alone = Calibration.fit(truth[calibrating], split(facts, calibrating), None)
        constant.append(interval_coverage(truth[new], *alone.bounds(split(facts, new)))["average"]["width"])
    assert np.mean(covered) == pytest.approx(INTERVAL_LEVEL, abs=0.01)
    assert np.mean(widths) <= 0.9 * np.mean(constant)


def test_a_clip_on_which_the_streams_disagree_gets_a_wider_interval() -> None:
    model = WidthModel.fit(*clips(1000))
    assert model is not None
    alike = {stream: np.full((1, 6), 0.5) for stream in STREAMS}
    apart = {**alike, "face": np.full((1, 6), 0.9)}
    narrow, wide = (model.relative_width(ClipFacts(np.full((1, 6), 0.5), s, {})) for s in (alike, apart))
    assert (narrow < 1).all()
    assert (wide > 1.2 * narrow).all()


def test_more_of_a_feature_never_makes_an_interval_narrower_and_widths_are_bounded() -> None:
    model = WidthModel.fit(*clips(1000))
    assert model is not None
    assert min(weight for row in model.weights for weight in row) >= 0
    extreme = ClipFacts(np.zeros((2, 6)), {}, {"face": np.array([0.0, 1e9])})
    steep = replace(model, weights=((0.0, 0.0, 0.0, 1.0, 0.0),) * 6)
    np.testing.assert_array_equal(steep.relative_width(extreme), [[NARROWEST] * 6, [WIDEST] * 6])


def test_the_features_of_a_clip_are_worked_out() -> None:
    streams = {"scene": np.full((1, 6), 0.4), "face": np.full((1, 6), 0.6)}
    facts = ClipFacts(np.full((1, 6), 0.7), streams, {"scene": [1.0], "face": [2.0]})
    # |0.7 - 0.5|; the deviation of .4 and .6; the mean of 1 and 2; the same deviation for every target.
    np.testing.assert_allclose(facts.features([0.5] * 6)[0, 3], [1, 0.2, 0.1, 1.5, 0.1])
    streams["face"][0, 3] = 1.0
    # Deviations of .1 for five targets and .3 for one: sqrt((5 * .01 + .09) / 6).
    np.testing.assert_allclose(facts.features([0.5] * 6)[0, 3, [2, 4]], [0.3, (0.14 / 6) ** 0.5])


def test_too_few_clips_and_errors_that_do_not_depend_on_the_clip_give_constant_widths() -> None:
    truth, facts = clips(FEWEST_CLIPS - 1)
    assert WidthModel.fit(truth, facts) is None
    rng = np.random.default_rng(0)
    scores = rng.normal(0.5, 0.1, (1000, 6))
    facts = ClipFacts(scores, dict.fromkeys(STREAMS, scores), {"face": rng.gamma(100, 0.01, 1000)})
    assert WidthModel.fit(scores + rng.normal(0, 0.1, scores.shape), facts) is None


def test_a_calibration_survives_its_file(tmp_path: Path) -> None:
    truth, facts = clips(1000)
    calibration = Calibration.fit(truth, facts, "English", WidthModel.fit(truth, facts))
    document = json.loads(json.dumps(calibration.to_dict()))
    assert Calibration.from_dict(document, tmp_path) == calibration


def test_a_file_of_an_older_version_has_constant_widths(tmp_path: Path) -> None:
    truth, facts = clips(200)
    document = Calibration.fit(truth, facts, None).to_dict()
    assert document["kind"] == "split-conformal"
    assert "widths" not in document
    old = Calibration.from_dict(document, tmp_path)
    assert old.widths is None
    half = conformal_quantile(np.asarray(facts.scores) - truth, INTERVAL_LEVEL)
    low, _ = old.bounds(ClipFacts(np.full((2, 6), 0.5), {}, {}))
    np.testing.assert_allclose(low, np.tile(np.clip(0.5 - half, 0, 1), (2, 1)))


def test_a_model_without_the_latest_feature_keeps_its_widths(tmp_path: Path) -> None:
    truth, facts = clips(1000)
    model = WidthModel.fit(truth, facts)
    assert model is not None
    document = model.to_dict()
    for weights in document["weights"].values():
        del weights["disagreement on all targets"]
    earlier = replace(model, weights=tuple((*row[:4], 0.0) for row in model.weights))
    assert WidthModel.from_dict(document) == earlier
    assert model.weights != earlier.weights


@pytest.mark.parametrize(
    "damage", [{}, {"usual": None}, {"weights": {t: dict.fromkeys(FEATURES, -1) for t in TARGETS}}]
)
def test_a_damaged_model_of_widths_is_refused(damage: dict[str, object], tmp_path: Path) -> None:
    truth, facts = clips(500)
    document = Calibration.fit(truth, facts, None, WidthModel.fit(truth, facts)).to_dict()
    document["widths"] = {**document["widths"], **damage} if damage else None
    with pytest.raises(FormatError, match="not a calibration of this version"):
        Calibration.from_dict(document, tmp_path)


def test_coverage_is_given_for_each_third_of_the_scores() -> None:
    scores = np.tile(np.arange(60)[:, None] / 60, (1, 6))
    # Intervals of width .2 around the scores; the truth is inside for the lowest third only.
    truth = np.where(np.arange(60)[:, None] < 20, scores, 1.5)
    regions = coverage_by_region(truth, scores, scores - 0.1, scores + 0.1)
    assert [regions[name]["openness"]["coverage"] for name in ("low", "middle", "high")] == [1, 0, 0]
    assert regions["high"]["average"]["width"] == pytest.approx(0.2)
    assert coverage_by_region(truth[:50], scores[:50], scores[:50], scores[:50]) == {}
