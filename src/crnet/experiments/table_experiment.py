"""Tables of the paper and tables of your own: rows, their configuration overrides, and claims about the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from crnet.experiments.claims import Claim, Predictions, Verdict, judge
from crnet.experiments.columns import COLUMNS, PublishedScores
from crnet.experiments.config_overrides import ConfigOverride, unchanged
from crnet.experiments.net_spec import NetSpec, UntrainedError
from crnet.experiments.rendering.accuracy_table import write_accuracy_section
from crnet.experiments.score_methods import ALTERNATIVE, ScoreMethod, predict
from crnet.experiments.seed_statistics import mean_sd_json
from crnet.experiments.workspace import Section, Workspace
from crnet.fusion.fusion import FusionConfig
from crnet.metrics import AVERAGE, accuracy, describe
from crnet.types import TARGETS, TRAITS, Backbone, Stream


@dataclass(frozen=True)
class TableRow:
    """A row of a table.

    Attributes:
        group: The group of rows, such as "Face"; may be empty.
        name: The name, unique within the group.
        streams: The streams whose networks the row needs; empty for a row of published numbers.
        override: The difference from the full CR-Net of the preset.
        published: The paper's numbers, if it prints any.
        method: Source of the scores; None: the network of a single stream, extra-trees on several.
    """

    group: str
    name: str
    streams: tuple[Stream, ...] = ()
    override: ConfigOverride = unchanged
    published: PublishedScores | None = None
    method: ScoreMethod | None = None

    @property
    def label(self) -> str:
        """The label that claims refer to: "Face: CR-block"."""
        return f"{self.group}: {self.name}" if self.group else self.name

    @property
    def resolved_method(self) -> ScoreMethod:
        """Source of the scores, with the default filled in."""
        return self.method or ("network" if len(self.streams) == 1 else "trees")

    def networks(self, workspace: Workspace) -> tuple[NetSpec, ...]:
        """Return the networks that the row needs."""
        config = self.override(workspace.base)
        return tuple(NetSpec(stream, config) for stream in self.streams)


@dataclass(frozen=True, eq=False)
class RowResult:
    """Predictions of a row.

    Attributes:
        row: The row.
        predictions: float64 [seeds, N, 6] in [0, 1]; None for published numbers and where training failed.
        alternative: The same from the alternative method on the same networks.
        failure: The reason why training failed; "" if it did not.
    """

    row: TableRow
    predictions: Predictions | None = None
    alternative: Predictions | None = None
    failure: str = ""

    def to_json(self, truth: np.ndarray, floor: np.ndarray) -> dict[str, Any]:
        """Return the row's numbers as results.json holds them; means and deviations are over the seeds."""
        row = self.row
        document: dict[str, Any] = {
            "group": row.group,
            "name": row.name,
            "predictor": row.resolved_method if row.streams else None,
            "failure": self.failure or None,
            "paper": None if row.published is None else dict(row.published),
        }
        if self.predictions is None:
            return document
        document["accuracy"] = {
            name: mean_sd_json(values) for name, values in accuracies(truth, self.predictions).items()
        }
        averages = [describe(truth, scores, floor, resamples=0)[AVERAGE] for scores in self.predictions]
        for metric in ("error_removed", "spread"):
            document[metric] = mean_sd_json([_nan_if_none(average[metric]) for average in averages])
        if self.alternative is not None:
            document["alternative"] = {
                "predictor": ALTERNATIVE[row.resolved_method],
                AVERAGE: mean_sd_json(accuracies(truth, self.alternative)[AVERAGE]),
            }
        return document


def no_training_notes(workspace: Workspace, rows: tuple[TableRow, ...]) -> tuple[str, ...]:
    """Return no notes."""
    return ()


