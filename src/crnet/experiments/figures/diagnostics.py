"""Why does it overfit? Score, spread and classes of every epoch, and which classes the guide confuses.

Read from the standard networks' `log.jsonl` (see `crnet.training.log`) and from their class logits on validation.
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
from crnet.experiments.figures.drawing import csv_text, image, leave, listed, prose
from crnet.experiments.net_spec import NetSpec, UntrainedError
from crnet.experiments.workspace import Lab, Section
from crnet.models.cr_block import EDGES, class_of
from crnet.report.curves import Log, joint_epochs, mark_best, mark_stages, read_logs
from crnet.report.style import (
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
from crnet.training.distributed import choose_device
from crnet.training.features import BATCH_SIZE
from crnet.training.log import OVERFITTING_DROP
from crnet.types import TARGETS, TRAITS, Stream
from crnet.utils.files import write_text
from crnet.utils.number_format import decimal, percent

SPLIT_COLOURS = {"train": BLUE, "val": VERMILION}
SPLIT_LABELS = {"train": "training", "val": "validation"}
FIVE = [TARGETS.index(trait) for trait in TRAITS]

Confusion = Int64[np.ndarray, "n n"]
"""How often a clip of the class of the row was put into the class of the column; all six targets."""


@dataclass(frozen=True)
class Turn:
    """Where the validation of the second stage was best, and what came after.

    Attributes:
        epoch, epochs: The best epoch of the second stage, from 1, and how many it has.
        val, train: 1 - MAE over the five traits: at the best epoch and at the last one.
        warned: Epochs of the second stage in which the log speaks of overfitting.
        warning: What it says last; "" if it never does.
    """

    epoch: int
    epochs: int
    val: tuple[float, float]
    train: tuple[float, float]
    warned: tuple[int, ...]
    warning: str

    @classmethod
    def of(cls, rows: Log) -> Self | None:
        """From a log; None without validated epochs of the second stage."""
        joint = [row for _, row in joint_epochs(rows) if row["val"]]
        if not joint or any(row["val"]["accuracy"]["average"] is None for row in joint):
            return None
        val, train = ([float(row[split]["accuracy"]["average"]) for row in joint] for split in ("val", "train"))
        best = int(np.argmax(val))
        warned = [row for row in joint if row["overfitting"]]
        return cls(
            epoch=joint[best]["epoch"],
            epochs=joint[-1]["epochs"],
            val=(val[best], val[-1]),
            train=(train[best], train[-1]),
            warned=tuple(row["epoch"] for row in warned),
            warning=warned[-1]["overfitting"] if warned else "",
        )


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """One stream: the log and the turn of each seed, and the confusion over all seeds' kept networks."""

    logs: Mapping[int, Log]
    turns: Mapping[int, Turn | None]
    confusion: Confusion


class Diagnostics:
    """Training against validation, epoch by epoch."""

    name = "diagnostics"
    title = "Training diagnostics: where and why it overfits"

    def nets(self, lab: Lab) -> tuple[NetSpec, ...]:
        """The standard networks."""
        return lab.standards()

    def run(self, lab: Lab, folder: Path) -> Section:
        """Read the logs, count the confusions, draw and say where validation turned."""
        found: dict[Stream, Diagnosis] = {}
        for spec in self.nets(lab):
            try:
                found[spec.stream] = diagnose(lab, spec)
            except UntrainedError:
                continue
        if not found:
            return Section(self.title, "Left out: the training of every network failed.\n")
        floors = Floors.of(lab)
        rows = [
            row for stream, one in found.items() for seed, log in one.logs.items() for row in _epochs(stream, seed, log)
        ]
        files = leave(folder, self.name, _figure(found, floors), EPOCH_HEADER, rows)
        confusions = folder / f"{self.name}_confusion.csv"
        cells = [
            [stream, true, said, int(count)]
            for stream, one in found.items()
            for (true, said), count in np.ndenumerate(one.confusion)
        ]
        write_text(confusions, csv_text(["stream", "true_class", "guide", "scores"], cells))
        data: dict[str, Any] = {
            stream: {"best_epoch": {str(s): t.epoch if t else None for s, t in one.turns.items()}}
            | {"confusion": one.confusion.tolist()}
            for stream, one in found.items()
        }
        return Section(self.title, _words(files[0], lab, found, floors), (*files, confusions), data)


