"""What more clips would bring: the standard networks trained on an eighth, a quarter, half and all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure

from crnet.data.ceiling import attainable_metrics, read_ceiling
from crnet.data.dataset import stack_scores
from crnet.data.splits import OFFICIAL
from crnet.experiments.figures.drawing import image, leave, of_seeds, prose
from crnet.experiments.net_spec import NetSpec, UntrainedError
from crnet.experiments.predictors import network_scores
from crnet.experiments.rendering.rendered_table import Grid, Line
from crnet.experiments.workspace import Lab, Section
from crnet.report.style import (
    BLUE,
    FLOOR_LABEL,
    FLOOR_LINE,
    GREEN,
    INK,
    ORANGE,
    VERMILION,
    legend_below,
    new_figure,
    tidy,
    title,
)
from crnet.types import SPLITS, STREAMS, TARGETS, TRAITS, Split
from crnet.utils.number_format import decimal, difference

SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
FUSION = "fusion"
FIVE = [TARGETS.index(trait) for trait in TRAITS]
LABELS: dict[Split, str] = {"train": "the clips trained on", "val": "validation", "test": "test"}
COLOURS: dict[Split, str] = {"train": BLUE, "val": ORANGE, "test": VERMILION}
WORTH_IT = 0.001  # of the error: a doubling of the clips that brings less is called flat

Errors = dict[str, dict[int, dict[Split, list[float]]]]
"""System, number of training clips, split: mean absolute error over the five traits, one number a seed."""


@dataclass(frozen=True)
class Bounds:
    """Errors on the test split that the curves lie between.

    Attributes:
        floor: Of predicting the training median for everybody.
        ceiling: For each system, of the best that simulated clips allow; empty for other clips.
    """

    floor: float
    ceiling: Mapping[str, float]


class LearningCurve:
    """Errors over the number of training clips, for every stream and their fusion."""

    name = "learning-curve"
    title = "Learning curve: errors over the number of training clips"

    def nets(self, lab: Lab) -> tuple[NetSpec, ...]:
        """The standard networks on nested parts of the training clips."""
        return tuple(spec for clips in sizes(len(lab.rows("train"))) for spec in specs_of(lab, clips))

    def run(self, lab: Lab, folder: Path) -> Section:
        """Measure and draw; a size at which training failed is left out."""
        errors, bounds = measure(lab), bounds_of(lab)
        rows = [
            [system, clips, split, seed, one]
            for system, by_clips in errors.items()
            for clips, by_split in by_clips.items()
            for split, found in by_split.items()
            for seed, one in zip(lab.seeds, found, strict=True)
        ]
        header = ["system", "training_clips", "split", "seed", "mean_absolute_error"]
        files = leave(folder, self.name, _figure(errors, bounds), header, rows)
        data = {"errors": errors, "floor": bounds.floor, "ceiling": dict(bounds.ceiling), "conditions": lab.conditions}
        return Section(self.title, _words(files[0], lab, errors, bounds), files, data)


def sizes(clips: int) -> tuple[int, ...]:
    """How many training clips to learn from, ascending, each number once."""
    return tuple(dict.fromkeys(max(1, round(share * clips)) for share in SHARES))


def specs_of(lab: Lab, clips: int) -> tuple[NetSpec, ...]:
    """The standard networks of all streams on so many clips; on all clips they are the ones of every table."""
    part = None if clips == len(lab.rows("train")) else clips
    return tuple(NetSpec(stream, lab.base, part) for stream in lab.base.streams)


def measure(lab: Lab) -> Errors:
    """The errors of all systems; of the training split those of the clips that were trained on.

    Extra-trees know their training clips by heart, so that the fusion has no training error worth the name.
    """
    systems = (*lab.base.streams, *((FUSION,) if len(lab.base.streams) > 1 else ()))
    errors: Errors = {system: {} for system in systems}
    for clips in sizes(len(lab.rows("train"))):
        specs = specs_of(lab, clips)
        truth = {split: lab.truth(split) for split in SPLITS}
        truth["train"] = stack_scores(specs[0].training_rows(lab.manifest))
        failed = False
        for spec in specs:
            try:
                errors[spec.stream][clips] = {
                    split: [_error(truth[split], network_scores(lab, spec, seed, split)) for seed in lab.seeds]
                    for split in SPLITS
                }
            except UntrainedError:
                failed = True
        if FUSION in errors and not failed:
            held_out: tuple[Split, ...] = ("val", "test")
            errors[FUSION][clips] = {
                split: [_error(truth[split], lab.fused(specs, seed, lab.base.fusion, split)) for seed in lab.seeds]
                for split in held_out
            }
    return errors


def bounds_of(lab: Lab) -> Bounds:
    """Floor and, for simulated clips in the splits they were made with, ceiling on the test split."""
    truth, medians = lab.truth("test"), np.median(lab.truth("train"), axis=0)
    document = (read_ceiling(lab.store) if lab.protocol == OFFICIAL else None) or {}
    systems = (*lab.base.streams, *((FUSION,) if set(lab.base.streams) == set(STREAMS) else ()))
    best = {system: attainable_metrics(document, "test", system) for system in systems}
    ceiling = {system: 1 - float(found["average"]["accuracy"]) for system, found in best.items() if found}
    return Bounds(_error(truth, np.broadcast_to(medians, truth.shape)), ceiling)


def fall_a_doubling(by_clips: Mapping[int, Mapping[Split, Sequence[float]]]) -> float | None:
    """By how much the test error falls with each doubling of the clips: least squares over all; None for one size."""
    if len(by_clips) < 2:
        return None
    doublings = np.log2(list(by_clips))
    return -float(np.polyfit(doublings, [np.mean(found["test"]) for found in by_clips.values()], 1)[0])


def _error(truth: Float64[np.ndarray, "N 6"], scores: Float64[np.ndarray, "N 6"]) -> float:
    return float(np.abs(scores - truth)[:, FIVE].mean())


def _words(picture: Path, lab: Lab, errors: Errors, bounds: Bounds) -> str:
    lines = []
    for system, by_clips in errors.items():
        for clips, found in by_clips.items():
            cells = (of_seeds(found[split]) if split in found else "–" for split in SPLITS)
            lines.append(Line((system, f"{clips:,}", *cells)))
    lines.append(Line(("floor", "–", "–", "–", decimal(bounds.floor)), "floor"))
    lines += [
        Line((f"ceiling, {system}", "–", "–", "–", decimal(best)), "floor") for system, best in bounds.ceiling.items()
    ]
    grid = Grid("Learning curve", ("system", "clips", *(LABELS[split] for split in SPLITS)), tuple(lines))
    return prose(f"""
{image(picture, "Mean absolute error over the number of training clips, for each stream and their fusion")}

