"""Fig. 6: the three losses and their slopes, over how far the prediction is off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from crnet.experiments.figures.drawing import image, leave, prose
from crnet.experiments.figures.loss_shapes import LOSSES, Curve, points_where_steeper, summed
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.workspace import Lab, Section
from crnet.models.losses import BELL_GAMMA, BELL_REACH, BELL_SIGMA, SCORE_SCALE, bell_loss, l1_loss, mse_loss
from crnet.report.style import BLUE, GREEN, GREY, INK, VERMILION, legend_below, new_figure, tidy, title

FARTHEST = 50.0  # points
OFF = np.linspace(-FARTHEST, FARTHEST, 5_001)  # points
NEAR = 2.0  # points of the panel that looks at the end of the way
STYLES = {"MSE": (GREEN, "--"), "L1": (VERMILION, "-."), "Bell": (BLUE, "-")}  # the line styles of Fig. 6


class Slopes:
    """Fig. 6 of the paper, with the slopes that it speaks of drawn."""

    name = "fig6"
    title = "Fig. 6: the losses and their gradients"

    def nets(self, lab: Lab) -> tuple[NetSpec, ...]:
        """None: this is arithmetic."""
        return ()

    def run(self, lab: Lab, folder: Path) -> Section:
        """Draw, and say where which loss is the steeper one."""
        curves = {name: summed(loss, [0.0], OFF / SCORE_SCALE) for name, loss in LOSSES.items()}
        header = ["points_off", *(f"{what}_{name}" for name in LOSSES for what in ("loss", "gradient"))]
        columns = [OFF, *(column for pair in curves.values() for column in pair)]
        files = leave(folder, self.name, _figure(curves), header, np.stack(columns, 1).tolist())
        over_mse = points_where_steeper(mse_loss, 0.01, FARTHEST)
        over_l1 = points_where_steeper(l1_loss, 0.01, FARTHEST)
        steepest = BELL_GAMMA / BELL_SIGMA / np.exp(0.5)
        data = {"bell_over_mse": over_mse, "bell_over_l1": over_l1, "steepest_bell": float(steepest)}
        return Section(self.title, _words(files[0], over_mse, over_l1, float(steepest)), files, data)


def _words(picture: Path, over_mse: tuple[float, float], over_l1: tuple[float, float], steepest: float) -> str:
    at_1 = {name: summed(loss, [0.0], np.array([1 / SCORE_SCALE]))[1][0] for name, loss in LOSSES.items()}
    reach = BELL_REACH * BELL_SIGMA
    left = summed(bell_loss, [0.0], np.array([reach / SCORE_SCALE]))[1][0]
    factor = at_1["Bell"] / at_1["MSE"]
    return prose(f"""
{image(picture, "Losses and gradients over the points that a prediction is off")}

The paper (Sec. 3.3, Fig. 6): near the truth MSE's gradient fades and L1's stays the same, while Bell's grows.

Ours, differentiated from the losses that are trained with (sigma = {BELL_SIGMA:g}, gamma = {BELL_GAMMA:g}, scores in
points of 100): Bell's gradient is steeper than MSE's up to {over_mse[1]:.1f} points off and greatest at
{BELL_SIGMA:g} ({steepest:.1f} a point). So it grows on the way down to there, but within {BELL_SIGMA:g} points it
fades to 0 as MSE's does, at first {factor:.2f} times as steep. One point off the gradients are {at_1["Bell"]:.1f}
(Bell), {at_1["MSE"]:.1f} (MSE) and {at_1["L1"]:.1f} (L1); closer than {over_l1[0]:.2f} points L1's is the steepest of
the three. From {reach:g} points off on Bell hardly pulls any more ({left:.2f} a point).
""")


def _figure(curves: dict[str, tuple[Curve, Curve]]) -> Figure:
    figure = new_figure(3.5)
    panels = figure.subplots(1, 3)
    for axes, part, words in zip(panels, (0, 1, 1), ("loss", "gradient", "gradient, close up"), strict=True):
        tidy(axes)
        for name, pair in curves.items():
            colour, line = STYLES[name]
            axes.plot(OFF, pair[part], color=colour, linestyle=line, linewidth=1.8, label=name)
        title(axes, words)
        axes.set_xlabel("prediction less truth, in points", fontsize=9, color=INK)
    panels[0].set_ylim(0, 2 * BELL_GAMMA)
    panels[1].set_ylim(-45, 45)
    for side in (-BELL_SIGMA, BELL_SIGMA):
        panels[1].axvline(side, color=GREY, linestyle=":", linewidth=1)
    panels[1].text(BELL_SIGMA + 1, -41, f"sigma = {BELL_SIGMA:g}", fontsize=8, color=INK)
    panels[2].set_xlim(-NEAR, NEAR)
    panels[2].set_ylim(-8, 8)
    legend_below(figure, panels[0])
    return figure
