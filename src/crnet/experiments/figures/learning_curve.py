"""Learning curve: errors of the standard networks trained on an eighth, a quarter, half and all of the clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crnet.data.ceiling_file import attainable_metrics, read_ceiling
from crnet.data.dataset import stack_scores
from crnet.data.splits import OFFICIAL
from crnet.experiments.net_spec import NetSpec, UntrainedError
from crnet.experiments.rendering.markdown import image_link, unwrap
from crnet.experiments.rendering.rendered_table import RenderedRow, RenderedTable
from crnet.experiments.rendering.write_figure import write_figure
from crnet.experiments.score_methods import network_scores
from crnet.experiments.seed_statistics import mean_sd_text
from crnet.experiments.workspace import Section, Workspace
from crnet.metrics import AVERAGE
from crnet.report.figure_style import (
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
from crnet.types import SPLITS, STREAMS, TRAIT_INDICES, Split
from crnet.utils.number_format import decimal, difference

SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
FUSION = "fusion"
LABELS: dict[Split, str] = {"train": "training subset", "val": "validation", "test": "test"}
COLOURS: dict[Split, str] = {"train": BLUE, "val": ORANGE, "test": VERMILION}
FLAT = 0.001  # the text calls a curve flat if the last doubling of the clips changes the error by less

ErrorsBySplit = dict[Split, list[float]]
"""Mean absolute error over the five traits, one number per seed."""

Errors = dict[str, dict[int, ErrorsBySplit]]
"""Errors by system, number of training clips and split."""


@dataclass(frozen=True)
class Bounds:
    """Errors on the test split between which the curves lie.

    Attributes:
        floor: Error of predicting the training median for everyone.
        ceiling: Smallest error that synthetic clips allow, for each system; empty for other clips.
    """

    floor: float
    ceiling: Mapping[str, float]


class LearningCurve:
    """Errors over the number of training clips, for every stream and their fusion."""

    name = "learning-curve"
    title = "Learning curve: errors over the number of training clips"

    def networks(self, workspace: Workspace) -> tuple[NetSpec, ...]:
        """Return the standard networks on nested subsets of the training clips."""
        counts = clip_counts(len(workspace.rows("train")))
        return tuple(spec for clips in counts for spec in nets_on_subset(workspace, clips))

    def run(self, workspace: Workspace, folder: Path) -> Section:
        """Measure and draw the curves, without the sizes at which training failed."""
        errors, bounds = measure(workspace), measure_bounds(workspace)
        rows = [
            [system, clips, split, seed, error]
            for system, by_clips in errors.items()
            for clips, by_split in by_clips.items()
            for split, values in by_split.items()
            for seed, error in zip(workspace.seeds, values, strict=True)
        ]
        header = ["system", "training_clips", "split", "seed", "mean_absolute_error"]
        files = write_figure(folder, self.name, _figure(errors, bounds), header, rows)
        data = {"errors": errors, "floor": bounds.floor, "ceiling": dict(bounds.ceiling)}
        text = _text(files[0], workspace, errors, bounds)
        return Section(self.title, text, files, data | {"conditions": workspace.conditions})


def clip_counts(clips: int) -> tuple[int, ...]:
    """Return the sizes of the training subsets, ascending, without repetition."""
    return tuple(dict.fromkeys(max(1, round(share * clips)) for share in SHARES))


def nets_on_subset(workspace: Workspace, clips: int) -> tuple[NetSpec, ...]:
    """Return the standard networks of all streams on a number of clips; on all clips, they are those of the tables."""
    train_clips = None if clips == len(workspace.rows("train")) else clips
    return tuple(NetSpec(stream, workspace.base, train_clips) for stream in workspace.base.streams)


def measure(workspace: Workspace) -> Errors:
    """Return the errors of all systems; the training error is that of the training subset.

    The fusion has no meaningful training error, because extra-trees reproduce their training clips.
    """
    systems = (*workspace.base.streams, *((FUSION,) if len(workspace.base.streams) > 1 else ()))
    errors: Errors = {system: {} for system in systems}
    for clips in clip_counts(len(workspace.rows("train"))):
        specs = nets_on_subset(workspace, clips)
        truth = {split: workspace.truth(split) for split in SPLITS}
        truth["train"] = stack_scores(specs[0].training_rows(workspace.manifest))
        failed = False
        for spec in specs:
            try:
                errors[spec.stream][clips] = {
                    split: [
                        _error(truth[split], network_scores(workspace, spec, seed, split)) for seed in workspace.seeds
                    ]
                    for split in SPLITS
                }
            except UntrainedError:
                failed = True
        if FUSION in errors and not failed:
            errors[FUSION][clips] = _fusion_errors(workspace, specs, truth)
    return errors


def _fusion_errors(workspace: Workspace, specs: Sequence[NetSpec], truth: Mapping[Split, np.ndarray]) -> ErrorsBySplit:
    config = workspace.base.fusion
    splits: tuple[Split, ...] = ("val", "test")
    return {
        split: [_error(truth[split], workspace.fused_scores(specs, seed, config, split)) for seed in workspace.seeds]
        for split in splits
    }


def measure_bounds(workspace: Workspace) -> Bounds:
    """Return the floor on the test split and, for synthetic clips in their original splits, the ceiling."""
    document = (read_ceiling(workspace.store) if workspace.protocol == OFFICIAL else None) or {}
    streams = workspace.base.streams
    systems = (*streams, *((FUSION,) if set(streams) == set(STREAMS) else ()))
    best = {system: attainable_metrics(document, "test", system) for system in systems}
    ceiling = {system: 1 - float(metrics[AVERAGE]["accuracy"]) for system, metrics in best.items() if metrics}
    return Bounds(_error(workspace.truth("test"), workspace.floor("test")), ceiling)


def decrease_per_doubling(by_clips: Mapping[int, Mapping[Split, Sequence[float]]]) -> float | None:
    """Return the decrease of the test error per doubling of the clips, by least squares; None for a single size."""
    if len(by_clips) < 2:
        return None
    doublings = np.log2(list(by_clips))
    return -float(np.polyfit(doublings, [np.mean(by_split["test"]) for by_split in by_clips.values()], 1)[0])


def _error(truth: Float64[np.ndarray, "N 6"], scores: Float64[np.ndarray, "N 6"]) -> float:
    return float(np.abs(scores - truth)[:, TRAIT_INDICES].mean())


def _table(errors: Errors, bounds: Bounds) -> RenderedTable:
    rows = [
        RenderedRow(
            (
                system,
                f"{clips:,}",
                *(mean_sd_text(by_split[split]) if split in by_split else "–" for split in SPLITS),
            )
        )
        for system, by_clips in errors.items()
        for clips, by_split in by_clips.items()
    ]
    rows.append(RenderedRow(("floor", "–", "–", "–", decimal(bounds.floor)), "floor"))
    for system, best in bounds.ceiling.items():
        rows.append(RenderedRow((f"ceiling, {system}", "–", "–", "–", decimal(best)), "floor"))
    return RenderedTable("Learning curve", ("system", "clips", *(LABELS[split] for split in SPLITS)), tuple(rows))


def _text(picture: Path, workspace: Workspace, errors: Errors, bounds: Bounds) -> str:
    return unwrap(f"""
{image_link(picture, "Mean absolute error over the number of training clips, for each stream and their fusion")}

