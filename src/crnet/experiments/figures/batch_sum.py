"""Fig. 5: the loss of a batch with the scores 0.4, 0.5 and 0.6 that all get the same prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crnet.experiments.figures.loss_shapes import (
    LOSSES,
    PAPER_BATCH,
    Curve,
    bell,
    minima,
    summed_loss,
    widest_sigma_with_side_minima,
)
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.rendering.markdown import image_link, unwrap
from crnet.experiments.rendering.write_figure import write_figure
from crnet.experiments.workspace import Section, Workspace
from crnet.models.losses import BELL_SIGMA, SCORE_SCALE
from crnet.report.figure_style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILION, new_figure, tidy, title
from crnet.utils.text_format import join_words

PREDICTIONS = np.linspace(0.2, 0.8, 601)
SIGMAS = (BELL_SIGMA, 6.0, 4.0, 3.0, 2.0)  # in points; the paper's first
SIGMA_COLOURS = (VERMILION, ORANGE, GREEN, BLUE, PURPLE)
SWEEP = np.linspace(1.0, 12.0, 56)  # sigmas, in points, of the panel with the minima
PANEL_LETTERS = {"MSE": "a", "L1": "b", "Bell": "c"}

Minimum = tuple[float, float]
"""Sigma in points, and a prediction at which the summed Bell loss has a minimum."""


class BatchSum:
    """Fig. 5 of the paper, and the same for other widths of Bell."""

    name = "fig5"
    title = "Fig. 5: the losses of a batch, summed"

    def networks(self, workspace: Workspace) -> tuple[NetSpec, ...]:
        """Return no networks: the figure is arithmetic."""
        return ()

    def run(self, workspace: Workspace, folder: Path) -> Section:
        """Draw the summed losses and find their minima."""
        widest = widest_sigma_with_side_minima(PAPER_BATCH)
        sums = {name: summed_loss(loss, PAPER_BATCH, PREDICTIONS)[0] for name, loss in LOSSES.items()}
        bells = {sigma: summed_loss(bell(sigma), PAPER_BATCH, PREDICTIONS)[0] for sigma in SIGMAS}
        sweep = [(float(sigma), minimum) for sigma in SWEEP for minimum in minima(bell(float(sigma)), PAPER_BATCH)]
        header = ["prediction", *(f"sum_{name}" for name in sums), *(f"sum_Bell_sigma_{s:g}" for s in bells)]
        columns = [PREDICTIONS, *sums.values(), *bells.values()]
        figure = _figure(sums, bells, sweep, widest)
        files = write_figure(folder, self.name, figure, header, np.stack(columns, 1).tolist())
        by_loss = {name: minima(loss, PAPER_BATCH) for name, loss in LOSSES.items()}
        data = {"minima": by_loss, "minima_at_sigma_4": minima(bell(4.0), PAPER_BATCH), "widest_sigma": widest}
        return Section(self.title, _text(files[0], by_loss, widest), files, data)


def _text(picture: Path, by_loss: dict[str, list[float]], widest: float) -> str:
    spacing = (PAPER_BATCH[1] - PAPER_BATCH[0]) * SCORE_SCALE
    at_4 = minima(bell(4.0), PAPER_BATCH)
    lowest = at_4[int(np.argmin(summed_loss(bell(4.0), PAPER_BATCH, np.array(at_4))[0]))]
    places = "; ".join(f"{name} at {_join_numbers(values)}" for name, values in by_loss.items())
    has = "a single minimum too, at" if len(by_loss["Bell"]) == 1 else "minima at"
    apart = BELL_SIGMA * spacing / widest
    return unwrap(f"""
{image_link(picture, "Summed losses over the prediction, and minima of the summed Bell loss over sigma")}

The paper (Sec. 3.3.1, Fig. 5): summed over samples at 0.4, 0.5 and 0.6, MSE and L1 are smallest at the mean, and Bell
is designed so that it is not.

