"""Tables of an evaluation for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crnet.data.ceiling_file import attainable_metrics
from crnet.evaluation.evaluation import FLOOR, FUSION, SHORT_NAMES, Evaluation
from crnet.fusion.conformal import INTERVAL_LEVEL
from crnet.metrics import AVERAGE
from crnet.types import TARGETS
from crnet.utils.number_format import decimal, error_removed_text, interval_text, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

REVERSED = "neuroticism is reversed: a high score means emotionally stable"
COLUMNS = (*TARGETS, AVERAGE)
CEILING_TITLES = {"interview": "inter-\nview", AVERAGE: "aver-\nage"}  # broken so that 80 columns suffice
STYLES = {FUSION: "bold", FLOOR: "dim", AVERAGE: "bold"}


def tables(evaluation: Evaluation) -> list[Table]:
    """Return all tables: 1 - MAE of every system, all metrics of the fused system, and what else was measured."""
    tables = [_accuracy_table(evaluation), _detail_table(evaluation, FUSION)]
    if evaluation.intervals is not None:
        tables.append(_interval_table(evaluation, evaluation.intervals))
    tables += [_overlap_table(evaluation, grouping) for grouping in evaluation.split_overlap]
    return [*tables, _ceiling_table(evaluation)] if evaluation.ceiling_share() else tables


def comparison(own: Evaluation, other: Evaluation) -> Table:
    """Compare one configuration under two protocols: what a network gains from knowing the video or the person."""
    title = f"{own.protocol} splits ({len(own.rows)} clips) and {other.protocol} splits ({len(other.rows)} clips)"
    table = _new_table(title, other, "average of\nthe traits")
    for name in ("1-MAE", "removed", "R2"):
        for evaluation in (own, other):
            protocol = str(evaluation.protocol).replace("-", "-\n")  # so that 80 columns suffice
            table.add_column(f"{name}\n{protocol}", justify="right")
    for system in own.systems:
        if system not in other.systems:
            continue
        pair = [evaluation.systems[system][AVERAGE] for evaluation in (own, other)]
        cells = [decimal(metrics["accuracy"]) for metrics in pair]
        cells += ["" if system == FLOOR else percent(metrics["error_removed"]) for metrics in pair]
        cells += [decimal(metrics["r2"], digits=2) for metrics in pair]
        table.add_row(system, *_n_cell(other), *cells, style=STYLES.get(system))
    return table


def _overlap_table(evaluation: Evaluation, grouping: str) -> Table:
    seen, unseen = (evaluation.split_overlap[grouping][name] for name in ("seen", "unseen"))
    title = f"{seen['clips']} clips whose {grouping} is in another split too, {unseen['clips']} whose {grouping} is not"
    table = _new_table(title, evaluation, "average of\nthe traits")
    for name in ("1-MAE\nseen", "1-MAE\nunseen", "error removed\nseen", "error removed\nunseen"):
        table.add_column(name, justify="right")
    for system, metrics in seen["systems"].items():
        pair = (metrics, unseen["systems"][system])
        cells = [decimal(part["accuracy"]) for part in pair]
        cells += ["" if system == FLOOR else error_removed_text(part) for part in pair]
        table.add_row(system, *_n_cell(evaluation), *cells, style=STYLES.get(system))
    return table


def _accuracy_table(evaluation: Evaluation) -> Table:
    table = _new_table(f"1 - MAE on the {evaluation.split} split", evaluation, "system")
    for name in COLUMNS:
        table.add_column(SHORT_NAMES[name], justify="right")
    table.add_column("error\nremoved", justify="right")
    for system, metrics in evaluation.systems.items():
        cells = [decimal(metrics[name]["accuracy"]) for name in COLUMNS]
        removed = "" if system == FLOOR else percent(metrics[AVERAGE]["error_removed"])
        table.add_row(system, *_n_cell(evaluation), *cells, removed, style=STYLES.get(system))
    return table


def _detail_table(evaluation: Evaluation, system: str) -> Table:
    table = _new_table(f"{system} in detail", evaluation, "target")
    for name in ("1-MAE", "95%\ninterval", "floor", "error\nremoved", "R2", "r", "CCC", "spread"):
        table.add_column(name, justify="right")
    for target in COLUMNS:
        metrics = evaluation.systems[system][target]
        table.add_row(
            target,
            *_n_cell(evaluation),
            decimal(metrics["accuracy"]),
            interval_text(metrics["ci95"]["accuracy"]),
            decimal(metrics["floor_accuracy"]),
            percent(metrics["error_removed"]),
            *(decimal(metrics[name], digits=2) for name in ("r2", "pearson", "ccc", "spread")),
            style=STYLES.get(target),
        )
    return table


def _ceiling_table(evaluation: Evaluation) -> Table:
    """Return, for simulated clips, the share of the gap between floor and ceiling that each system closes."""
    table = _new_table("share of the gap between floor and ceiling that is closed, in R2", evaluation, "system")
    for name in COLUMNS:
        table.add_column(CEILING_TITLES.get(name, SHORT_NAMES[name]), justify="right")
    for name in ("R2", "ceil-\ning", "share\n1-MAE"):
        table.add_column(name, justify="right")
    for system, shares in evaluation.ceiling_share().items():
        ceiling = attainable_metrics(evaluation.ceiling or {}, evaluation.split, system) or {}
        table.add_row(
            system,
            *_n_cell(evaluation),
            *(percent(shares[name]["r2"], 0) for name in COLUMNS),
            decimal(evaluation.systems[system][AVERAGE]["r2"], digits=2),
            decimal(ceiling[AVERAGE]["r2"], digits=2),
            percent(shares[AVERAGE]["accuracy"], 0),
            style=STYLES.get(system),
        )
    return table


def _interval_table(evaluation: Evaluation, intervals: dict[str, dict[str, float]]) -> Table:
    table = _new_table(f"{percent(INTERVAL_LEVEL, 0)} intervals of {FUSION}", evaluation, "target")
    for name in ("contain the\ntrue score", "mean\nwidth"):
        table.add_column(name, justify="right")
    for target, figures in intervals.items():
        coverage, width = percent(figures["coverage"]), decimal(figures["width"], digits=2)
        table.add_row(target, *_n_cell(evaluation), coverage, width, style=STYLES.get(target))
    return table


def titled_table(title: str, padding: int = 1, targets: Sequence[str] = TARGETS) -> Table:
    """Return an empty table of figures by target, whose caption says that neuroticism is reversed.

    Args:
        title: What the table shows.
        padding: Spaces behind each cell.
        targets: The targets; without neuroticism there is no caption.
    """
    from rich import box
    from rich.table import Table

    return Table(
        title=f"\n{title}",
        caption=REVERSED if "neuroticism" in targets else None,
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, padding, 0, 0),
        title_justify="left",
        caption_justify="left",
    )


def _new_table(title: str, evaluation: Evaluation, first_column: str) -> Table:
    """Return an empty table that fits 80 columns; if clips are missing, each row of figures gets its n."""
    missing = len(evaluation.missing)
    clips = f"{len(evaluation.rows)} clips" + (f", {missing} missing" if missing else "")
    encoder = "" if evaluation.encoder is None else f"; text encoder {evaluation.encoder}"
    heading = f"{title} ({clips}; initial weights {evaluation.initialisation}{encoder})"
    table = titled_table(heading, padding=0 if missing else 1)
    table.add_column(first_column)
    if missing:
        table.add_column("n", justify="right")
    return table


def _n_cell(evaluation: Evaluation) -> tuple[str, ...]:
    return (str(len(evaluation.rows)),) if evaluation.missing else ()