The paper has no such figure; it trains on all 6,000 clips of its training split.

{_table(errors, bounds).to_markdown()}

Mean absolute errors over the five traits; with several seeds, mean and standard deviation. {workspace.conditions}
{_trends(errors, bounds)} Each subset contains the smaller ones. Floor and ceiling are those of the test split. All
networks are trained for the same number of epochs, so fewer clips also mean fewer steps.
""")


def _trends(errors: Errors, bounds: Bounds) -> str:
    """Return a sentence for each system on the effect of more clips."""
    sentences = []
    for system, by_clips in errors.items():
        decrease = decrease_per_doubling(by_clips)
        if decrease is None:
            continue
        *_, before, last = (float(np.mean(by_split["test"])) for by_split in by_clips.values())
        all_clips = by_clips[max(by_clips)]
        gap = ""
        if "train" in all_clips:
            above = last - float(np.mean(all_clips["train"]))
            gap = f"; the test error is {decimal(abs(above))} {'above' if above > 0 else 'below'} the training error"
        trend = "still falling" if before - last > FLAT else "rising" if last - before > FLAT else "flat"
        side = "below" if last < bounds.floor else "not below"
        sentences.append(
            f"{system.capitalize()}: each doubling changes the test error by {difference(-decrease)}, the last one by "
            f"{difference(last - before)} ({trend}) to {decimal(last)}, {side} the floor{gap}."
        )
    return " ".join(sentences)


def _figure(errors: Errors, bounds: Bounds) -> Figure:
    columns = min(len(errors), 2)
    lines = -(-len(errors) // columns)
    figure = new_figure(0.5 + 2.6 * lines)
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for axes in panels[len(errors) :]:
        axes.set_axis_off()
    for place, (axes, (system, by_clips)) in enumerate(zip(panels, errors.items(), strict=False)):
        _draw_curves(axes, by_clips)
        axes.axhline(bounds.floor, **FLOOR_LINE, label=FLOOR_LABEL)
        if bounds.ceiling:
            best = bounds.ceiling.get(system, float("nan"))
            axes.axhline(best, color=GREEN, linestyle=":", linewidth=1.6, label="ceiling of the test split")
        title(axes, system)
        if place % columns == 0:
            axes.set_ylabel("mean absolute error", fontsize=9, color=INK)
        axes.set_xlabel("training clips", fontsize=9, color=INK)
    panels[0].set_ylim(bottom=0)
    legend_below(figure, panels[0])
    return figure


def _draw_curves(axes: Axes, by_clips: Mapping[int, ErrorsBySplit]) -> None:
    """Draw mean and range over the seeds for each split."""
    tidy(axes).set_xscale("log", base=2)
    for split in SPLITS:
        points = {clips: by_split[split] for clips, by_split in by_clips.items() if split in by_split}
        x, colour = list(points), COLOURS[split]
        means = [np.mean(values) for values in points.values()]
        axes.plot(x, means, color=colour, linewidth=1.6, marker="o", markersize=4.5, label=LABELS[split])
        low, high = [min(values) for values in points.values()], [max(values) for values in points.values()]
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xticks(list(by_clips), [f"{clips:,}" for clips in by_clips])
    axes.minorticks_off()
