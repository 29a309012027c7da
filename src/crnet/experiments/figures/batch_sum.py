"""Fig. 5: what a batch with the scores 0.4, 0.5 and 0.6 costs, over the one prediction given to all three."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crnet.experiments.figures.drawing import image, leave, listed, prose
from crnet.experiments.figures.loss_shapes import (
    LOSSES,
    PAPER_BATCH,
    Curve,
    bell,
    minima,
    summed,
    widest_with_side_minima,
)
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.workspace import Lab, Section
from crnet.models.losses import BELL_SIGMA, SCORE_SCALE
from crnet.report.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILION, new_figure, tidy, title

PREDICTIONS = np.linspace(0.2, 0.8, 601)
SIGMAS = (BELL_SIGMA, 6.0, 4.0, 3.0, 2.0)  # in points; the paper's first
SIGMA_COLOURS = (VERMILION, ORANGE, GREEN, BLUE, PURPLE)
SWEEP = np.linspace(1.0, 12.0, 56)  # sigmas, in points, of the panel that shows where the minima lie
LETTERS = {"MSE": "a", "L1": "b", "Bell": "c"}


class BatchSum:
    """Fig. 5 of the paper, and what it leaves out: the same over the width of Bell."""

    name = "fig5"
    title = "Fig. 5: the losses of a batch, summed"

    def nets(self, lab: Lab) -> tuple[NetSpec, ...]:
        """None: this is arithmetic."""
        return ()

    def run(self, lab: Lab, folder: Path) -> Section:
        """Draw, and say where the minima are."""
        widest = widest_with_side_minima(PAPER_BATCH)
        sums = {name: summed(loss, PAPER_BATCH, PREDICTIONS)[0] for name, loss in LOSSES.items()}
        bells = {sigma: summed(bell(sigma), PAPER_BATCH, PREDICTIONS)[0] for sigma in SIGMAS}
        places = [(float(sigma), place) for sigma in SWEEP for place in minima(bell(float(sigma)), PAPER_BATCH)]
        header = ["prediction", *(f"sum_{name}" for name in sums), *(f"sum_Bell_sigma_{s:g}" for s in bells)]
        columns = [PREDICTIONS, *sums.values(), *bells.values()]
        files = leave(folder, self.name, _figure(sums, bells, places, widest), header, np.stack(columns, 1).tolist())
        of = {name: minima(loss, PAPER_BATCH) for name, loss in LOSSES.items()}
        data = {"minima": of, "minima_at_sigma_4": minima(bell(4.0), PAPER_BATCH), "widest_sigma": widest}
        return Section(self.title, _words(files[0], of, widest), files, data)


def _words(picture: Path, of: dict[str, list[float]], widest: float) -> str:
    spacing = (PAPER_BATCH[1] - PAPER_BATCH[0]) * SCORE_SCALE
    at_4 = minima(bell(4.0), PAPER_BATCH)
    least = at_4[int(np.argmin(summed(bell(4.0), PAPER_BATCH, np.array(at_4))[0]))]
    found = "; at ".join(f"{_listed(places)} ({name})" for name, places in of.items())
    verb = "one minimum too, at" if len(of["Bell"]) == 1 else "minima at"
    apart = BELL_SIGMA * spacing / widest
    return prose(f"""
{image(picture, "Summed losses over the prediction, and where the minima of the summed Bell lie over sigma")}

The paper (Sec. 3.3.1, Fig. 5): MSE and L1, summed over samples at 0.4, 0.5 and 0.6, are least at the mean; Bell is
made so that it is not.

Ours: the sums have their minima at {found}. With the paper's sigma of {BELL_SIGMA:g} points Bell has {verb}
{_listed(of["Bell"])}. Side minima appear only below sigma = {widest:.2f} points: at 4 points they are
{_listed(at_4)}, and of these the least is still {least:.3f}. What counts is sigma over the distance of the samples:
at sigma = {BELL_SIGMA:g} they would have to be {apart:.0f} points apart instead of {spacing:.0f}. Bell does forgive
samples far off (its ends are flat), but it does not keep neighbouring scores apart.
""")


def _listed(places: list[float]) -> str:
    return listed([f"{place:.3f}" for place in places])


def _figure(
    sums: dict[str, Curve], bells: dict[float, Curve], places: list[tuple[float, float]], widest: float
) -> Figure:
    figure = new_figure(5.6)
    upper, lower = figure.subfigures(2, 1, squeeze=False).ravel()
    above, below = upper.subplots(1, 3), lower.subplots(1, 2)
    for axes, (name, total) in zip(above, sums.items(), strict=True):
        _samples(axes)
        for truth in PAPER_BATCH:
            alone = summed(LOSSES[name], [truth], PREDICTIONS)[0]
            axes.plot(PREDICTIONS, alone, color=SKY, linewidth=1.1, label="one sample" if truth == 0.5 else None)
        axes.plot(PREDICTIONS, total, color=VERMILION, linewidth=2, label="sum of the three")
        title(axes, f"{LETTERS[name]}  {name}" + (f", sigma = {BELL_SIGMA:g}" if name == "Bell" else ""))
        axes.set_xlabel("prediction", fontsize=9, color=INK)
    above[0].set_ylabel("loss", fontsize=9, color=INK)
    above[0].legend(fontsize=8, labelcolor=INK, loc="upper center", facecolor="white", edgecolor="none", framealpha=1)
    _samples(below[0])
    for (sigma, total), colour in zip(bells.items(), SIGMA_COLOURS, strict=True):
        below[0].plot(PREDICTIONS, total, color=colour, linewidth=1.6, label=f"{sigma:g}")
    title(below[0], "d  sum of Bell for narrower sigma, in points")
    below[0].legend(fontsize=8, frameon=False, labelcolor=INK, loc="lower right", ncols=2)
    below[0].set_xlabel("prediction", fontsize=9, color=INK)
    below[0].set_ylabel("loss", fontsize=9, color=INK)
    _minima_panel(below[1], places, widest)
    return figure


def _minima_panel(axes: Axes, places: list[tuple[float, float]], widest: float) -> None:
    tidy(axes)
    axes.plot([s for s, _ in places], [p for _, p in places], ".", color=VERMILION, markersize=3.5)
    for sigma, words in ((widest, f"{widest:.2f}"), (BELL_SIGMA, f"{BELL_SIGMA:g}, the paper's")):
        axes.axvline(sigma, color=GREY, linestyle="--", linewidth=1.2)
        axes.text(sigma + 0.12, 0.635, words, fontsize=8, color=INK)
    axes.set_ylim(0.36, 0.66)
    axes.set_yticks(PAPER_BATCH)
    title(axes, "e  where the sum of Bell has minima")
    axes.set_xlabel("sigma, in points", fontsize=9, color=INK)
    axes.set_ylabel("prediction", fontsize=9, color=INK)


def _samples(axes: Axes) -> None:
    tidy(axes)
    for truth in PAPER_BATCH:
        axes.axvline(truth, color=GREY, linestyle=":", linewidth=1)
    axes.set_xticks((0.2, *PAPER_BATCH, 0.8))
