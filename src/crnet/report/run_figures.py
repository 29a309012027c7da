"""The figures of a run's page: the heading, the caption and the drawing of each.

An entry of `RUN_FIGURES` is all that a figure needs: `crnet evaluate` then writes its PNG and SVG files, and the page
shows it with links to both and to its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure

from crnet.evaluation.evaluation import FLOOR, PREDICTIONS_FILE, Evaluation
from crnet.metrics import AVERAGE
from crnet.report.evaluation_figures import (
    calibration_figure,
    distribution_figure,
    error_figure,
    scatter_figure,
    systems_figure,
)
from crnet.report.run_data import SYSTEMS_CSV, TRAINING_CSV
from crnet.report.training_figures import Log, curves_figure, regression_epochs, terms_figure
from crnet.types import Stream

Logs = Mapping[Stream, Log]
"""Training logs by stream; streams without a log are left out."""


@dataclass(frozen=True)
class RunFigure:
    """A figure of a run's page.

    Attributes:
        section: The section of the page that shows the figure.
        title: The heading.
        caption: How to read the figure, for a reader who has not read the paper.
        data: The CSV file with its numbers, beside its own files.
        draw: Draws the figure from the evaluation and the training logs; returns None if they do not have its data.
    """

    section: Literal["evaluation", "training"]
    title: str
    caption: str
    data: str
    draw: Callable[[Evaluation, Logs], Figure | None]


def _draw_training_curves(evaluation: Evaluation, logs: Logs) -> Figure | None:
    return curves_figure(logs, evaluation.systems[FLOOR][AVERAGE]["accuracy"]) if logs else None


def _draw_loss_terms(evaluation: Evaluation, logs: Logs) -> Figure | None:
    return terms_figure(logs) if any(regression_epochs(rows) for rows in logs.values()) else None


RUN_FIGURES: dict[str, RunFigure] = {
    "systems": RunFigure(
        "evaluation",
        "Every system compared with the floor",
        "1 - MAE of each system with its 95% interval. If an interval reaches down to the dashed line, the system has"
        " not been shown to beat predicting one number for everyone.",
        SYSTEMS_CSV,
        lambda evaluation, logs: systems_figure(evaluation.systems),
    ),
    "scatter": RunFigure(
        "evaluation",
        "True score and predicted score",
        "Each dot is a clip. Perfect predictions lie on the diagonal; the floor puts every clip on the dashed line.",
        PREDICTIONS_FILE,
        lambda evaluation, logs: scatter_figure(evaluation),
    ),
    "errors": RunFigure(
        "evaluation",
        "Error against the true score",
        "If the line with dots (the mean error) falls from left to right, predictions regress to the mean: low scores "
        "are predicted too high and high scores too low. The dashed line is the error of the floor. The closer the "
        "line with dots is to zero, the better.",
        PREDICTIONS_FILE,
        lambda evaluation, logs: error_figure(evaluation),
    ),
    "distributions": RunFigure(
        "evaluation",
        "Spread of the scores",
        "A cautious model predicts scores near the middle. The spread is the standard deviation of the predictions "
        "divided by that of the true scores: 1 matches the true scores, 0 means the same prediction for everyone.",
        PREDICTIONS_FILE,
        lambda evaluation, logs: distribution_figure(evaluation),
    ),
    "calibration": RunFigure(
        "evaluation",
        "Calibration",
        "Clips are sorted by their predicted score and divided into tenths. On the diagonal, clips with a predicted "
        "score of 0.6 have a true score of 0.6 on average.",
        PREDICTIONS_FILE,
        lambda evaluation, logs: calibration_figure(evaluation),
    ),
    "training_curves": RunFigure(
        "training",
        "Training and validation",
        "In the top row, overfitting shows as a training curve that keeps rising while the validation curve falls (in "
        "the bottom row, the reverse). The first stage trains only the classification into score ranges, so it has no "
        "1 - MAE curve. The ring marks the epoch whose weights were selected.",
        TRAINING_CSV,
        _draw_training_curves,
    ),
    "loss_terms": RunFigure(
        "training",
        "Contribution of each loss",
        "Second stage, training split, scores times 100. The Bell loss acts only on scores with an error below 36 "
        "points; the dotted line is the share of scores beyond that.",
        TRAINING_CSV,
        _draw_loss_terms,
    ),
}
"""Every figure by the name of its PNG file, in the order of the page."""


def draw_run_figures(evaluation: Evaluation, logs: Logs) -> dict[str, Figure]:
    """Draw every figure of a run for which there is data; return them by name."""
    figures = {name: figure.draw(evaluation, logs) for name, figure in RUN_FIGURES.items()}
    return {name: figure for name, figure in figures.items() if figure is not None}
