"""How every figure of crnet looks: colours, paper, axes. Without pyplot and its global state."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe and Ito's colours, which people with any colour vision can tell apart.
BLUE, ORANGE, GREEN, SKY, VERMILION, PURPLE = "#0072B2", "#E69F00", "#009E73", "#56B4E9", "#D55E00", "#CC79A7"
GREY, INK, FAINT = "#6B6B6B", "#222222", "#D9D9D9"

SYSTEM_COLOURS = {
    "scene": BLUE,
    "face": ORANGE,
    "audio-text": GREEN,
    "scene+face": SKY,
    "fusion": VERMILION,
    "floor": GREY,
}
SYSTEM_MARKERS = {"scene": "s", "face": "^", "audio-text": "D", "scene+face": "v", "fusion": "o", "floor": "_"}
FLOOR_LINE: dict[str, Any] = {"color": GREY, "linestyle": "--", "linewidth": 1.4}
FLOOR_LABEL = "floor: one number for everyone"

DOTS_PER_INCH = 130
WIDTH_IN = 9.0
MOST_IN_A_ROW = 6  # entries of a legend


def new_figure(height_in: float) -> Figure:
    """An empty white figure of the common width."""
    layout = ConstrainedLayoutEngine(wspace=0.05, hspace=0.05)
    return Figure(figsize=(WIDTH_IN, height_in), dpi=DOTS_PER_INCH, facecolor="white", layout=layout)


def tidy(axes: Axes) -> Axes:
    """Take away what is not data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#888888")
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def title(axes: Axes, text: str) -> None:
    """Name a panel; the text is shown as it is, dollar signs included."""
    axes.set_title(text, fontsize=10, loc="left", color=INK, parse_math=False)


def legend_below(figure: Figure, axes: Axes) -> None:
    """One legend for the whole figure, from the labels of one of its panels."""
    handles, labels = axes.get_legend_handles_labels()
    columns = min(len(labels), MOST_IN_A_ROW)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9, labelcolor=INK)


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file; the same figure gives the same bytes."""
    target = io.BytesIO()
    FigureCanvasAgg(figure).print_png(target, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return target.getvalue()
