"""Training diagnostics: score, spread and class accuracy by epoch, and the confusion of the classes.

The curves come from the standard networks' `log.jsonl` (see `crnet.training.log`), the confusion from the networks'
class logits on the validation split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Int64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crnet.data.dataset import ClipDataset, load_batches
from crnet.experiments.net_spec import NetSpec, UntrainedError
from crnet.experiments.rendering.csv_text import csv_text
from crnet.experiments.rendering.markdown import image_link, unwrap
from crnet.experiments.rendering.write_figure import DECIMALS, write_figure
from crnet.experiments.workspace import Section, Workspace
from crnet.metrics import AVERAGE
from crnet.models.classes import EDGES, class_indices
from crnet.models.inference import BATCH_SIZE
from crnet.report.figure_style import (
    BLUE,
    FLOOR_LABEL,
    FLOOR_LINE,
    GREY,
    INK,
    VERMILION,
    legend_below,
    new_figure,
    tidy,
    title,
)
from crnet.report.training_figures import Log, mark_best, mark_stages, read_logs, regression_epochs
from crnet.training.log import OVERFITTING_DROP
from crnet.types import TRAIT_INDICES, Stream
from crnet.utils.device import choose_device
from crnet.utils.files import write_text
from crnet.utils.number_format import decimal, percent
from crnet.utils.text_format import join_words

SPLIT_COLOURS = {"train": BLUE, "val": VERMILION}
SPLIT_LABELS = {"train": "training", "val": "validation"}

EPOCH_METRICS = ("accuracy", "spread", "class_accuracy", "classification")
EPOCH_HEADER = [
    *("stream", "seed", "stage", "epoch"),
    *(f"{split}_{name}" for split in SPLIT_LABELS for name in EPOCH_METRICS),
    *("selected", "overfitting"),
]

Confusion = Int64[np.ndarray, "n n"]
"""Number of scores by true class (row) and predicted class (column), over all six targets."""


@dataclass(frozen=True)
class TurningPoint:
    """The best epoch of stage 2 on validation, and the development after it.

    Attributes:
        epoch, epochs: The best epoch of stage 2, from 1, and the number of its epochs.
        val, train: 1 - MAE over the five traits, at the best epoch and at the last one.
        warned: Epochs of stage 2 in which the log warns of overfitting.
        warning: The last warning; "" if there is none.
    """

    epoch: int
    epochs: int
    val: tuple[float, float]
    train: tuple[float, float]
    warned: tuple[int, ...]
    warning: str

    @classmethod
    def from_log(cls, rows: Log) -> Self | None:
        """Read the turning point from a log; None without validated epochs of stage 2."""
        regression = [row for _, row in regression_epochs(rows) if row["val"]]
        if not regression or any(row["val"]["accuracy"][AVERAGE] is None for row in regression):
            return None
        val, train = ([float(row[split]["accuracy"][AVERAGE]) for row in regression] for split in ("val", "train"))
        best = int(np.argmax(val))
        warned = [row for row in regression if row["overfitting"]]
        return cls(
            epoch=regression[best]["epoch"],
            epochs=regression[-1]["epochs"],
            val=(val[best], val[-1]),
            train=(train[best], train[-1]),
            warned=tuple(row["epoch"] for row in warned),
            warning=warned[-1]["overfitting"] if warned else "",
        )


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Diagnosis of one stream: log and turning point of each seed, and the confusion over all seeds."""

    logs: Mapping[int, Log]
    turning_points: Mapping[int, TurningPoint | None]
    confusion: Confusion


@dataclass(frozen=True)
class Floors:
    """Scores of one answer for everyone on validation.

    Attributes:
        accuracy: 1 - MAE of the training median, over the five traits.
        class_accuracy: Share of correct classes when each target gets its largest training class, over the six targets.
    """

    accuracy: float
    class_accuracy: float

    @classmethod
    def measure(cls, workspace: Workspace) -> Self:
        """Measure the floors on the labels."""
        train, val, classes = workspace.truth("train"), workspace.truth("val"), workspace.base.model.classes
        errors = np.abs(workspace.floor("val") - val)[:, TRAIT_INDICES]
        largest = [np.bincount(column, minlength=classes).argmax() for column in class_indices(train, classes).T]
        return cls(float(1 - errors.mean()), float((class_indices(val, classes) == largest).mean()))