@dataclass(frozen=True)
class Floors:
    """What one answer for everybody reaches on validation.

    Attributes:
        accuracy: 1 - MAE of the training median, five traits.
        class_accuracy: Share of right classes if each target's largest training class is named, six targets.
    """

    accuracy: float
    class_accuracy: float

    @classmethod
    def of(cls, lab: Lab) -> Self:
        """From the labels."""
        train, val, classes = lab.truth("train"), lab.truth("val"), lab.base.model.classes
        errors = np.abs(np.median(train, axis=0) - val)[:, FIVE]
        largest = [np.bincount(column, minlength=classes).argmax() for column in class_of(train, classes).T]
        return cls(float(1 - errors.mean()), float((class_of(val, classes) == largest).mean()))


def diagnose(lab: Lab, spec: NetSpec) -> Diagnosis:
    """Logs, turns and confusion of a network over the lab's seeds."""
    logs = {seed: read_logs(lab.folder(spec, seed).parent).get(spec.stream, []) for seed in lab.seeds}
    classes = spec.config.model.classes
    true = class_of(lab.truth("val"), classes)
    counts = np.sum([confusion(true, guessed_classes(lab, spec, seed), classes) for seed in lab.seeds], axis=0)
    return Diagnosis(logs, {seed: Turn.of(log) for seed, log in logs.items()}, counts)


def confusion(true: Int64[np.ndarray, "N 6"], said: Int64[np.ndarray, "N 6"], classes: int) -> Confusion:
    """Count the pairs of true and said class, all targets together."""
    return np.bincount((true * classes + said).ravel(), minlength=classes**2).reshape(classes, classes)


@torch.inference_mode()
def guessed_classes(lab: Lab, spec: NetSpec, seed: int) -> Int64[np.ndarray, "N 6"]:
    """The class that the kept network weighs most, for every validation clip and target."""
    device = choose_device(lab.base.training.device)
    net = lab.net(spec, seed).to(device).eval()
    clips = ClipDataset(lab.store, lab.rows("val"), spec.config.transforms, [spec.stream])
    batches = load_batches(clips, BATCH_SIZE, workers=lab.base.training.workers)
    return np.concatenate([net(batch.to(device)).logits.argmax(-1).cpu().numpy() for batch in batches])


EPOCH_FIGURES = ("accuracy", "spread", "class_accuracy", "guide")
EPOCH_HEADER = [
    *("stream", "seed", "stage", "epoch"),
    *(f"{split}_{name}" for split in SPLIT_LABELS for name in EPOCH_FIGURES),
    *("kept", "overfitting"),
]


def _epochs(stream: Stream, seed: int, log: Log) -> list[list[object]]:
    return [
        [
            *(stream, seed, row["stage"], row["epoch"]),
            *(_of(row, split, name) for split in SPLIT_LABELS for name in EPOCH_FIGURES),
            *(int(row["best"]), row["overfitting"] or ""),
        ]
        for row in log
    ]


def _of(row: Mapping[str, Any], split: str, name: str) -> float | None:
    """A figure of an epoch; of those by target the average over the traits. None without such a split."""
    value = (row[split] or {}).get(name)
    return value["average"] if isinstance(value, Mapping) else value


def _words(picture: Path, lab: Lab, found: Mapping[Stream, Diagnosis], floors: Floors) -> str:
    edges = listed([str(edge) for edge in EDGES[lab.base.model.classes]])
    left_out = [stream for stream in lab.base.streams if stream not in found]
    note = f" Left out, since training failed: {listed(left_out)}." if left_out else ""
    paragraphs = "\n\n".join(_reading(*one, floors) for one in found.items())
    return prose(f"""
{image(picture, "Training and validation by epoch: 1 - MAE, spread, class accuracy; confusion of the classes")}

The paper shows no such curves.

{paragraphs}

Curves: seed {lab.seeds[0]} strong, the others pale; the ring is the network that was kept. Spread is the deviation of
the predictions over that of the truth. The classes are cut at {edges}; the matrices hold all six targets of all
validation clips and seeds, each row a true class that adds up to 100%. Training is measured while the network learns,
and on random frames.{note}
""")


