"""Fig. 6: the three losses and their gradients over the error of the prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from crnet.experiments.figures.loss_shapes import LOSSES, Curve, range_where_bell_is_steeper, summed_loss
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.rendering.markdown import image_link, unwrap
from crnet.experiments.rendering.write_figure import write_figure
from crnet.experiments.workspace import Section, Workspace
from crnet.models.losses import BELL_GAMMA, BELL_REACH, BELL_SIGMA, SCORE_SCALE, bell_loss, l1_loss, mse_loss
from crnet.report.figure_style import BLUE, GREEN, GREY, INK, VERMILION, legend_below, new_figure, tidy, title

FARTHEST = 50.0  # points
ERRORS = np.linspace(-FARTHEST, FARTHEST, 5_001)  # points
CLOSE_UP = 2.0  # points, half the width of the close-up panel
STYLES = {"MSE": (GREEN, "--"), "L1": (VERMILION, "-."), "Bell": (BLUE, "-")}  # the line styles of Fig. 6


class LossGradients:
    """Fig. 6 of the paper, with the gradients that its text describes."""

    name = "fig6"
    title = "Fig. 6: the losses and their gradients"

    def networks(self, workspace: Workspace) -> tuple[NetSpec, ...]:
        """Return no networks: the figure is arithmetic."""
        return ()

    def run(self, workspace: Workspace, folder: Path) -> Section:
        """Draw the losses and find the errors at which Bell has the larger gradient."""
        curves = {name: summed_loss(loss, [0.0], ERRORS / SCORE_SCALE) for name, loss in LOSSES.items()}
        header = ["error_points", *(f"{quantity}_{name}" for name in LOSSES for quantity in ("loss", "gradient"))]
        columns = [ERRORS, *(column for pair in curves.values() for column in pair)]
        files = write_figure(folder, self.name, _figure(curves), header, np.stack(columns, 1).tolist())
        over_mse = range_where_bell_is_steeper(mse_loss, 0.01, FARTHEST)
        over_l1 = range_where_bell_is_steeper(l1_loss, 0.01, FARTHEST)
        steepest = float(BELL_GAMMA / BELL_SIGMA / np.exp(0.5))
        data = {"bell_over_mse": over_mse, "bell_over_l1": over_l1, "steepest_bell": steepest}
        return Section(self.title, _text(files[0], over_mse, over_l1, steepest), files, data)


def _text(picture: Path, over_mse: tuple[float, float], over_l1: tuple[float, float], steepest: float) -> str:
    at_1 = {name: summed_loss(loss, [0.0], np.array([1 / SCORE_SCALE]))[1][0] for name, loss in LOSSES.items()}
    reach = BELL_REACH * BELL_SIGMA
    at_reach = summed_loss(bell_loss, [0.0], np.array([reach / SCORE_SCALE]))[1][0]
    factor = at_1["Bell"] / at_1["MSE"]
    return unwrap(f"""
{image_link(picture, "Losses and gradients over the error of the prediction, in points")}

The paper (Sec. 3.3, Fig. 6): near the truth, MSE's gradient vanishes and L1's stays constant, while Bell's grows.

Here: gradients of the losses used in training (sigma = {BELL_SIGMA:g}, gamma = {BELL_GAMMA:g}, scores in points of
100). Bell's gradient exceeds MSE's for errors up to {over_mse[1]:.1f} points and is largest at {BELL_SIGMA:g} points
({steepest:.1f} per point). It grows as the error shrinks to {BELL_SIGMA:g} points. Below that, it vanishes as MSE's
does; near the truth it is {factor:.2f} times as large. At an error of one point the gradients are {at_1["Bell"]:.1f}
(Bell), {at_1["MSE"]:.1f} (MSE) and {at_1["L1"]:.1f} (L1). Below {over_l1[0]:.2f} points, L1 has the largest gradient of
the three. From {reach:g} points on, Bell has almost no gradient ({at_reach:.2f} per point).
""")


def _figure(curves: dict[str, tuple[Curve, Curve]]) -> Figure:
    figure = new_figure(3.5)
    panels = figure.subplots(1, 3)
    for axes, part, heading in zip(panels, (0, 1, 1), ("loss", "gradient", "gradient, close-up"), strict=True):
        tidy(axes)
        for name, pair in curves.items():
            colour, line = STYLES[name]
            axes.plot(ERRORS, pair[part], color=colour, linestyle=line, linewidth=1.8, label=name)
        title(axes, heading)
        axes.set_xlabel("prediction minus truth, in points", fontsize=9, color=INK)
    panels[0].set_ylim(0, 2 * BELL_GAMMA)
    panels[1].set_ylim(-45, 45)
    for sigma in (-BELL_SIGMA, BELL_SIGMA):
        panels[1].axvline(sigma, color=GREY, linestyle=":", linewidth=1)
    panels[1].text(BELL_SIGMA + 1, -41, f"sigma = {BELL_SIGMA:g}", fontsize=8, color=INK)
    panels[2].set_xlim(-CLOSE_UP, CLOSE_UP)
    panels[2].set_ylim(-8, 8)
    legend_below(figure, panels[0])
    return figure