class Diagnostics:
    """Training against validation, epoch by epoch."""

    name = "diagnostics"
    title = "Training diagnostics: overfitting and confusion of the classes"

    def networks(self, workspace: Workspace) -> tuple[NetSpec, ...]:
        """Return the standard networks."""
        return workspace.standard_nets()

    def run(self, workspace: Workspace, folder: Path) -> Section:
        """Read the logs, count the confusions, draw both and describe the turning points."""
        diagnoses: dict[Stream, Diagnosis] = {}
        for spec in self.networks(workspace):
            try:
                diagnoses[spec.stream] = diagnose(workspace, spec)
            except UntrainedError:
                continue
        if not diagnoses:
            return Section(self.title, "Left out: training failed for every network.\n")
        floors = Floors.measure(workspace)
        rows = [
            row
            for stream, diagnosis in diagnoses.items()
            for seed, log in diagnosis.logs.items()
            for row in _csv_rows(stream, seed, log)
        ]
        files = write_figure(folder, self.name, _figure(diagnoses, floors), EPOCH_HEADER, rows)
        confusions = folder / f"{self.name}_confusion.csv"
        write_text(confusions, _confusions_csv(diagnoses))
        data: dict[str, Any] = {stream: _to_json(diagnosis) for stream, diagnosis in diagnoses.items()}
        return Section(self.title, _text(files[0], workspace, diagnoses, floors), (*files, confusions), data)


def diagnose(workspace: Workspace, spec: NetSpec) -> Diagnosis:
    """Return logs, turning points and confusion of a network over the workspace's seeds."""
    seeds = workspace.seeds
    logs = {seed: read_logs(workspace.folder(spec, seed).parent).get(spec.stream, []) for seed in seeds}
    classes = spec.config.model.classes
    true = class_indices(workspace.truth("val"), classes)
    counts = np.sum([confusion(true, predicted_classes(workspace, spec, seed), classes) for seed in seeds], axis=0)
    return Diagnosis(logs, {seed: TurningPoint.from_log(log) for seed, log in logs.items()}, counts)


def confusion(true: Int64[np.ndarray, "N 6"], predicted: Int64[np.ndarray, "N 6"], classes: int) -> Confusion:
    """Count the pairs of true and predicted class over all targets."""
    return np.bincount((true * classes + predicted).ravel(), minlength=classes**2).reshape(classes, classes)


@torch.inference_mode()
def predicted_classes(workspace: Workspace, spec: NetSpec, seed: int) -> Int64[np.ndarray, "N 6"]:
    """Return the most probable class of every validation clip and target."""
    device = choose_device(workspace.base.training.device)
    net = workspace.net(spec, seed).to(device).eval()
    clips = ClipDataset(workspace.store, workspace.rows("val"), spec.config.transforms, [spec.stream])
    batches = load_batches(clips, BATCH_SIZE, workers=workspace.base.training.workers)
    return np.concatenate([net(batch.to(device)).logits.argmax(-1).cpu().numpy() for batch in batches])


def _to_json(diagnosis: Diagnosis) -> dict[str, Any]:
    best = {str(seed): point.epoch if point else None for seed, point in diagnosis.turning_points.items()}
    return {"best_epoch": best, "confusion": diagnosis.confusion.tolist()}


def _csv_rows(stream: Stream, seed: int, log: Log) -> list[list[object]]:
    return [
        [
            *(stream, seed, row["stage"], row["epoch"]),
            *(_metric(row, split, name) for split in SPLIT_LABELS for name in EPOCH_METRICS),
            *(int(row["best"]), row["overfitting"] or ""),
        ]
        for row in log
    ]


def _confusions_csv(diagnoses: Mapping[Stream, Diagnosis]) -> str:
    cells = [
        [stream, true, predicted, int(count)]
        for stream, diagnosis in diagnoses.items()
        for (true, predicted), count in np.ndenumerate(diagnosis.confusion)
    ]
    return csv_text(["stream", "true_class", "predicted_class", "scores"], cells, DECIMALS)


def _metric(row: Mapping[str, Any], split: str, name: str) -> float | None:
    """Return a metric of an epoch, averaged over the traits if it is by target; None without such a split."""
    value = (row[split] or {}).get(name)
    return value[AVERAGE] if isinstance(value, Mapping) else value


def _text(picture: Path, workspace: Workspace, diagnoses: Mapping[Stream, Diagnosis], floors: Floors) -> str:
    edges = join_words([str(edge) for edge in EDGES[workspace.base.model.classes]])
    failed = [stream for stream in workspace.base.streams if stream not in diagnoses]
    failed_note = f" Left out because training failed: {join_words(failed)}." if failed else ""
    paragraphs = "\n\n".join(_stream_text(stream, diagnosis, floors) for stream, diagnosis in diagnoses.items())
    return unwrap(f"""
{image_link(picture, "Training and validation by epoch: 1 - MAE, spread, class accuracy; confusion of the classes")}

The paper shows no such curves.

{paragraphs}

Curves: seed {workspace.seeds[0]} in full colour, other seeds pale; a ring marks the selected network. Spread is the
standard deviation of the predictions over that of the truth. The class edges are {edges}. The matrices cover all six
targets of all validation clips and seeds; each row is a true class and adds up to 100%. Training metrics are measured
during the epoch, while the network changes, and on random frames.{failed_note}
""")


