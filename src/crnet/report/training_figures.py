"""Figures of a training run: training and validation curves, and the contribution of each loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crnet.metrics import AVERAGE
from crnet.models.losses import LOSSES, Loss
from crnet.report.figure_style import (
    BLUE,
    FLOOR_LABEL,
    FLOOR_LINE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    VERMILION,
    legend_below,
    new_figure,
    tidy,
    title,
)
from crnet.training.log import read_log
from crnet.types import STREAMS, Stream

Log = Sequence[Mapping[str, Any]]
"""The rows of a stream's `log.jsonl`, one for each epoch; `crnet.training.log` describes them."""

LOSS_COLOURS = {"l1": BLUE, "mse": GREEN, "bell": VERMILION, "classification": PURPLE}
LOSS_LABELS = {"l1": "L1", "mse": "MSE", "bell": "Bell", "classification": "lambda x cross-entropy"}


def read_logs(run_dir: Path | str) -> dict[Stream, Log]:
    """Read the training logs of a run by stream; a stream without a log is left out.

    Raises:
        FormatError: A log does not hold one JSON object for each epoch.
    """
    logs = {stream: read_log(Path(run_dir) / stream) for stream in STREAMS}
    return {stream: rows for stream, rows in logs.items() if rows}


def curves_figure(logs: Mapping[Stream, Log], floor: float | None = None) -> Figure:
    """Draw training and validation of each stream: 1 - MAE above, cross-entropy of the classes below.

    Args:
        logs: Training logs by stream.
        floor: 1 - MAE of predicting the training median for everyone, averaged over the five traits.
    """
    figure = new_figure(5.4)
    panels = figure.subplots(2, len(logs), squeeze=False, sharex="col", sharey="row")
    for column, (stream, rows) in enumerate(logs.items()):
        above, below = tidy(panels[0][column]), tidy(panels[1][column])
        for split, colour in (("train", BLUE), ("val", VERMILION)):
            label = "training" if split == "train" else "validation"
            style: dict[str, Any] = {"color": colour, "marker": "o", "markersize": 2.5, "linewidth": 1.5}
            scored = [(x, row) for x, row in regression_epochs(rows) if row[split]]
            above.plot([x for x, _ in scored], [_accuracy(row, split) for _, row in scored], label=label, **style)
            epochs = [(x, row) for x, row in enumerate(rows, start=1) if row[split]]
            below.plot([x for x, _ in epochs], [row[split]["classification"] for _, row in epochs], **style)
        if floor is not None:
            above.axhline(floor, **FLOOR_LINE, label=FLOOR_LABEL)
        mark_best(above, rows)
        mark_stages((above, below), rows)
        title(above, stream)
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
        below.set_xlabel("epoch", fontsize=9, color=INK)
    panels[0][0].set_ylabel("1 - MAE, average\nof the five traits", fontsize=9, color=INK)
    panels[1][0].set_ylabel("cross-entropy\nof the classes", fontsize=9, color=INK)
    legend_below(figure, panels[0][0])
    return figure


def terms_figure(logs: Mapping[Stream, Log]) -> Figure:
    """Draw the contribution of each loss to the sum that the second stage minimises (Eq. 8), on the training split.

    A loss without an entry in `LOSS_LABELS` and `LOSS_COLOURS` has its name as label and a neutral colour. A loss that
    the log does not hold, because it was added after the run, is not drawn.
    """
    figure = new_figure(3.4)
    panels = figure.subplots(1, len(logs), squeeze=False, sharey="row")[0]
    for axes, (stream, rows) in zip(panels, logs.items(), strict=True):
        tidy(axes)
        epochs = regression_epochs(rows)
        for name, loss in LOSSES.items():
            points = [(x, _contribution(row, name, loss)) for x, row in epochs if name in row["train"]]
            if points:
                colour, label = LOSS_COLOURS.get(name, INK), LOSS_LABELS.get(name, name)
                axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.6, label=label)
        _draw_outside_bell(axes, epochs, show_labels=stream == list(logs)[-1])
        axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        title(axes, stream)
        axes.set_xlabel("epoch", fontsize=9, color=INK)
    panels[0].set_ylabel("training loss, scores x 100", fontsize=9, color=INK)
    legend_below(figure, panels[0])
    return figure


def _contribution(row: Mapping[str, Any], name: str, loss: Loss) -> float:
    """Return a training loss of an epoch; lambda multiplies a loss of classes."""
    return float(row["train"][name] * (row["lambda"] if loss.compares == "classes" else 1))


def _draw_outside_bell(axes: Axes, epochs: Sequence[tuple[int, Mapping[str, Any]]], *, show_labels: bool) -> None:
    """Draw the share of scores that the Bell loss cannot reach, on its own axis at the right."""
    style: dict[str, Any] = {"color": GREY, "linestyle": ":", "linewidth": 1.4}
    right = axes.twinx()
    right.plot([x for x, _ in epochs], [100 * row["train"]["outside_bell"] for _, row in epochs], **style)
    right.set_ylim(0, 100)
    right.spines[["top", "left", "right"]].set_visible(False)
    right.tick_params(colors=GREY, labelsize=8, length=0, labelright=show_labels)
    axes.plot([], [], **style, label="% of scores whose error is too large for the Bell loss (right axis)")


def regression_epochs(rows: Log) -> list[tuple[int, Mapping[str, Any]]]:
    """Return number and row of the epochs that train the regression; earlier ones would dominate the axis."""
    return [(x, row) for x, row in enumerate(rows, start=1) if row["lambda"] != 1]


def _accuracy(row: Mapping[str, Any], split: str) -> float:
    value = row[split]["accuracy"][AVERAGE]
    return float("nan") if value is None else float(value)


def mark_best(axes: Axes, rows: Log) -> None:
    """Draw a ring around the epoch whose weights were selected."""
    best = [(x, row) for x, row in enumerate(rows, start=1) if row.get("best") and row["val"]]
    if best:
        x, row = best[-1]
        axes.plot(
            x,
            _accuracy(row, "val"),
            marker="o",
            markersize=9,
            markerfacecolor="none",
            color=INK,
            linestyle="none",
            label="selected epoch",
        )


def mark_stages(panels: Sequence[Axes], rows: Log) -> None:
    """Draw a line where the second stage begins."""
    first = next((x for x, row in enumerate(rows, start=1) if row["stage"] != rows[0]["stage"]), None)
    for axes in panels:
        if first is not None:
            axes.axvline(first - 0.5, color=ORANGE, linewidth=1.2, linestyle=":", label="second stage begins")