Here: minima of the sums are, for {places}. With the paper's sigma of {BELL_SIGMA:g} points, Bell has {has}
{_join_numbers(by_loss["Bell"])}. Side minima appear only below sigma = {widest:.2f} points. At sigma = 4 points the
minima are {_join_numbers(at_4)}, and the lowest of them is still {lowest:.3f}. What counts is sigma relative to the
distance between samples: at sigma = {BELL_SIGMA:g}, the samples would have to be {apart:.0f} points apart instead of
{spacing:.0f}. Bell does tolerate outliers, because its ends are flat, but it does not keep neighbouring scores apart.
""")


def _join_numbers(values: list[float]) -> str:
    return join_words([f"{value:.3f}" for value in values])


def _figure(sums: dict[str, Curve], bells: dict[float, Curve], sweep: list[Minimum], widest: float) -> Figure:
    figure = new_figure(5.6)
    upper, lower = figure.subfigures(2, 1, squeeze=False).ravel()
    above, below = upper.subplots(1, 3), lower.subplots(1, 2)
    for axes, (name, total) in zip(above, sums.items(), strict=True):
        _draw_loss(axes, name, total)
    above[0].set_ylabel("loss", fontsize=9, color=INK)
    above[0].legend(fontsize=8, labelcolor=INK, loc="upper center", facecolor="white", edgecolor="none", framealpha=1)
    _draw_sigmas(below[0], bells)
    _draw_minima(below[1], sweep, widest)
    return figure


def _draw_loss(axes: Axes, name: str, total: Curve) -> None:
    _draw_samples(axes)
    for truth in PAPER_BATCH:
        single = summed_loss(LOSSES[name], [truth], PREDICTIONS)[0]
        axes.plot(PREDICTIONS, single, color=SKY, linewidth=1.1, label="one sample" if truth == 0.5 else None)
    axes.plot(PREDICTIONS, total, color=VERMILION, linewidth=2, label="sum of the three")
    title(axes, f"{PANEL_LETTERS[name]}  {name}" + (f", sigma = {BELL_SIGMA:g}" if name == "Bell" else ""))
    axes.set_xlabel("prediction", fontsize=9, color=INK)


def _draw_sigmas(axes: Axes, bells: dict[float, Curve]) -> None:
    _draw_samples(axes)
    for (sigma, total), colour in zip(bells.items(), SIGMA_COLOURS, strict=True):
        axes.plot(PREDICTIONS, total, color=colour, linewidth=1.6, label=f"{sigma:g}")
    title(axes, "d  sum of Bell for smaller sigmas, in points")
    axes.legend(fontsize=8, frameon=False, labelcolor=INK, loc="lower right", ncols=2)
    axes.set_xlabel("prediction", fontsize=9, color=INK)
    axes.set_ylabel("loss", fontsize=9, color=INK)


def _draw_minima(axes: Axes, sweep: list[Minimum], widest: float) -> None:
    tidy(axes)
    axes.plot([s for s, _ in sweep], [p for _, p in sweep], ".", color=VERMILION, markersize=3.5)
    for sigma, label in ((widest, f"{widest:.2f}"), (BELL_SIGMA, f"{BELL_SIGMA:g}, the paper's")):
        axes.axvline(sigma, color=GREY, linestyle="--", linewidth=1.2)
        axes.text(sigma + 0.12, 0.635, label, fontsize=8, color=INK)
    axes.set_ylim(0.36, 0.66)
    axes.set_yticks(PAPER_BATCH)
    title(axes, "e  minima of the sum of Bell")
    axes.set_xlabel("sigma, in points", fontsize=9, color=INK)
    axes.set_ylabel("prediction", fontsize=9, color=INK)


def _draw_samples(axes: Axes) -> None:
    """Mark the scores of the samples."""
    tidy(axes)
    for truth in PAPER_BATCH:
        axes.axvline(truth, color=GREY, linestyle=":", linewidth=1)
    axes.set_xticks((0.2, *PAPER_BATCH, 0.8))