The paper has no such figure; it trains on all 6,000 clips of its training split.

{grid.to_markdown()}

Mean absolute errors over the five traits, mean and deviation over the seeds. {lab.conditions}
{_reading(errors, bounds)} The smaller parts lie within the larger ones; floor and ceiling are those of the test split.
All are trained for the same number of epochs, so that fewer clips also mean fewer steps.
""")


def _reading(errors: Errors, bounds: Bounds) -> str:
    said = []
    for system, by_clips in errors.items():
        fall = fall_a_doubling(by_clips)
        if fall is None:
            continue
        *_, before, last = (float(np.mean(found["test"])) for found in by_clips.values())
        final = by_clips[max(by_clips)]
        gap = ""
        if "train" in final:
            above = last - float(np.mean(final["train"]))
            gap = f"; test is {decimal(abs(above))} {'above' if above > 0 else 'below'} training"
        trend = "still falling" if before - last > WORTH_IT else "rising" if last - before > WORTH_IT else "flat"
        side = "below" if last < bounds.floor else "not below"
        said.append(
            f"{system.capitalize()}: each doubling changes the test error by {difference(-fall)}, the last one by "
            f"{difference(last - before)} ({trend}), to {decimal(last)}, {side} the floor{gap}."
        )
    return " ".join(said)


def _figure(errors: Errors, bounds: Bounds) -> Figure:
    columns = min(len(errors), 2)
    figure = new_figure(0.5 + 2.6 * -(-len(errors) // columns))
    panels = figure.subplots(-(-len(errors) // columns), columns, squeeze=False, sharey=True).ravel()
    for axes in panels[len(errors) :]:
        axes.set_axis_off()
    for place, (axes, (system, by_clips)) in enumerate(zip(panels, errors.items(), strict=False)):
        tidy(axes).set_xscale("log", base=2)
        for split in SPLITS:
            points = {clips: found[split] for clips, found in by_clips.items() if split in found}
            x = list(points)
            style = {"color": COLOURS[split], "linewidth": 1.6, "marker": "o", "markersize": 4.5}
            axes.plot(x, [np.mean(values) for values in points.values()], label=LABELS[split], **style)
            axes.fill_between(
                x,
                [min(values) for values in points.values()],
                [max(values) for values in points.values()],
                color=COLOURS[split],
                alpha=0.15,
                linewidth=0,
            )
        axes.axhline(bounds.floor, **FLOOR_LINE, label=FLOOR_LABEL)
        if bounds.ceiling:
            best = bounds.ceiling.get(system, float("nan"))
            axes.axhline(best, color=GREEN, linestyle=":", linewidth=1.6, label="best attainable in the test split")
        axes.set_xticks(list(by_clips), [f"{clips:,}" for clips in by_clips])
        axes.minorticks_off()
        title(axes, system)
        if place % columns == 0:
            axes.set_ylabel("mean absolute error", fontsize=9, color=INK)
        axes.set_xlabel("training clips", fontsize=9, color=INK)
    panels[0].set_ylim(bottom=0)
    legend_below(figure, panels[0])
    return figure
