"""Figures of an audit: the gap in the labels beside the gap in the scores, and impact ratios of both."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crnet.audit.audit import Audit
from crnet.audit.differences import Difference
from crnet.audit.impact_ratios import ImpactRatio
from crnet.report.dot_rows import PANEL_IN, ROW_IN, Points, draw_rows
from crnet.report.figure_style import BLUE, GREY, INK, ORANGE, legend_below, new_figure, tidy, title

SOURCE_COLOURS = {"labels": BLUE, "scores": ORANGE}
SOURCE_MARKERS = {"labels": "s", "scores": "o"}
QUANTITY_OF_SOURCE = {"labels": "label", "scores": "score"}
FOUR_FIFTHS = 0.8
OFFSET = {"labels": -0.16, "scores": 0.16}  # above and below the middle of a row


def gap_figure(audit: Audit, grouping: str) -> Figure | None:
    """Draw the difference of each group to everyone else, in labels and scores; None without a comparison."""
    rows = [row for row in audit.differences.rows if row.grouping == grouping and row.quantity in ("label", "score")]
    groups = list(dict.fromkeys(row.group for row in rows))
    if not rows:
        return None
    targets = audit.clips.targets
    figure = new_figure(len(groups) * (len(targets) * ROW_IN + PANEL_IN) + 0.4)
    for axes, group in _panels(figure, groups):
        own = [row for row in rows if row.group == group]
        axes.axvline(0, color=INK, linewidth=1)
        for source, quantity in QUANTITY_OF_SOURCE.items():
            _draw_gaps(axes, targets, [row for row in own if row.quantity == quantity], source)
        title(axes, f"{group} minus {own[0].against}")
    _finish(figure, "difference in mean (with the simultaneous 95% interval)")
    return figure


def ratio_figure(audit: Audit, grouping: str) -> Figure | None:
    """Draw the impact ratio of each group and target, from labels and from scores; None without a ratio."""
    ratios = {
        group: kept
        for group, targets in audit.ratios[grouping].items()
        if (kept := {t: s for t, s in targets.items() if any(ratio.ratio is not None for ratio in s.values())})
    }
    if not ratios:
        return None
    targets = audit.clips.targets
    figure = new_figure(len(ratios) * (len(targets) * ROW_IN + PANEL_IN) + 0.4)
    for axes, group in _panels(figure, list(ratios)):
        axes.axvline(1, color=INK, linewidth=1)
        axes.axvline(FOUR_FIFTHS, color=GREY, linestyle="--", linewidth=1.2, label="four fifths")
        for source in SOURCE_COLOURS:
            _draw_ratios(axes, targets, {t: s[source] for t, s in ratios[group].items() if source in s}, source)
        title(axes, group)
        axes.set_xlim(left=0)
    _finish(figure, "impact ratio (with its 95% interval)")
    return figure


def _panels(figure: Figure, groups: list[str]) -> Iterator[tuple[Axes, str]]:
    grid = figure.subplots(len(groups), 1, sharex=True, squeeze=False)
    for axes, group in zip(grid[:, 0], groups, strict=True):
        yield tidy(axes), group


def _draw_gaps(axes: Axes, targets: tuple[str, ...], rows: list[Difference], source: str) -> None:
    _draw(axes, targets, {row.target: (row.value, row.low, row.high) for row in rows}, source)


def _draw_ratios(axes: Axes, targets: tuple[str, ...], ratios: dict[str, ImpactRatio], source: str) -> None:
    points = {
        target: (ratio.ratio, *(ratio.interval or (ratio.ratio, ratio.ratio)))
        for target, ratio in ratios.items()
        if ratio.ratio is not None
    }
    _draw(axes, targets, points, source)


def _draw(axes: Axes, targets: tuple[str, ...], points: Points, source: str) -> None:
    """Draw a point with its interval for each target, one row each."""
    colour, marker = SOURCE_COLOURS[source], SOURCE_MARKERS[source]
    draw_rows(axes, targets, points, offset=OFFSET[source], colour=colour, marker=marker, label=source)


def _finish(figure: Figure, label: str) -> None:
    axes = figure.axes[-1]
    axes.set_xlabel(label, fontsize=9, color=INK)
    legend_below(figure, axes)
