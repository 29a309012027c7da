"""The bound on the width of intervals, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.interval_width import STEPS, _narrowest


def test_the_narrowest_intervals_cover_more_where_that_is_cheap() -> None:
    # The true score of half of the clips lies in one step, that of the others anywhere, and less likely above .8.
    # Full coverage of the first and 80% of the others is 90%: widths of 1 / STEPS and .8.
    truth = np.concatenate([np.full(500, 0.5 + 0.5 / STEPS), (np.arange(500) + 0.5) / 500])
    chances = np.zeros((1000, STEPS))
    chances[:500, STEPS // 2] = 1
    chances[500:] = np.where(np.arange(STEPS) < 0.8 * STEPS, 1.01, 0.96) / STEPS
    assert _narrowest(chances, truth) == pytest.approx((1 / STEPS + 0.8) / 2, abs=2e-3)