def _stream_text(stream: Stream, diagnosis: Diagnosis, floors: Floors) -> str:
    seeds = " ".join(_seed_text(seed, point) for seed, point in diagnosis.turning_points.items())
    counts = diagnosis.confusion
    total, distance = counts.sum(), np.abs(np.subtract.outer(*[np.arange(len(counts))] * 2))
    return (
        f"**{stream.capitalize()}.** {seeds} The classification is right for {percent(counts.trace() / total)} of the "
        f"validation scores (always the largest class: {percent(floors.class_accuracy)}), one class off for "
        f"{percent(counts[distance == 1].sum() / total)}, and further off for "
        f"{percent(counts[distance > 1].sum() / total)}."
    )


def _seed_text(seed: int, point: TurningPoint | None) -> str:
    if point is None:
        return f"Seed {seed}: no epoch of stage 2 was validated."
    drop = point.val[0] - point.val[1]
    if point.epoch == point.epochs:
        development = f"validation was best in the last epoch ({decimal(point.val[0])}), with no turning point yet"
    else:
        turned = "peaked and fell" if drop > OVERFITTING_DROP else "levelled off"
        development = (
            f"validation {turned} after epoch {point.epoch} of {point.epochs}, from {decimal(point.val[0])} to "
            f"{decimal(point.val[1])} at the end, while training went from {decimal(point.train[0])} to "
            f"{decimal(point.train[1])}"
        )
    warnings = "the log never warns of overfitting"
    if point.warned:
        epochs = "epoch" if len(point.warned) == 1 else "epochs"
        warnings = (
            f"the log warns of overfitting in {len(point.warned)} {epochs}, last in epoch {point.warned[-1]}: "
            f'"{point.warning}"'
        )
    return f"Seed {seed}: {development}; the gap at the end is {decimal(point.train[1] - point.val[1])}; {warnings}."


def _figure(diagnoses: Mapping[Stream, Diagnosis], floors: Floors) -> Figure:
    figure = new_figure(9.6)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[6.6, 3.0]).ravel()
    curves = upper.subplots(3, len(diagnoses), squeeze=False, sharex="col", sharey="row")
    matrices = lower.subplots(1, len(diagnoses), squeeze=False)[0]
    for panels, matrix, (stream, diagnosis) in zip(curves.T, matrices, diagnoses.items(), strict=True):
        _draw_curves(panels, diagnosis, floors)
        title(panels[0], stream)
        _draw_confusion(matrix, diagnosis.confusion)
    labels = ("1 - MAE,\nfive traits", "spread,\nfive traits", "class accuracy")
    for axes, label in zip(curves[:, 0], labels, strict=True):
        axes.set_ylabel(label, fontsize=9, color=INK)
    matrices[0].set_ylabel("true class", fontsize=9, color=INK)
    legend_below(upper, curves[0][0])
    return figure


def _draw_curves(panels: Sequence[Axes], diagnosis: Diagnosis, floors: Floors) -> None:
    """Draw score, spread and class accuracy of every seed, one below the other."""
    for axes in panels:
        tidy(axes)
    for place, log in enumerate(diagnosis.logs.values()):
        _draw_log(panels, log, strong=place == 0)
        if place == 0:
            mark_best(panels[0], log)
            mark_stages(panels, log)
    panels[0].axhline(floors.accuracy, **FLOOR_LINE, label=FLOOR_LABEL)
    panels[1].axhline(1, color=GREY, linewidth=1)
    panels[2].axhline(floors.class_accuracy, **FLOOR_LINE)
    panels[2].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[2].set_xlabel("epoch", fontsize=9, color=INK)


def _draw_log(panels: Sequence[Axes], log: Log, *, strong: bool) -> None:
    numbered = list(enumerate(log, start=1))
    regression = regression_epochs(log)
    for axes, name, rows in zip(panels, EPOCH_METRICS, (regression, regression, numbered), strict=False):
        for split, colour in SPLIT_COLOURS.items():
            points = [(x, value) for x, row in rows if (value := _metric(row, split, name)) is not None]
            axes.plot(
                [x for x, _ in points],
                [value for _, value in points],
                color=colour,
                linewidth=1.6 if strong else 0.9,
                alpha=1 if strong else 0.35,
                marker="o" if strong else None,
                markersize=2.5,
                label=SPLIT_LABELS[split] if strong else None,
            )


def _draw_confusion(axes: Axes, counts: Confusion) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (true, predicted), share in np.ndenumerate(shares):
        colour = "white" if share > 0.55 else INK
        axes.text(predicted, true, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=colour)
    names = [str(k + 1) for k in range(len(counts))]
    axes.set_xticks(range(len(counts)), names)
    axes.set_yticks(range(len(counts)), names)
    axes.tick_params(colors=INK, labelsize=8, length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted class (row in %)", fontsize=9, color=INK)
