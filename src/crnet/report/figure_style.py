"""The look of every figure: colours, paper, axes. Uses no pyplot, so no global state."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# The colours of Okabe and Ito, which people with any colour vision can tell apart.
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

FEATURE_COLOURS = "jet"  # Sec. 5.6
SIGNED_COLOURS = "RdBu_r"  # of a strip: red raises a score, blue lowers it
RAISES_RGB, LOWERS_RGB = (224, 52, 30), (30, 96, 224)  # over a grey picture
RAISES_TINT, LOWERS_TINT = "214, 69, 49", "49, 120, 200"  # behind a word, CSS

DOTS_PER_INCH = 130
WIDTH_IN = 9.0
MOST_IN_A_ROW = 6  # legend entries
MIN_PER_BIN = 3  # the mean of fewer scores is noise


def new_figure(height_in: float) -> Figure:
    """Return an empty white figure of the common width."""
    layout = ConstrainedLayoutEngine(wspace=0.05, hspace=0.05)
    return Figure(figsize=(WIDTH_IN, height_in), dpi=DOTS_PER_INCH, facecolor="white", layout=layout)


def tidy(axes: Axes) -> Axes:
    """Remove spines and ticks that carry no data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#888888")
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def title(axes: Axes, text: str) -> None:
    """Set the title of a panel; dollar signs are shown, not parsed."""
    axes.set_title(text, fontsize=10, loc="left", color=INK, parse_math=False)


def legend_below(figure: Figure, axes: Axes) -> None:
    """Add one legend for the whole figure, from the labels of one of its panels."""
    handles, labels = axes.get_legend_handles_labels()
    columns = min(len(labels), MOST_IN_A_ROW)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9, labelcolor=INK)


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file; the same figure gives the same bytes."""
    target = io.BytesIO()
    FigureCanvasAgg(figure).print_png(target, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return target.getvalue()


def svg(figure: Figure) -> bytes:
    """Return a figure as the bytes of an SVG file with text as text; the same figure gives the same bytes."""
    target = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "crnet"}):
        FigureCanvasSVG(figure).print_svg(target, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    return target.getvalue()
