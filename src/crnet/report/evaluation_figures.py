"""Figures of an evaluation: every system beside the floor, and what the average hides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from crnet.evaluation.evaluation import FLOOR, FUSION, Evaluation
from crnet.metrics import AVERAGE
from crnet.report.figure_style import (
    FAINT,
    FLOOR_LABEL,
    FLOOR_LINE,
    INK,
    MIN_PER_BIN,
    SYSTEM_COLOURS,
    SYSTEM_MARKERS,
    legend_below,
    new_figure,
    tidy,
    title,
)
from crnet.types import TARGETS, target_label
from crnet.utils.number_format import decimal

COLUMNS = 3
USUAL_ERROR = 0.75  # errors up to this value have the same scale in every run
BINS = 10
TICKS = (0, 0.2, 0.4, 0.6, 0.8, 1)
MARGIN = 0.02  # so that the mark of a score of 0 or 1 is not cut


def systems_figure(systems: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Figure:
    """Draw 1 - MAE of every system and target with its 95% interval, beside the floor."""
    figure = new_figure(4.2)
    axes = tidy(figure.add_subplot())
    names = [name for name in systems if name != FLOOR]
    columns = (*TARGETS, AVERAGE)
    for i, target in enumerate(columns):
        floor = systems[FLOOR][target]["accuracy"] if FLOOR in systems else None
        if floor is not None:
            axes.hlines(floor, i - 0.42, i + 0.42, **FLOOR_LINE)
        for j, name in enumerate(names):
            value, interval = systems[name][target]["accuracy"], systems[name][target]["ci95"]["accuracy"]
            if value is None:
                continue
            x = i + (j - (len(names) - 1) / 2) * 0.15
            low, high = interval or (value, value)
            axes.vlines(x, low, high, color=SYSTEM_COLOURS[name], linewidth=1.4, alpha=0.8)
            axes.plot(x, value, marker=SYSTEM_MARKERS[name], color=SYSTEM_COLOURS[name], markersize=6)
    axes.axvline(len(TARGETS) - 0.5, color=FAINT, linewidth=1)
    axes.axvline(len(TARGETS) - 1.5, color=FAINT, linewidth=1)
    axes.set_xticks(range(len(columns)), [target_label(name).replace(" (", "\n(") for name in columns])
    axes.tick_params(axis="x", length=0, labelsize=8)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylabel("1 - MAE", fontsize=9, color=INK)
    for name in names:
        axes.plot([], [], marker=SYSTEM_MARKERS[name], color=SYSTEM_COLOURS[name], linestyle="none", label=name)
    axes.plot([], [], **FLOOR_LINE, label=FLOOR_LABEL)
    legend_below(figure, axes)
    return figure


def scatter_figure(evaluation: Evaluation, system: str = FUSION) -> Figure:
    """Draw predictions against true scores, one panel for each target, with the constant of the floor."""
    figure = new_figure(6.4)
    for axes, i, target in _panels(figure):
        truth, prediction = evaluation.truth[:, i], evaluation.predictions[system][:, i]
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, label="perfect")
        axes.axhline(evaluation.train_medians[i], **FLOOR_LINE, label=FLOOR_LABEL)
        _draw_clips(axes, truth, prediction, system)
        correlation = evaluation.systems[system][target]["pearson"]
        title(axes, f"{target_label(target)}   {_r_text(correlation)}")
        _square_axes(axes)
    _label_grid(figure, "true score", f"score predicted by {system}")
    return figure


def error_figure(evaluation: Evaluation, system: str = FUSION) -> Figure:
    """Draw errors against true scores. A falling slope is regression to the mean; the floor has the steepest."""
    figure = new_figure(6.4)
    errors = np.abs(evaluation.predictions[system] - evaluation.truth)
    limit = max(USUAL_ERROR, float(np.max(errors, initial=0, where=np.isfinite(errors))) + MARGIN)
    for axes, i, target in _panels(figure):
        truth, prediction = evaluation.truth[:, i], evaluation.predictions[system][:, i]
        ends = np.array([0.0, 1.0])
        axes.axhline(0, color=INK, linewidth=1, label="no error")
        axes.plot(ends, evaluation.train_medians[i] - ends, **FLOOR_LINE, label=FLOOR_LABEL)
        _draw_clips(axes, truth, prediction - truth, system)
        centres, means, _ = _binned(truth, prediction - truth)
        axes.plot(centres, means, color=INK, marker="o", markersize=3.5, linewidth=1.4, label="mean error")
        title(axes, target_label(target))
        _score_axis(axes)
        axes.set_ylim(-limit, limit)
    _label_grid(figure, "true score", f"error of {system} (above 0 = too high)")
    return figure


def distribution_figure(evaluation: Evaluation, system: str = FUSION) -> Figure:
    """Draw histograms of true scores and predictions. A model that only knows the mean has a narrow one."""
    figure = new_figure(6.0)
    edges = np.linspace(0, 1, 26).tolist()
    for axes, i, target in _panels(figure):
        truth, prediction = evaluation.truth[:, i], evaluation.predictions[system][:, i]
        axes.hist(truth, edges, color="#B8B8B8", label="true scores")
        finite = prediction[np.isfinite(prediction)]
        axes.hist(
            finite,
            edges,
            histtype="step",
            color=SYSTEM_COLOURS[system],
            linewidth=1.8,
            label=f"scores predicted by {system}",
        )
        axes.axvline(evaluation.train_medians[i], **FLOOR_LINE, label=FLOOR_LABEL)
        spread = evaluation.systems[system][target]["spread"]
        text = "" if spread is None else f"   spread {decimal(spread, digits=2)}"
        title(axes, target_label(target) + text)
        _score_axis(axes)
    _label_grid(figure, "score", "clips")
    return figure


def calibration_figure(evaluation: Evaluation, system: str = FUSION) -> Figure:
    """Draw the mean true score of clips with about the same predicted score."""
    figure = new_figure(6.4)
    for axes, i, target in _panels(figure):
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, label="calibrated")
        axes.axhline(evaluation.train_medians[i], **FLOOR_LINE, label=FLOOR_LABEL)
        prediction = evaluation.predictions[system][:, i]
        centres, means, errors = _binned(prediction, evaluation.truth[:, i], by_rank=True)
        axes.errorbar(
            centres,
            means,
            1.96 * errors,
            color=SYSTEM_COLOURS[system],
            marker="o",
            markersize=4,
            linewidth=1.4,
            label="mean of a tenth of the clips with 95% interval",
        )
        title(axes, target_label(target))
        _square_axes(axes)
    _label_grid(figure, f"score predicted by {system}", "mean true score")
    return figure


def _panels(figure: Figure) -> list[tuple[Axes, int, str]]:
    panels = figure.subplots(-(-len(TARGETS) // COLUMNS), COLUMNS, sharex=True, sharey=True).ravel()
    return [(tidy(axes), i, target) for i, (axes, target) in enumerate(zip(panels, TARGETS, strict=True))]


def _score_axis(axes: Axes) -> None:
    axes.set_xlim(-MARGIN, 1 + MARGIN)
    axes.set_xticks(TICKS)


def _square_axes(axes: Axes) -> None:
    _score_axis(axes)
    axes.set_ylim(-MARGIN, 1 + MARGIN)
    axes.set_yticks(TICKS)
    axes.set_aspect("equal")


def _draw_clips(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], system: str) -> None:
    many = len(x) > 300
    axes.plot(
        x,
        y,
        linestyle="none",
        marker="o",
        markersize=2.5 if many else 4.5,
        markeredgewidth=0,
        alpha=0.35 if many else 0.6,
        color=SYSTEM_COLOURS[system],
        label="one clip",
        clip_on=True,
    )


def _label_grid(figure: Figure, x: str, y: str) -> None:
    for i, axes in enumerate(figure.axes):
        axes.label_outer()
        if i % COLUMNS == 0:
            axes.set_ylabel(y, fontsize=9, color=INK)
        if i >= len(figure.axes) - COLUMNS:
            axes.set_xlabel(x, fontsize=9, color=INK)
    legend_below(figure, figure.axes[0])


def _binned(
    x: NDArray[np.float64], y: NDArray[np.float64], *, by_rank: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return mean x, mean y and the standard error of y in bins of x, equally wide or (by rank) equally full."""
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    order = np.argsort(x, kind="stable")
    bin_number = np.clip((x[order] * BINS).astype(int), 0, BINS - 1)
    bins = np.array_split(order, BINS) if by_rank else [order[bin_number == i] for i in range(BINS)]
    used = [members for members in bins if len(members) >= MIN_PER_BIN]
    errors = [y[members].std(ddof=1) / np.sqrt(len(members)) for members in used]
    return np.array([x[m].mean() for m in used]), np.array([y[m].mean() for m in used]), np.array(errors)


def _r_text(value: float | None) -> str:
    return "" if value is None else f"r = {decimal(value, digits=2)}"
