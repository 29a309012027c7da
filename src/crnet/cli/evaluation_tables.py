"""What the terminal shows of an evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crnet.data.ceiling import attainable_metrics
from crnet.evaluation.evaluate import AVERAGE, FLOOR, FUSION, SHORT_NAMES, Evaluation
from crnet.fusion.conformal import LEVEL
from crnet.types import TARGETS
from crnet.utils.number_format import decimal, error_removed_text, interval_text, percent

if TYPE_CHECKING:
    from rich.table import Table

STABLE = "neuroticism: a high score means emotionally stable"
_STYLES = {FUSION: "bold", FLOOR: "dim"}


def tables(evaluation: Evaluation) -> list[Table]:
    """What the terminal shows: 1 - MAE of every system, and every figure of the best one, each with the floor."""
    tables = [_accuracy_table(evaluation), _detail_table(evaluation, FUSION)]
    if evaluation.intervals is not None:
        tables.append(_interval_table(evaluation, evaluation.intervals))
    tables += [_familiar_table(evaluation, grouping) for grouping in evaluation.familiar]
    return [*tables, _ceiling_table(evaluation)] if evaluation.share_of_way() else tables


def comparison(own: Evaluation, other: Evaluation) -> Table:
    """The same configuration by two protocols: what a network gains from knowing the video or the person."""
    clips = f"{len(own.rows)} clips of the {own.protocol} splits against {len(other.rows)} of {other.protocol}"
    table = _new_table(f"Other splits: {clips}", other, "average of\nthe traits")
    for name in ("1-MAE", "removed", "R2"):
        for evaluation in (own, other):
            words = str(evaluation.protocol).replace("-", "-\n")  # so that 80 columns suffice
            table.add_column(f"{name}\n{words}", justify="right")
    for system in own.systems:
        if system not in other.systems:
            continue
        pair = [evaluation.systems[system][AVERAGE] for evaluation in (own, other)]
        cells = [decimal(figures["accuracy"], digits=4) for figures in pair]
        cells += ["" if system == FLOOR else percent(figures["error_removed"]) for figures in pair]
        cells += [decimal(figures["r2"], digits=2) for figures in pair]
        table.add_row(system, *_n_cell(other), *cells, style=_STYLES.get(system))
    return table


def _familiar_table(evaluation: Evaluation, grouping: str) -> Table:
    seen, unseen = (evaluation.familiar[grouping][word] for word in ("seen", "unseen"))
    clips = f"{seen['clips']} clips whose {grouping} is in another split too, {unseen['clips']} whose is not"
    table = _new_table(f"Seen and unseen: {clips}", evaluation, "average of\nthe traits")
    for name in ("1-MAE\nseen", "1-MAE\nunseen", "error removed\nseen", "error removed\nunseen"):
        table.add_column(name, justify="right")
    for system, figures in seen["systems"].items():
        pair = (figures, unseen["systems"][system])
        cells = [decimal(of["accuracy"], digits=4) for of in pair]
        cells += ["" if system == FLOOR else error_removed_text(of) for of in pair]
        table.add_row(system, *_n_cell(evaluation), *cells, style=_STYLES.get(system))
    return table


def _accuracy_table(evaluation: Evaluation) -> Table:
    table = _new_table(f"1 - MAE on the {evaluation.split} split", evaluation, "system")
    for target in (*TARGETS, AVERAGE):
        table.add_column(SHORT_NAMES.get(target, target), justify="right")
    table.add_column("error\nremoved", justify="right")
    for name, figures in evaluation.systems.items():
        cells = [decimal(figures[target]["accuracy"], digits=4) for target in (*TARGETS, AVERAGE)]
        removed = "" if name == FLOOR else percent(figures[AVERAGE]["error_removed"])
        table.add_row(name, *_n_cell(evaluation), *cells, removed, style=_STYLES.get(name))
    return table


def _detail_table(evaluation: Evaluation, system: str) -> Table:
    table = _new_table(f"{system} in detail", evaluation, "target")
    for name in ("1-MAE", "95%\ninterval", "floor", "error\nremoved", "R2", "r", "CCC", "spread"):
        table.add_column(name, justify="right")
    for target in (*TARGETS, AVERAGE):
        figures = evaluation.systems[system][target]
        table.add_row(
            target,
            *_n_cell(evaluation),
            decimal(figures["accuracy"], digits=4),
            interval_text(figures["ci95"]["accuracy"]),
            decimal(figures["floor_accuracy"], digits=4),
            percent(figures["error_removed"]),
            *(decimal(figures[name], digits=2) for name in ("r2", "pearson", "ccc", "spread")),
            style="bold" if target == AVERAGE else None,
        )
    return table


def _ceiling_table(evaluation: Evaluation) -> Table:
    """Simulated clips only: the share of the way from the floor to the best that the true cues allow."""
    table = _new_table("share of the way from floor to ceiling (R2)", evaluation, "system")
    for name in (*TARGETS, AVERAGE):
        table.add_column(SHORT_NAMES.get(name, name), justify="right")
    for name in ("R2", "ceiling", "1-MAE\nshare"):
        table.add_column(name, justify="right")
    for system, shares in evaluation.share_of_way().items():
        best = attainable_metrics(evaluation.ceiling or {}, evaluation.split, system) or {}
        table.add_row(
            system,
            *_n_cell(evaluation),
            *(percent(shares[target]["r2"], 0) for target in (*TARGETS, AVERAGE)),
            decimal(evaluation.systems[system][AVERAGE]["r2"], digits=2),
            decimal(best[AVERAGE]["r2"], digits=2),
            percent(shares[AVERAGE]["accuracy"], 0),
            style=_STYLES.get(system),
        )
    return table


def _interval_table(evaluation: Evaluation, figures: dict[str, dict[str, float]]) -> Table:
    table = _new_table(f"{FUSION}'s {100 * LEVEL:.0f}% intervals", evaluation, "target")
    for name in ("hold the\ntrue score", "mean\nwidth"):
        table.add_column(name, justify="right")
    for target, of in figures.items():
        style = "bold" if target == AVERAGE else None
        table.add_row(
            target,
            *_n_cell(evaluation),
            percent(of["coverage"]),
            decimal(of["width"], digits=2),
            style=style,
        )
    return table


def _new_table(title: str, evaluation: Evaluation, first_column: str) -> Table:
    """An empty table that fits a terminal of 80 columns; with clips missing, n stands beside every row's figures."""
    from rich import box
    from rich.table import Table

    missing = len(evaluation.missing)
    clips = f"{len(evaluation.rows)} clips" + (f", {missing} missing" if missing else "")
    words = "" if evaluation.encoder is None else f"; words as {evaluation.encoder}"
    table = Table(
        title=f"\n{title} ({clips}; weights started from {evaluation.initialisation}{words})",
        caption=STABLE,
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 0 if missing else 1, 0, 0),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column(first_column)
    if missing:
        table.add_column("n", justify="right")
    return table


def _n_cell(evaluation: Evaluation) -> tuple[str, ...]:
    return (str(len(evaluation.rows)),) if evaluation.missing else ()