@dataclass(frozen=True)
class Table:
    """An experiment that consists of rows.

    Attributes:
        name: Name on the command line and of the table's folder.
        title: The heading.
        rows: The rows, in order.
        claims: Claims about the rows, by the paper or by you.
        notes: Notes below the table, one sentence each.
        training_notes: Returns more notes, which depend on how training went.
        ranked: Show the rank of each row, and the best value of each column in bold.
    """

    name: str
    title: str
    rows: tuple[TableRow, ...]
    claims: tuple[Claim, ...] = ()
    notes: tuple[str, ...] = ()
    training_notes: Callable[[Workspace, tuple[TableRow, ...]], tuple[str, ...]] = no_training_notes
    ranked: bool = False
    pools_folds: ClassVar[bool] = True

    def __post_init__(self) -> None:
        labels = [row.label for row in self.rows]
        if duplicates := {label for label in labels if labels.count(label) > 1}:
            raise ValueError(f"table {self.name} has several rows with the same label: {sorted(duplicates)}")
        if unknown := {label for claim in self.claims for label in (claim.better, claim.worse)} - set(labels):
            raise ValueError(f"claims of table {self.name} refer to rows that do not exist: {sorted(unknown)}")

    def networks(self, workspace: Workspace) -> tuple[NetSpec, ...]:
        """Return the networks of all rows."""
        return tuple(spec for row in self.rows for spec in row.networks(workspace))

    def run(self, workspace: Workspace, folder: Path) -> Section:
        """Measure every row on the test split, judge the claims, and write Markdown, LaTeX and CSV."""
        results = measure(workspace, self.rows, self.name)
        truth, floor = workspace.test_truth_and_floor()
        verdicts = judge_all(self.claims, results, truth)
        data = {
            "rows": [result.to_json(truth, floor) for result in results.values()],
            "floor": {name: float(values[0]) for name, values in accuracies(truth, floor[None]).items()},
            "clips": len(truth),
            "seeds": list(workspace.seeds),
            "conditions": workspace.conditions,
            "claims": [verdict.to_dict() for verdict in verdicts],
        }
        notes = (*self.notes, *self.training_notes(workspace, self.rows))
        return write_accuracy_section(folder, self.name, self.title, data, notes, ranked=self.ranked)


@dataclass(frozen=True)
class TablePerBackbone:
    """A table whose rows depend on the backbones of the workspace.

    Attributes:
        name: Name on the command line and of the table's folder.
        title: The heading.
        build: Returns the table for these backbones.
    """

    name: str
    title: str
    build: Callable[[tuple[Backbone, ...]], Table]
    pools_folds: ClassVar[bool] = True

    def networks(self, workspace: Workspace) -> tuple[NetSpec, ...]:
        """Return the networks of all rows."""
        return self.build(workspace.backbones).networks(workspace)

    def run(self, workspace: Workspace, folder: Path) -> Section:
        """Measure and write the table; see `Table.run`."""
        return self.build(workspace.backbones).run(workspace, folder)


def measure(workspace: Workspace, rows: tuple[TableRow, ...], task: str) -> dict[str, RowResult]:
    """Return the predictions of every row for the test clips, by the row's label."""
    results = {}
    for done, row in enumerate(rows):
        workspace.progress(task, done, len(rows), row.label)
        results[row.label] = _measure_row(workspace, row)
    workspace.progress(task, len(rows), len(rows))
    return results


def _measure_row(workspace: Workspace, row: TableRow) -> RowResult:
    if not row.streams:
        return RowResult(row)
    specs, fusion = row.networks(workspace), row.override(workspace.base).fusion
    alternative = ALTERNATIVE.get(row.resolved_method)
    try:
        return RowResult(
            row,
            _predict_all_folds(workspace, specs, fusion, row.resolved_method),
            None if alternative is None else _predict_all_folds(workspace, specs, fusion, alternative),
        )
    except UntrainedError as error:
        return RowResult(row, failure=str(error))


def _predict_all_folds(
    workspace: Workspace, specs: tuple[NetSpec, ...], fusion: FusionConfig, method: ScoreMethod
) -> Predictions:
    """Return scores of every fold's test clips, [seeds, N, 6], in the order of `Workspace.test_truth_and_floor`."""
    return np.stack(
        [
            np.concatenate([predict(fold, specs, seed, fusion, method) for fold in workspace.folds])
            for seed in workspace.seeds
        ]
    )


def judge_all(claims: tuple[Claim, ...], results: Mapping[str, RowResult], truth: np.ndarray) -> list[Verdict]:
    """Judge every claim whose two rows were measured."""
    verdicts = []
    for claim in claims:
        better, worse = results[claim.better], results[claim.worse]
        if better.predictions is not None and worse.predictions is not None:
            published = (better.row.published, worse.row.published)
            verdicts.append(judge(claim, truth, better.predictions, worse.predictions, published))
    return verdicts


def accuracies(truth: np.ndarray, predictions: Predictions) -> dict[str, list[float]]:
    """Return 1 - MAE of every seed for each of `COLUMNS`."""
    by_target = {
        target: [_nan_if_none(accuracy(truth[:, i], scores[:, i])) for scores in predictions]
        for i, target in enumerate(TARGETS)
    }
    average = np.mean([by_target[trait] for trait in TRAITS], axis=0).tolist()
    return {name: average if name == AVERAGE else by_target[name] for name in COLUMNS}


def _nan_if_none(value: float | None) -> float:
    return float("nan") if value is None else value
