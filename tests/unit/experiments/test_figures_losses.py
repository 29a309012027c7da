"""Figs. 5 and 6: minima of a batch's summed loss, and gradients of the losses."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any, cast

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crnet.experiments.figures.batch_sum import BatchSum
from crnet.experiments.figures.loss_gradients import LossGradients
from crnet.experiments.figures.loss_shapes import (
    PAPER_BATCH,
    bell,
    minima,
    range_where_bell_is_steeper,
    summed_loss,
    widest_sigma_with_side_minima,
)
from crnet.experiments.workspace import Workspace
from crnet.models.losses import bell_loss, l1_loss, mse_loss

NO_WORKSPACE = cast("Workspace", None)  # these figures are arithmetic


def test_sums_and_gradients_match_hand_computation() -> None:
    at = np.array([0.5, 0.6])
    values, gradients = summed_loss(mse_loss, PAPER_BATCH, at)
    np.testing.assert_allclose(values, [10**2 + 0 + 10**2, 20**2 + 10**2 + 0])
    np.testing.assert_allclose(gradients, [0, 2 * (20 + 10 + 0)], atol=1e-9)  # per point
    values, gradients = summed_loss(l1_loss, PAPER_BATCH, at + 0.02)
    np.testing.assert_allclose(values, [12 + 2 + 8, 22 + 12 + 2])
    np.testing.assert_allclose(gradients, [1, 3])
    values, gradients = summed_loss(bell(9), [0.5], np.array([0.59]))
    np.testing.assert_allclose(values, 300 * (1 - math.exp(-0.5)))
    np.testing.assert_allclose(gradients, 300 / 9 * math.exp(-0.5))


@pytest.mark.parametrize("loss", [mse_loss, l1_loss, bell_loss])
def test_at_the_papers_sigma_every_loss_has_its_only_minimum_at_the_mean(loss: Any) -> None:
    assert minima(loss, PAPER_BATCH) == pytest.approx([0.5], abs=1e-9)


def test_side_minima_of_a_narrow_bell() -> None:
    # At 4 points: the roots of d e^(-d^2/32) over the three samples, computed independently by Newton's method.
    place = 9.4
    for _ in range(30):
        slope, curve = _slope_and_curve(place, 4.0)
        place -= slope / curve
    places = minima(bell(4.0), PAPER_BATCH)
    assert places == pytest.approx([0.5 - place / 100, 0.5, 0.5 + place / 100], abs=1e-9)
    costs, _ = summed_loss(bell(4.0), PAPER_BATCH, np.array(places))
    assert costs.argmin() == 1  # the middle sample has neighbours on both sides
    assert minima(bell(2.0), PAPER_BATCH) == pytest.approx([0.4, 0.5, 0.6], abs=1e-5)


def test_the_widest_sigma_with_side_minima() -> None:
    # Where a minimum meets the maximum beside it, slope and curvature are both 0: Newton's method in two unknowns.
    place, sigma = 7.0, 4.8
    for _ in range(60):
        value = np.array(_slope_and_curve(place, sigma))
        step = 1e-6
        jacobian = np.stack(
            [
                (np.array(_slope_and_curve(place + step, sigma)) - value) / step,
                (np.array(_slope_and_curve(place, sigma + step)) - value) / step,
            ],
            axis=1,
        )
        place, sigma = np.array([place, sigma]) - np.linalg.solve(jacobian, value)
    assert sigma == pytest.approx(4.85, abs=0.005)
    assert widest_sigma_with_side_minima(PAPER_BATCH) == pytest.approx(sigma, abs=2e-3)


@given(st.integers(2, 30))
@settings(max_examples=6, deadline=None)
def test_two_samples_separate_where_sigma_is_half_their_distance(half: int) -> None:
    # The sum of two equal Gaussians has two peaks exactly if they are more than two standard deviations apart.
    truths = (0.5 - half / 100, 0.5 + half / 100)
    assert widest_sigma_with_side_minima(truths) == pytest.approx(half, rel=2e-3)


def test_range_where_bell_is_steeper() -> None:
    # 300/81 d exp(-d^2/162) = 2 d  at  d = sqrt(162 ln(300/162))
    _, end = range_where_bell_is_steeper(mse_loss, 0.01, 50)
    assert end == pytest.approx(math.sqrt(162 * math.log(300 / 162)), abs=0.01)
    begin, _ = range_where_bell_is_steeper(l1_loss, 0.01, 50)
    assert begin == pytest.approx(0.27, abs=1e-3)  # 3.7037 d = 1, where the exponential is 0.9996


def test_the_sections_state_minima_and_gradients(tmp_path: Path) -> None:
    first = BatchSum().run(NO_WORKSPACE, tmp_path)
    assert "a single minimum too, at 0.500" in first.markdown
    assert "below sigma = 4.85 points" in first.markdown
    assert first.data["widest_sigma"] == pytest.approx(4.85, abs=0.005)
    second = LossGradients().run(NO_WORKSPACE, tmp_path)
    assert "up to 10.0 points" in second.markdown
    assert "3.7 (Bell), 2.0 (MSE) and 1.0 (L1)" in second.markdown
    assert second.data["steepest_bell"] == pytest.approx(300 / (9 * math.sqrt(math.e)))
    for picture, table in (first.files, second.files):
        assert f"]({picture.name})" in first.markdown + second.markdown
        assert matplotlib.image.imread(picture).std() > 0.02
        with table.open() as lines:
            rows = list(csv.DictReader(lines))
        assert len(rows) > 500
    assert float(rows[-1]["loss_L1"]) == 50.0  # the last file, at an error of 50 points
    assert (tmp_path / "fig6.png").read_bytes() == LossGradients().run(NO_WORKSPACE, tmp_path / "again").files[
        0
    ].read_bytes()


def _slope_and_curve(place: float, sigma: float) -> tuple[float, float]:
    """Return slope and curvature of the summed Bell losses at `place` points from the middle, up to a factor."""
    off = place - np.array([-10.0, 0.0, 10.0])
    peak = np.exp(-(off**2) / (2 * sigma**2))
    return float((off * peak).sum()), float(((1 - off**2 / sigma**2) * peak).sum())
