"""Fig. 9: how the scores are distributed, and how many clips the classes hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure

from crnet.experiments.figures.drawing import csv_text, image, leave, listed, prose
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.workspace import Lab, Section
from crnet.models.cr_block import EDGES, class_of
from crnet.report.style import BLUE, GREY, INK, VERMILION, legend_below, new_figure, tidy, title
from crnet.types import TARGETS, TRAITS, Split
from crnet.utils.files import write_text

Scores = Float64[np.ndarray, "N 6"]

BIN_EDGES = [tenth / 10 for tenth in range(11)]  # Sec. 4.2.2; written so that 0.6 and 0.7 are the labels' 0.6 and 0.7
SHOWN: tuple[Split, ...] = ("train", "test")  # as in the caption of Fig. 9
MIDDLE = slice(5, 7)  # the two bins from 0.5 to 0.7, in which the paper sees most scores


class Histograms:
    """Fig. 9 of the paper with the edges of the classes."""

    name = "fig9"
    title = "Fig. 9: the distribution of the scores"

    def nets(self, lab: Lab) -> tuple[NetSpec, ...]:
        """None: only labels are looked at."""
        return ()

    def run(self, lab: Lab, folder: Path) -> Section:
        """Count, draw, and say how balanced the classes are."""
        truth = {split: lab.truth(split) for split in SHOWN}
        counts = {split: bin_counts(scores) for split, scores in truth.items()}
        classes = lab.base.model.classes
        held = class_shares(truth["train"], classes)
        rows = [
            [target, split, BIN_EDGES[b], BIN_EDGES[b + 1], int(counts[split][i, b])]
            for i, target in enumerate(TARGETS)
            for split in SHOWN
            for b in range(len(BIN_EDGES) - 1)
        ]
        files = leave(folder, self.name, _figure(counts, held), ["target", "split", "from", "below", "clips"], rows)
        table = folder / f"{self.name}_classes.csv"
        header = ["target", *(f"class_{k}" for k in range(classes))]
        write_text(table, csv_text(header, [[t, *map(float, held[i])] for i, t in enumerate(TARGETS)]))
        data = {"train_class_shares": dict(zip(TARGETS, held.tolist(), strict=True))}
        return Section(self.title, _words(files[0], counts, held), (*files, table), data)


def bin_counts(scores: Scores) -> np.ndarray:
    """Clips in each tenth of the scale, int [6, 10]; a score on an edge belongs to the upper bin, 1 to the last."""
    return np.stack([np.histogram(column, BIN_EDGES)[0] for column in scores.T])


def class_shares(scores: Scores, classes: int) -> np.ndarray:
    """Share of the clips in each class, float [6, classes]."""
    found = class_of(scores, classes)
    return np.stack([np.bincount(column, minlength=classes) / len(column) for column in found.T])


def _words(picture: Path, counts: Mapping[Split, np.ndarray], held: np.ndarray) -> str:
    traits = [TARGETS.index(trait) for trait in TRAITS]
    middle = counts["train"][traits, MIDDLE].sum(axis=1) / counts["train"][traits].sum(axis=1)
    fullest = [trait for trait, row in zip(TRAITS, counts["train"][traits], strict=True) if row.argmax() in (5, 6)]
    mean = held[traits].mean(axis=0)
    clips, classes = int(counts["train"][0].sum()), len(mean)
    of_classes = listed([f"{share:.0%}" for share in mean])
    always_largest = held[traits].max(axis=1).mean()
    return prose(f"""
{image(picture, "Histogram of the scores of each target, training and test split, with the edges of the classes")}

The paper (Sec. 4.2.2, Fig. 9): most scores lie between 0.5 and 0.7, whatever the trait, and four classes with the
edges {listed([str(edge) for edge in EDGES[4]])} are about balanced.

Ours ({clips:,} training clips): {middle.min():.0%} to {middle.max():.0%} of a trait's scores lie between 0.5 and 0.7,
and there lies the fullest bin of {len(fullest)} of the {len(TRAITS)} traits. The {classes} classes, from the lowest
scores up, hold {of_classes} of the labels (mean of the five traits): balanced would be {1 / classes:.0%} each. Naming
the largest class for everybody is right {always_largest:.0%} of the time, which is what the class accuracy of a
network has to be held against.
""")


def _figure(counts: Mapping[Split, np.ndarray], held: np.ndarray) -> Figure:
    figure = new_figure(5.2)
    edges = EDGES[held.shape[1]]
    middles = [0.0, *edges, 1.0]
    panels = figure.subplots(2, 3, sharex=True, sharey=True).ravel()
    shares = {split: rows / rows.sum(axis=1, keepdims=True) for split, rows in counts.items()}
    top = 1.22 * max(float(rows.max()) for rows in shares.values())
    for i, (axes, target) in enumerate(zip(panels, TARGETS, strict=True)):
        tidy(axes)
        axes.stairs(shares["train"][i], BIN_EDGES, fill=True, color=BLUE, alpha=0.45, label="training split")
        axes.stairs(shares["test"][i], BIN_EDGES, color=VERMILION, linewidth=1.8, label="test split")
        for edge in edges:
            axes.axvline(edge, color=GREY, linestyle=":", linewidth=1.1)
        if len(edges) <= 3:  # more would not be legible
            for k, share in enumerate(held[i]):
                place = (middles[k] + middles[k + 1]) / 2
                axes.text(place, 0.94 * top, f"{100 * share:.0f}", fontsize=8, ha="center", color=INK)
        axes.plot(
            [],
            [],
            color=GREY,
            linestyle=":",
            label="edges of the classes, and the percentage that each holds in training",
        )
        title(axes, target)
        axes.set_xlim(-0.01, 1.01)  # so that the sides of the outer bins are seen whole
        axes.set_ylim(0, top)
        axes.set_xticks(np.linspace(0, 1, 6))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        if i % 3 == 0:
            axes.set_ylabel("share of the clips", fontsize=9, color=INK)
        if i >= 3:
            axes.set_xlabel("score", fontsize=9, color=INK)
    legend_below(figure, panels[0])
    return figure
