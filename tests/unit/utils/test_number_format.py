"""Numbers as text."""

from __future__ import annotations

import pytest

from crnet.utils.number_format import decimal, effect_text, interval_text, percent, score_text, size_text


@pytest.mark.parametrize(
    ("interval", "text"), [(None, ""), ([0.9, 0.9187], ".900–.919"), ([-0.05, 1.0], "−.050 to 1.000")]
)
def test_format_interval(interval: list[float] | None, text: str) -> None:
    assert interval_text(interval) == text


@pytest.mark.parametrize(
    ("size", "text"), [(10.6e6, "11 MB"), (1.66e9, "1.7 GB"), (53e9, "53.0 GB"), (3.2e12, "3.2 TB")]
)
def test_sizes_have_the_unit_that_fits(size: float, text: str) -> None:
    assert size_text(size) == text


def test_figures_are_written_as_papers_do() -> None:
    assert (decimal(0.91884), decimal(-0.05, digits=2), decimal(None)) == (".9188", "−.05", "–")
    assert (percent(0.2961), percent(-0.02, 0), percent(None)) == ("29.6%", "−2%", "–")


def test_scores_are_written_for_everyone() -> None:
    assert score_text(0.614) == "0.61"
    assert score_text(0.61, (0.48, 0.74), 0.9) == "0.61 (0.48 to 0.74, 90%)"
    assert score_text(0.61, (0.48, 0.74)) == "0.61 (0.48 to 0.74)"
    assert (effect_text(0.0123), effect_text(-0.003)) == ("+0.012", "−0.003")
    assert (effect_text(0.25, 2), effect_text(-0.254, 2)) == ("+0.25", "−0.25")