def _reading(stream: Stream, one: Diagnosis, floors: Floors) -> str:
    said = [f"**{stream.capitalize()}.**"]
    for seed, turn in one.turns.items():
        if turn is None:
            said.append(f"Seed {seed}: no epoch of the second stage was validated.")
            continue
        fell = turn.val[0] - turn.val[1]
        if turn.epoch == turn.epochs:
            where = f"validation was still best in the last epoch ({decimal(turn.val[0])}): it has not turned"
        else:
            turned = "turned" if fell > OVERFITTING_DROP else "came to a halt"
            where = (
                f"validation {turned} after epoch {turn.epoch} of {turn.epochs}, from {decimal(turn.val[0])} to "
                f"{decimal(turn.val[1])} at the end, while training went from {decimal(turn.train[0])} to "
                f"{decimal(turn.train[1])}"
            )
        gap = turn.train[1] - turn.val[1]
        warned = "the log never speaks of overfitting"
        if turn.warned:
            warned = f'the log warns in {len(turn.warned)} epochs, last in epoch {turn.warned[-1]}: "{turn.warning}"'
        said.append(f"Seed {seed}: {where}; the gap at the end is {decimal(gap)}; {warned}.")
    counts = one.confusion
    total, off = counts.sum(), np.abs(np.subtract.outer(*[np.arange(len(counts))] * 2))
    said.append(
        f"The guide names the right class for {percent(counts.trace() / total)} of the validation scores (naming the "
        f"largest one for everybody: {percent(floors.class_accuracy)}), one beside it for "
        f"{percent(counts[off == 1].sum() / total)}, one further off for {percent(counts[off > 1].sum() / total)}."
    )
    return " ".join(said)


def _figure(found: Mapping[Stream, Diagnosis], floors: Floors) -> Figure:
    figure = new_figure(9.6)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[6.6, 3.0]).ravel()
    curves = upper.subplots(3, len(found), squeeze=False, sharex="col", sharey="row")
    squares = lower.subplots(1, len(found), squeeze=False)[0]
    for column, (stream, one) in enumerate(found.items()):
        panels = [tidy(curves[line][column]) for line in range(3)]
        for place, log in enumerate(one.logs.values()):
            _draw_log(panels, log, strong=place == 0)
            if place == 0:
                mark_best(panels[0], log)
                mark_stages(panels, log)
        panels[0].axhline(floors.accuracy, **FLOOR_LINE, label=FLOOR_LABEL)
        panels[1].axhline(1, color=GREY, linewidth=1)
        panels[2].axhline(floors.class_accuracy, **FLOOR_LINE)
        title(panels[0], stream)
        panels[2].xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[2].set_xlabel("epoch", fontsize=9, color=INK)
        _draw_confusion(squares[column], one.confusion)
    for axes, words in zip(
        curves[:, 0], ("1 - MAE,\nfive traits", "spread,\nfive traits", "right classes"), strict=True
    ):
        axes.set_ylabel(words, fontsize=9, color=INK)
    squares[0].set_ylabel("true class", fontsize=9, color=INK)
    legend_below(upper, curves[0][0])
    return figure


def _draw_log(panels: Sequence[Axes], log: Log, *, strong: bool) -> None:
    numbered = list(enumerate(log, start=1))
    for axes, name, rows in zip(panels, EPOCH_FIGURES, (joint_epochs(log), joint_epochs(log), numbered), strict=False):
        for split, colour in SPLIT_COLOURS.items():
            points = [(x, value) for x, row in rows if (value := _of(row, split, name)) is not None]
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
    for (true, said), share in np.ndenumerate(shares):
        shade = "white" if share > 0.55 else INK
        axes.text(said, true, f"{100 * share:.0f}", ha="center", va="center", fontsize=8, color=shade)
    names = [str(k + 1) for k in range(len(counts))]
    axes.set_xticks(range(len(counts)), names)
    axes.set_yticks(range(len(counts)), names)
    axes.tick_params(colors=INK, labelsize=8, length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("class by the guide (row in %)", fontsize=9, color=INK)
