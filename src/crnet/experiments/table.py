"""A table of the paper, or one of your own: rows, what each does differently, and what is claimed of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from crnet.experiments.config_overrides import Change, unchanged
from crnet.experiments.net_spec import NetSpec, UntrainedError
from crnet.experiments.paper.claims import Claim, Predictions, Verdict, judge
from crnet.experiments.paper.published import AVERAGE, COLUMNS, Printed
from crnet.experiments.predictors import BESIDE, Predictor, predict
from crnet.experiments.rendering.write_table import write_table
from crnet.experiments.workspace import Lab, Section
from crnet.fusion.fusion import FusionConfig
from crnet.metrics import accuracy, spread
from crnet.types import TARGETS, TRAITS, Stream


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        group: What it stands under, such as "Face"; may be empty.
        name: What it is, unique within its group.
        streams: Which networks it needs; none for a line of published numbers.
        change: What it does differently from the full CR-Net of the preset.
        printed: The paper's numbers, if it prints any.
        predictor: Who gives the scores; by default the network itself of a single stream, and extra-trees on the
            joined features of several.
    """

    group: str
    name: str
    streams: tuple[Stream, ...] = ()
    change: Change = unchanged
    printed: Printed | None = None
    predictor: Predictor | None = None

    @property
    def key(self) -> str:
        """What claims call it: "Face: CR-block"."""
        return f"{self.group}: {self.name}" if self.group else self.name

    @property
    def asked(self) -> Predictor:
        """Who gives the scores."""
        return self.predictor or ("network" if len(self.streams) == 1 else "trees")

    def nets(self, lab: Lab) -> tuple[NetSpec, ...]:
        """The networks it needs."""
        config = self.change(lab.base)
        return tuple(NetSpec(stream, config) for stream in self.streams)


@dataclass(frozen=True, eq=False)
class Measured:
    """What came out for a row.

    Attributes:
        row: Which.
        predictions: float64 [seeds, N, 6] in [0, 1]; None for published numbers and where training failed.
        beside: The other predictor of the same networks, likewise.
        failure: Why there are no predictions, "" if there are, or if none are wanted.
    """

    row: Row
    predictions: Predictions | None = None
    beside: Predictions | None = None
    failure: str = ""

    def figures(self, truth: np.ndarray, floor: np.ndarray) -> dict[str, Any]:
        """Its numbers as they stand in results.json; means and deviations are over the seeds."""
        row = self.row
        document: dict[str, Any] = {
            "group": row.group,
            "name": row.name,
            "predictor": row.asked if row.streams else None,
            "failure": self.failure or None,
            "paper": None if row.printed is None else dict(row.printed),
        }
        if self.predictions is None:
            return document
        document["accuracy"] = {
            name: _over_seeds(values) for name, values in accuracies(truth, self.predictions).items()
        }
        document["error_removed"] = _over_seeds(_by_seed(_removed, truth, self.predictions, floor))
        document["spread"] = _over_seeds(_by_seed(_spread, truth, self.predictions, floor))
        if self.beside is not None:
            document["beside"] = {
                "predictor": BESIDE[row.asked],
                AVERAGE: _over_seeds(accuracies(truth, self.beside)[AVERAGE]),
            }
        return document


def no_remarks(lab: Lab, rows: tuple[Row, ...]) -> tuple[str, ...]:
    """Most tables need none."""
    return ()


@dataclass(frozen=True)
class Table:
    """A table: an experiment made of rows.

    Attributes:
        name: On the command line and of its folder.
        title: Its heading.
        rows: Its lines, in order.
        claims: What the paper, or you, say of them.
        notes: What a reader must know, one sentence each.
        remarks: More such sentences, that depend on how training went.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...] = ()
    notes: tuple[str, ...] = ()
    remarks: Callable[[Lab, tuple[Row, ...]], tuple[str, ...]] = no_remarks
    pooled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        keys = [row.key for row in self.rows]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise ValueError(f"rows named twice in {self.name}: {sorted(twice)}")
        if unknown := {key for claim in self.claims for key in (claim.better, claim.worse)} - set(keys):
            raise ValueError(f"claims of {self.name} speak of rows that it has not: {sorted(unknown)}")

    def nets(self, lab: Lab) -> tuple[NetSpec, ...]:
        """The networks of all rows."""
        return tuple(spec for row in self.rows for spec in row.nets(lab))

    def run(self, lab: Lab, folder: Path) -> Section:
        """Measure every row on the test split, judge the claims, write Markdown, LaTeX, CSV and a picture."""
        measured = measure(lab, self.rows, self.name)
        truth, floor = lab.tested()
        verdicts = judge_all(self.claims, measured, truth)
        data = {
            "rows": [one.figures(truth, floor) for one in measured.values()],
            "floor": {name: float(values[0]) for name, values in accuracies(truth, floor[None]).items()},
            "clips": len(truth),
            "seeds": list(lab.seeds),
            "conditions": lab.conditions,
            "claims": [verdict.to_dict() for verdict in verdicts],
        }
        return write_table(folder, self.name, self.title, data, (*self.notes, *self.remarks(lab, self.rows)))


def measure(lab: Lab, rows: tuple[Row, ...], task: str) -> dict[str, Measured]:
    """What every row says of the test clips, by the row's key."""
    measured = {}
    for done, row in enumerate(rows):
        lab.progress(task, done, len(rows), row.key)
        measured[row.key] = _measure(lab, row)
    lab.progress(task, len(rows), len(rows))
    return measured


