"""The numbers behind the figures of reports as CSV tables, for whoever wants to draw them in another way."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from crnet.evaluation.paired_bootstrap import PairedDifference
from crnet.report.training_figures import Log
from crnet.types import SCALE, Stream
from crnet.utils.csv_cells import neutral_cell

TIMES = frozenset({"seconds", "samples_per_s", "waiting_share"})
"""Entries of a training log that differ from run to run; the same run gives the same table."""

SYSTEMS_CSV, TRAINING_CSV, DIFFERENCES_CSV = "systems.csv", "training.csv", "differences.csv"


def systems_csv(systems: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return a row for each system, target and metric: its value and its 95% interval, empty where there is none.

    Args:
        systems: As in `Evaluation.systems`.
    """
    rows = []
    for system, targets in systems.items():
        for target, metrics in targets.items():
            for metric, value in metrics.items():
                if metric != "ci95":
                    low, high = metrics["ci95"].get(metric) or (None, None)
                    rows.append((system, target, metric, value, low, high, SCALE.get(target, "")))
    return _csv(("system", "target", "metric", "value", "low", "high", "scale"), rows)


def training_csv(logs: Mapping[Stream, Log]) -> str:
    """Return a row for each epoch of each stream; a nested entry of the log has a column such as `train.l1`."""
    rows = [{"stream": stream, **_flat(row)} for stream, log in logs.items() for row in log]
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in TIMES]
    return _csv(columns, ([row.get(name) for name in columns] for row in rows))


def differences_csv(differences: Sequence[PairedDifference]) -> str:
    """Return a row for each pair of systems, target and metric."""
    rows = (
        (row.system, row.minus, row.target, row.metric, row.value, *(row.ci95 or (None, None)), row.p, row.p_corrected,
         SCALE.get(row.target, ""))
        for row in differences
    )  # fmt: skip
    return _csv(("system", "minus", "target", "metric", "value", "low", "high", "p", "p_corrected", "scale"), rows)


def _flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name, value in row.items():
        cells |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return cells


def _csv(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *([neutral_cell(cell) for cell in row] for row in rows)])
    return text.getvalue()
