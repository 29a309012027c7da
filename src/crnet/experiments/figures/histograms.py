"""Fig. 9: the distribution of the scores, and the shares of the classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crnet.experiments.net_spec import NetSpec
from crnet.experiments.rendering.csv_text import csv_text
from crnet.experiments.rendering.markdown import image_link, unwrap
from crnet.experiments.rendering.write_figure import DECIMALS, write_figure
from crnet.experiments.workspace import Section, Workspace
from crnet.models.classes import EDGES, class_indices
from crnet.report.figure_style import BLUE, GREY, INK, VERMILION, legend_below, new_figure, tidy, title
from crnet.types import TARGETS, TRAIT_INDICES, TRAITS, Split, target_label
from crnet.utils.files import write_text
from crnet.utils.text_format import join_words

Scores = Float64[np.ndarray, "N 6"]

BIN_EDGES = [tenth / 10 for tenth in range(11)]  # Sec. 4.2.2; each edge equals the label of the same decimal exactly
SPLITS_SHOWN: tuple[Split, ...] = ("train", "test")  # as in the caption of Fig. 9
MIDDLE = slice(5, 7)  # the bins from 0.5 to 0.7, where most scores lie according to the paper


class Histograms:
    """Fig. 9 of the paper with the edges of the classes."""

    name = "fig9"
    title = "Fig. 9: the distribution of the scores"

    def networks(self, workspace: Workspace) -> tuple[NetSpec, ...]:
        """Return no networks: the figure shows labels only."""
        return ()

    def run(self, workspace: Workspace, folder: Path) -> Section:
        """Count the scores, draw the histograms and describe the balance of the classes."""
        truth = {split: workspace.truth(split) for split in SPLITS_SHOWN}
        counts = {split: bin_counts(scores) for split, scores in truth.items()}
        classes = workspace.base.model.classes
        shares = class_shares(truth["train"], classes)
        rows = [
            [target, split, BIN_EDGES[b], BIN_EDGES[b + 1], int(counts[split][i, b])]
            for i, target in enumerate(TARGETS)
            for split in SPLITS_SHOWN
            for b in range(len(BIN_EDGES) - 1)
        ]
        header = ["target", "split", "from", "below", "clips"]
        files = write_figure(folder, self.name, _figure(counts, shares), header, rows)
        table = folder / f"{self.name}_classes.csv"
        header = ["target", *(f"class_{k}" for k in range(classes))]
        write_text(table, csv_text(header, [[t, *map(float, shares[i])] for i, t in enumerate(TARGETS)], DECIMALS))
        data = {"train_class_shares": dict(zip(TARGETS, shares.tolist(), strict=True))}
        return Section(self.title, _text(files[0], counts, shares), (*files, table), data)


def bin_counts(scores: Scores) -> np.ndarray:
    """Count the clips in each tenth of the scale, int [6, 10]; an edge belongs to the upper bin, and 1 to the last."""
    return np.stack([np.histogram(column, BIN_EDGES)[0] for column in scores.T])


def class_shares(scores: Scores, classes: int) -> np.ndarray:
    """Return the share of the clips in each class, float [6, classes]."""
    labels = class_indices(scores, classes)
    return np.stack([np.bincount(column, minlength=classes) / len(column) for column in labels.T])


def _text(picture: Path, counts: Mapping[Split, np.ndarray], shares: np.ndarray) -> str:
    by_trait = counts["train"][TRAIT_INDICES]
    middle = by_trait[:, MIDDLE].sum(axis=1) / by_trait.sum(axis=1)
    peaks_in_middle = sum(int(row.argmax()) in (5, 6) for row in by_trait)
    mean = shares[TRAIT_INDICES].mean(axis=0)
    clips, classes = int(counts["train"][0].sum()), len(mean)
    percentages = join_words([f"{share:.0%}" for share in mean])
    always_largest = shares[TRAIT_INDICES].max(axis=1).mean()
    return unwrap(f"""
{image_link(picture, "Histogram of the scores of each target in the training and test splits, with the class edges")}

The paper (Sec. 4.2.2, Fig. 9): most scores lie between 0.5 and 0.7 for every trait, and four classes with the edges
{join_words([str(edge) for edge in EDGES[4]])} are about balanced.

Here ({clips:,} training clips): {middle.min():.0%} to {middle.max():.0%} of a trait's scores lie between 0.5 and 0.7,
and the fullest bin lies there for {peaks_in_middle} of the {len(TRAITS)} traits. The {classes} classes, from low to
high scores, hold {percentages} of the labels (mean over the five traits); balanced classes would hold
{1 / classes:.0%} each. Always choosing the largest class is right {always_largest:.0%} of the time; compare a network's
class accuracy with that.
""")


def _figure(counts: Mapping[Split, np.ndarray], class_shares: np.ndarray) -> Figure:
    figure = new_figure(5.2)
    panels = figure.subplots(2, 3, sharex=True, sharey=True).ravel()
    shares = {split: rows / rows.sum(axis=1, keepdims=True) for split, rows in counts.items()}
    top = 1.22 * max(float(rows.max()) for rows in shares.values())
    for i, (axes, target) in enumerate(zip(panels, TARGETS, strict=True)):
        tidy(axes)
        axes.stairs(shares["train"][i], BIN_EDGES, fill=True, color=BLUE, alpha=0.45, label="training split")
        axes.stairs(shares["test"][i], BIN_EDGES, color=VERMILION, linewidth=1.8, label="test split")
        _draw_classes(axes, class_shares[i], text_y=0.94 * top)
        title(axes, target_label(target))
        axes.set_xlim(-0.01, 1.01)  # shows the outer sides of the first and last bin
        axes.set_ylim(0, top)
        axes.set_yticks([tick for tick in axes.get_yticks() if tick <= 1])  # room above for the percentages
        axes.set_xticks(np.linspace(0, 1, 6))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        if i % 3 == 0:
            axes.set_ylabel("share of the clips", fontsize=9, color=INK)
        if i >= 3:
            axes.set_xlabel("score", fontsize=9, color=INK)
    legend_below(figure, panels[0])
    return figure


def _draw_classes(axes: Axes, shares: np.ndarray, text_y: float) -> None:
    """Draw the class edges and, for up to four classes, their percentages; more would be illegible."""
    edges = EDGES[len(shares)]
    for edge in edges:
        axes.axvline(edge, color=GREY, linestyle=":", linewidth=1.1)
    if len(edges) <= 3:
        bounds = [0.0, *edges, 1.0]
        for k, share in enumerate(shares):
            x = (bounds[k] + bounds[k + 1]) / 2
            axes.text(x, text_y, f"{100 * share:.0f}", fontsize=8, ha="center", color=INK)
    axes.plot([], [], color=GREY, linestyle=":", label="class edges, and each class's percentage in the training split")