def _measure(lab: Lab, row: Row) -> Measured:
    if not row.streams:
        return Measured(row)
    specs, fusion = row.nets(lab), row.change(lab.base).fusion
    beside = BESIDE.get(row.asked)
    try:
        predictions = _over_folds(lab, specs, fusion, row.asked)
        others = None if beside is None else _over_folds(lab, specs, fusion, beside)
    except UntrainedError as error:
        return Measured(row, failure=str(error))
    return Measured(row, predictions, others)


def _over_folds(lab: Lab, specs: tuple[NetSpec, ...], fusion: FusionConfig, predictor: Predictor) -> Predictions:
    """Scores of every fold's test clips, in the order of `Lab.tested`: [seeds, N, 6]."""
    return np.stack(
        [np.concatenate([predict(fold, specs, seed, fusion, predictor) for fold in lab.folds]) for seed in lab.seeds]
    )


def judge_all(claims: tuple[Claim, ...], measured: Mapping[str, Measured], truth: np.ndarray) -> list[Verdict]:
    """Every claim whose two rows could be measured."""
    verdicts = []
    for claim in claims:
        better, worse = measured[claim.better], measured[claim.worse]
        if better.predictions is not None and worse.predictions is not None:
            printed = (better.row.printed, worse.row.printed)
            verdicts.append(judge(claim, truth, better.predictions, worse.predictions, printed))
    return verdicts


def accuracies(truth: np.ndarray, predictions: Predictions) -> dict[str, list[float]]:
    """1 - MAE of every seed, by target and on average over the five traits, in the paper's order."""
    by_target = {
        target: [_number(accuracy(truth[:, i], of_seed[:, i])) for of_seed in predictions]
        for i, target in enumerate(TARGETS)
    }
    average = np.mean([by_target[trait] for trait in TRAITS], axis=0).tolist()
    return {name: average if name == AVERAGE else by_target[name] for name in COLUMNS}


def _by_seed(measure_one: Any, truth: np.ndarray, predictions: Predictions, floor: np.ndarray) -> list[float]:
    return [measure_one(truth, of_seed, floor) for of_seed in predictions]


def _removed(truth: np.ndarray, predictions: np.ndarray, floor: np.ndarray) -> float:
    """The share of the floor's error that is gone, of the traits' average errors."""
    traits = slice(len(TRAITS))
    errors = np.abs(predictions - truth)[:, traits].mean()
    return float(1 - errors / np.abs(floor - truth)[:, traits].mean())


def _spread(truth: np.ndarray, predictions: np.ndarray, floor: np.ndarray) -> float:
    return float(np.mean([_number(spread(truth[:, i], predictions[:, i])) for i in range(len(TRAITS))]))


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _over_seeds(values: list[float]) -> dict[str, float | None]:
    """Mean and standard deviation, None for the latter with one seed."""
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None}


@dataclass(frozen=True)
class TablePerBackbone:
    """A table whose rows depend on which backbones the lab is to measure.

    Attributes:
        name: On the command line and of its folder.
        title: Its heading.
        build: The table for these backbones.
    """

    name: str
    title: str
    build: Callable[[tuple[str, ...]], Table]
    pooled: ClassVar[bool] = True

    def nets(self, lab: Lab) -> tuple[NetSpec, ...]:
        """The networks of all rows."""
        return self.build(lab.backbones).nets(lab)

    def run(self, lab: Lab, folder: Path) -> Section:
        """See `Table.run`."""
        return self.build(lab.backbones).run(lab, folder)
