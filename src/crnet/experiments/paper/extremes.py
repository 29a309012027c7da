"""Does the Bell loss keep extreme scores apart? Spread of the predictions, and errors where the truth is extreme."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crnet.experiments.config_overrides import Change, plain, unchanged
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.paper.claims import Claim, Verdict, judge
from crnet.experiments.paper.tables import CR_ONLY, STREAM_NAMES
from crnet.experiments.rendering.rendered_table import Grid, Line
from crnet.experiments.rendering.write_table import judged_part, write_grid
from crnet.experiments.table import Measured, Row, measure
from crnet.experiments.workspace import Lab, Section
from crnet.metrics import spread
from crnet.types import TRAITS
from crnet.utils.files import write_text
from crnet.utils.number_format import decimal

TAIL = 0.1  # the outer deciles
HEADS: dict[str, tuple[Change, Change]] = {
    "CR-block": (CR_ONLY, unchanged),
    "plain backbone": (plain("l1", "mse"), plain("l1", "mse", "bell")),
}
"""Losses without and with Bell."""

WITHOUT, WITH = "without Bell", "with Bell"
COLUMNS = ("spread", "outer error", "low error", "high error", "inner error", "worst error")
NOTES = (
    "Means over the five traits. spread: deviation of the predictions over that of the truth. outer error: mean "
    "absolute error of the clips in the lowest and the highest tenth of the truth; low and high: of either alone; "
    "inner: of the rest; worst: the greatest absolute error. floor: the training median for everyone.",
)


class Extremes:
    """Each stream and head, with the Bell loss and without."""

    name = "extremes"
    title = "Extreme scores with and without the Bell loss"
    pooled = True

    def rows(self) -> tuple[Row, ...]:
        """The measured rows."""
        return tuple(
            Row(f"{group}, {head}", name, (stream,), change)
            for stream, group in STREAM_NAMES.items()
            for head, changes in HEADS.items()
            for name, change in zip((WITHOUT, WITH), changes, strict=True)
        )

    def nets(self, lab: Lab) -> tuple[NetSpec, ...]:
        """The networks of Table 4."""
        return tuple(spec for row in self.rows() for spec in row.nets(lab))

    def run(self, lab: Lab, folder: Path) -> Section:
        """Measure spread and errors, and judge whether Bell lowers the errors of extreme clips."""
        truth, floor = lab.tested()
        measured = measure(lab, self.rows(), self.name)
        verdicts = _verdicts(measured, truth)
        data: dict[str, Any] = {
            "rows": [_figures(one, truth) for one in measured.values()],
            "floor": errors_and_spread(floor, truth),
            "clips": len(truth),
            "seeds": list(lab.seeds),
            "conditions": lab.conditions,
            "claims": [verdict.to_dict() for verdict in verdicts],
        }
        grid = _grid(self.title, data)
        files = write_grid(folder, self.name, grid)
        write_text(folder / f"{self.name}.csv", _csv(data))
        judged, more = judged_part(folder, self.name, verdicts)
        return Section(self.title, grid.to_markdown() + judged, (*files, folder / f"{self.name}.csv", *more), data)


def outer(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which scores lie in the lowest and in the highest tenth of their target: two of bool [N, 6]."""
    low, high = np.quantile(truth, [TAIL, 1 - TAIL], axis=0)
    return truth <= low, truth >= high


def _figures(one: Measured, truth: np.ndarray) -> dict[str, Any]:
    document: dict[str, Any] = {"group": one.row.group, "name": one.row.name, "failure": one.failure or None}
    if one.predictions is None:
        return document
    by_seed = [errors_and_spread(predictions, truth) for predictions in one.predictions]
    for name in COLUMNS:
        values = [seed[name] for seed in by_seed]
        document[name] = {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)) if values[1:] else None}
    return document


def errors_and_spread(predictions: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The figures of one seed, means over the traits; predictions and truth are [N, 6]."""
    low, high = outer(truth)
    errors, traits = np.abs(predictions - truth), range(len(TRAITS))
    where = {"outer error": low | high, "low error": low, "high error": high, "inner error": ~(low | high)}
    figures = {name: float(np.mean([errors[of[:, i], i].mean() for i in traits])) for name, of in where.items()}
    spreads = [spread(truth[:, i], predictions[:, i]) for i in traits]
    figures["spread"] = float(np.mean([np.nan if value is None else value for value in spreads]))
    figures["worst error"] = float(np.mean([errors[:, i].max() for i in traits]))
    return figures


def _verdicts(measured: Mapping[str, Measured], truth: np.ndarray) -> list[Verdict]:
    low, high = outer(truth)
    extreme = np.where(low | high, truth, np.nan)
    found = []
    for group in dict.fromkeys(one.row.group for one in measured.values()):
        with_bell, without = measured[f"{group}: {WITH}"], measured[f"{group}: {WITHOUT}"]
        claim = Claim(f"Bell lowers the errors of the outer deciles ({group})", "Sec. 5.2, Fig. 10", WITH, WITHOUT)
        if with_bell.predictions is not None and without.predictions is not None:
            found.append(judge(claim, extreme, with_bell.predictions, without.predictions))
    return found


def _grid(title: str, data: Mapping[str, Any]) -> Grid:
    lines = []
    for row in data["rows"]:
        cells = [decimal(row[n]["mean"], row[n]["sd"], 2 if n == "spread" else 4) if n in row else "–" for n in COLUMNS]
        lines.append(Line((row["group"], row["name"], *cells)))
    cells = [decimal(data["floor"][name], digits=2 if name == "spread" else 4) for name in COLUMNS]
    lines.append(Line(("floor", "one number for everyone", *cells), "floor"))
    seeds = len(data["seeds"])
    over = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    notes = (f"{data['clips']} test clips, {over}. {data['conditions']}", *NOTES)
    return Grid(title, ("", "", *COLUMNS), tuple(lines), words=2, notes=notes)


def _csv(data: Mapping[str, Any]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["group", "row", "figure", "mean", "sd"])
    for row in data["rows"]:
        for name in COLUMNS:
            value = row.get(name, {"mean": None, "sd": None})
            table.writerow([row["group"], row["name"], name, value["mean"], value["sd"]])
    table.writerows(["floor", "one number for everyone", name, data["floor"][name], None] for name in COLUMNS)
    return text.getvalue()


extremes = Extremes()
