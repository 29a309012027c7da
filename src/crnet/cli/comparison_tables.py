"""Tables of a comparison of systems for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crnet.cli.evaluation_tables import STYLES, titled_table
from crnet.evaluation.evaluation import FLOOR, SHORT_NAMES
from crnet.evaluation.paired_bootstrap import COMPARED
from crnet.fusion.conformal import INTERVAL_LEVEL
from crnet.metrics import AVERAGE
from crnet.utils.number_format import (
    METRIC_NAMES,
    counted,
    decimal,
    difference,
    interval_text,
    p_text,
    percent,
    range_text,
)

if TYPE_CHECKING:
    from rich.table import Table

    from crnet.evaluation.comparison import Comparison


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Return all tables: 1 - MAE, all metrics of the average, differences, and intervals of the scores.

    With more than two systems, the differences are those in 1 - MAE alone; the files have all of them.
    """
    tables = [_accuracy_table(comparison), _metric_table(comparison)]
    if comparison.differences:
        tables.append(_difference_table(comparison))
    return [*tables, _interval_table(comparison)] if any(comparison.calibrated.values()) else tables


def _accuracy_table(comparison: Comparison) -> Table:
    columns = (*comparison.clips.targets, AVERAGE)
    table = _new_table("1 - MAE", comparison, [SHORT_NAMES[name] for name in columns] + ["error\nremoved"])
    for system, metrics in comparison.systems.items():
        cells = [decimal(metrics[name]["accuracy"]) for name in columns]
        removed = "" if system == FLOOR else percent(metrics[AVERAGE]["error_removed"])
        table.add_row(system, *cells, removed, style=STYLES.get(system))
    return table


def _metric_table(comparison: Comparison) -> Table:
    title = f"average of {comparison.clips.average_of}"
    table = _new_table(title, comparison, ["metric", "average", "95% interval"])
    for system in comparison.names:
        metrics = comparison.systems[system][AVERAGE]
        for name in COMPARED:
            cells = (decimal(metrics[name], digits=3), interval_text(metrics["ci95"][name]))
            table.add_row(system, METRIC_NAMES[name], *cells, end_section=name == COMPARED[-1])
    return table


def _difference_table(comparison: Comparison) -> Table:
    table = _new_table(
        "differences of the average", comparison, ["metric", "difference", "95% interval", "p", "p, corrected"]
    )
    is_pair = len(comparison.names) == 2
    for row in comparison.differences:
        if row.target == AVERAGE and row.value is not None and (is_pair or row.metric == "accuracy"):
            cells = (difference(row.value), range_text(row.ci95), p_text(row.p), p_text(row.p_corrected))
            table.add_row(f"{row.system} − {row.minus}", METRIC_NAMES[row.metric], *cells)
    return table


def _interval_table(comparison: Comparison) -> Table:
    level = percent(INTERVAL_LEVEL, 0)
    table = _new_table(f"{level} intervals of the scores", comparison, ["intervals", "coverage", "mean width"])
    for system in (*comparison.names, FLOOR):
        for kind, intervals in (("its own", comparison.own_intervals), ("calibrated here", comparison.calibrated)):
            if average := intervals.get(system, {}).get(AVERAGE):
                cells = (kind, percent(average["coverage"]), decimal(average["width"], digits=3))
                table.add_row(system, *cells, style=STYLES.get(system))
    return table


def _new_table(title: str, comparison: Comparison, columns: list[str]) -> Table:
    clips, kind = len(comparison.clips.clips), comparison.clips.cluster_kind
    table = titled_table(
        f"{title} ({counted(clips, 'clip')} of {counted(len(set(comparison.clips.clusters.tolist())), kind)})",
        targets=comparison.clips.targets,
    )
    table.add_column("system", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right")
    return table
