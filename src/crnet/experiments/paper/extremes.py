"""Extreme scores with and without the Bell loss: spread of the predictions, and errors where the truth is extreme."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crnet.experiments.claims import Claim, Verdict, judge
from crnet.experiments.config_overrides import ConfigOverride, unchanged, with_plain_head
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.paper.tables import CR_ONLY, STREAM_NAMES
from crnet.experiments.rendering.accuracy_table import FLOOR_NAMES, seeds_note
from crnet.experiments.rendering.claims_table import claims_section
from crnet.experiments.rendering.csv_text import csv_text
from crnet.experiments.rendering.rendered_table import RenderedRow, RenderedTable, write_table
from crnet.experiments.seed_statistics import mean_sd_json
from crnet.experiments.table_experiment import RowResult, TableRow, measure
from crnet.experiments.workspace import Section, Workspace
from crnet.metrics import spread
from crnet.types import TRAIT_INDICES
from crnet.utils.number_format import decimal

TAIL = 0.1  # share of the clips at either end of the scale
HEADS: dict[str, tuple[ConfigOverride, ConfigOverride]] = {
    "CR-block": (CR_ONLY, unchanged),
    "plain backbone": (with_plain_head("l1", "mse"), with_plain_head("l1", "mse", "bell")),
}
"""Overrides without and with the Bell loss."""

WITHOUT, WITH = "without Bell", "with Bell"
COLUMNS = ("spread", "outer error", "low error", "high error", "inner error", "worst error")
NOTES = (
    "All numbers are means over the five traits. spread: standard deviation of the predictions over that of the truth. "
    "outer error: mean absolute error of the clips in the lowest and highest tenths of the truth; low and high error: "
    "in the lowest or highest tenth alone; inner error: in the rest; worst error: the largest absolute error.",
)


class Extremes:
    """Spread and errors of each stream and head, with and without the Bell loss."""

    name = "extremes"
    title = "Extreme scores with and without the Bell loss"
    pools_folds = True

    def rows(self) -> tuple[TableRow, ...]:
        """Return the measured rows."""
        return tuple(
            TableRow(f"{group}, {head}", name, (stream,), override)
            for stream, group in STREAM_NAMES.items()
            for head, overrides in HEADS.items()
            for name, override in zip((WITHOUT, WITH), overrides, strict=True)
        )

    def networks(self, workspace: Workspace) -> tuple[NetSpec, ...]:
        """Return the networks, which are those of Table 4."""
        return tuple(spec for row in self.rows() for spec in row.networks(workspace))

    def run(self, workspace: Workspace, folder: Path) -> Section:
        """Measure spread and errors, and judge whether Bell lowers the errors of extreme clips."""
        truth, floor = workspace.test_truth_and_floor()
        results = measure(workspace, self.rows(), self.name)
        verdicts = _judge(results, truth)
        data: dict[str, Any] = {
            "rows": [_row_json(result, truth) for result in results.values()],
            "floor": errors_and_spread(floor, truth),
            "clips": len(truth),
            "seeds": list(workspace.seeds),
            "conditions": workspace.conditions,
            "claims": [verdict.to_dict() for verdict in verdicts],
        }
        table = _table(self.title, data)
        files = write_table(folder, self.name, table, _csv(data))
        claims, claims_files = claims_section(folder, self.name, verdicts)
        return Section(self.title, table.to_markdown() + claims, (*files, *claims_files), data)


def tail_masks(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return masks of the scores in the lowest and in the highest tenth of their target, each bool [N, 6]."""
    low, high = np.quantile(truth, [TAIL, 1 - TAIL], axis=0)
    return truth <= low, truth >= high


def errors_and_spread(predictions: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return the numbers of one seed, means over the traits; predictions and truth are [N, 6]."""
    low, high = tail_masks(truth)
    errors, traits = np.abs(predictions - truth), TRAIT_INDICES
    masks = {"outer error": low | high, "low error": low, "high error": high, "inner error": ~(low | high)}
    measures = {name: float(np.mean([errors[mask[:, i], i].mean() for i in traits])) for name, mask in masks.items()}
    spreads = [spread(truth[:, i], predictions[:, i]) for i in traits]
    measures["spread"] = float(np.mean([np.nan if value is None else value for value in spreads]))
    measures["worst error"] = float(np.mean([errors[:, i].max() for i in traits]))
    return measures


def _row_json(result: RowResult, truth: np.ndarray) -> dict[str, Any]:
    row = result.row
    document: dict[str, Any] = {"group": row.group, "name": row.name, "failure": result.failure or None}
    if result.predictions is None:
        return document
    by_seed = [errors_and_spread(predictions, truth) for predictions in result.predictions]
    return document | {name: mean_sd_json([measures[name] for measures in by_seed]) for name in COLUMNS}


def _judge(results: Mapping[str, RowResult], truth: np.ndarray) -> list[Verdict]:
    low, high = tail_masks(truth)
    extreme = np.where(low | high, truth, np.nan)
    verdicts = []
    for group in dict.fromkeys(result.row.group for result in results.values()):
        with_bell, without_bell = results[f"{group}: {WITH}"], results[f"{group}: {WITHOUT}"]
        claim = Claim(f"Bell lowers the errors of extreme scores ({group})", "Sec. 5.2, Fig. 10", WITH, WITHOUT)
        if with_bell.predictions is not None and without_bell.predictions is not None:
            verdicts.append(judge(claim, extreme, with_bell.predictions, without_bell.predictions))
    return verdicts


def _table(title: str, data: Mapping[str, Any]) -> RenderedTable:
    digits = {name: 2 if name == "spread" else 4 for name in COLUMNS}
    rows = []
    for row in data["rows"]:
        cells = [decimal(row[n]["mean"], row[n]["sd"], digits[n]) if n in row else "–" for n in COLUMNS]
        rows.append(RenderedRow((row["group"], row["name"], *cells)))
    floor = [decimal(data["floor"][name], digits=digits[name]) for name in COLUMNS]
    rows.append(RenderedRow((*FLOOR_NAMES, *floor), "floor"))
    notes = (f"{data['clips']} test clips, {seeds_note(data)}. {data['conditions']}", *NOTES)
    return RenderedTable(title, ("", "", *COLUMNS), tuple(rows), text_columns=2, notes=notes)


def _csv(data: Mapping[str, Any]) -> str:
    empty = {"mean": None, "sd": None}
    rows: list[list[object]] = [
        [row["group"], row["name"], name, row.get(name, empty)["mean"], row.get(name, empty)["sd"]]
        for row in data["rows"]
        for name in COLUMNS
    ]
    rows += [[*FLOOR_NAMES, name, data["floor"][name], None] for name in COLUMNS]
    return csv_text(("group", "row", "metric", "mean", "sd"), rows)


extremes = Extremes()
