"""Points with intervals in rows, one row for each target: the layout of the figures of audits and comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from crnet.report.figure_style import FAINT
from crnet.types import target_label

ROW_IN, PANEL_IN = 0.24, 0.7
"""Height of a row, and of the rest of a panel, in inches."""

Points = Mapping[str, tuple[float, float, float]]
"""Value, lower and upper end of each row."""


def draw_rows(
    axes: Axes, rows: Sequence[str], points: Points, *, offset: float, colour: str, marker: str, label: str
) -> None:
    """Draw the points of one series into the rows of a panel.

    Args:
        axes: The panel.
        rows: Names of all rows from top to bottom: targets, or "average".
        points: What to draw; a row may have none.
        offset: How far below the middle of its row a point lies, in rows.
        colour, marker, label: Of the series.
    """
    for name, (value, low, high) in points.items():
        y = rows.index(name) + offset
        axes.hlines(y, low, high, linewidth=1.6, color=colour)
        axes.plot(value, y, marker=marker, markersize=5, color=colour)
    axes.plot([], [], marker=marker, linestyle="none", label=label, color=colour)
    axes.set_yticks(range(len(rows)), [target_label(name) for name in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
