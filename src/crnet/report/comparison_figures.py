"""Figures of a comparison: the share of the floor's error that each system removes, and the differences of pairs."""

from __future__ import annotations

from matplotlib.figure import Figure

from crnet.evaluation.comparison import Comparison
from crnet.metrics import AVERAGE
from crnet.report.dot_rows import PANEL_IN, ROW_IN, Points, draw_rows
from crnet.report.figure_style import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    legend_below,
    new_figure,
    tidy,
    title,
)

COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # of another number than the colours, so that their pairs differ
SPREAD = 0.62  # of the systems within a row
PAIRS_SHOWN = 6


def removed_figure(comparison: Comparison) -> Figure:
    """Draw the share of the floor's error that each system removes, by target, with its 95% interval."""
    rows = (*comparison.clips.targets, AVERAGE)
    height = max(ROW_IN, 0.13 * len(comparison.names))
    figure = new_figure(len(rows) * height + PANEL_IN + 0.6)
    axes = tidy(figure.add_subplot())
    axes.axvline(0, color=GREY, linestyle="--", linewidth=1.4, label="floor")
    for number, name in enumerate(comparison.names):
        points: Points = {
            row: (metrics["error_removed"], *(metrics["ci95"]["error_removed"] or (metrics["error_removed"],) * 2))
            for row in rows
            if (metrics := comparison.systems[name][row])["error_removed"] is not None
        }
        step = number / (len(comparison.names) - 1) - 0.5 if len(comparison.names) > 1 else 0.0
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        draw_rows(axes, rows, points, offset=SPREAD * step, colour=colour, marker=marker, label=_legend_text(name))
    for number in range(1, len(rows)):
        axes.axhline(number - 0.5, color=FAINT, linewidth=0.6)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel("share of the floor's error removed (with its 95% interval)", fontsize=9, color=INK)
    legend_below(figure, axes)
    return figure


def _legend_text(name: str) -> str:
    """Return a name as matplotlib shows it: it hides labels that begin with an underscore, and parses dollar signs."""
    text = name.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def difference_figure(comparison: Comparison) -> Figure | None:
    """Draw the difference in 1 - MAE of the first pairs, by target, with its 95% interval; None without a pair."""
    found = [row for row in comparison.differences if row.metric == "accuracy" and row.value is not None]
    pairs = list(dict.fromkeys((row.system, row.minus) for row in found))[:PAIRS_SHOWN]
    if not pairs:
        return None
    rows = (*comparison.clips.targets, AVERAGE)
    figure = new_figure(len(pairs) * (len(rows) * ROW_IN + PANEL_IN) + 0.3)
    grid = figure.subplots(len(pairs), 1, sharex=True, squeeze=False)
    for axes, pair in zip(grid[:, 0], pairs, strict=True):
        tidy(axes).axvline(0, color=INK, linewidth=1)
        points: Points = {
            row.target: (row.value, *(row.ci95 or (row.value, row.value)))
            for row in found
            if (row.system, row.minus) == pair and row.value is not None
        }
        draw_rows(axes, rows, points, offset=0.0, colour=BLUE, marker="o", label="")
        title(axes, f"{pair[0]} minus {pair[1]}")
    grid[-1, 0].set_xlabel("difference in 1 - MAE (with its 95% interval); right of 0 is better", fontsize=9, color=INK)
    return figure
