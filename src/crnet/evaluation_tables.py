"""What the terminal shows of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crnet.conformal import LEVEL
from crnet.data.ceiling import ceiling_of
from crnet.evaluation import AVERAGE, FLOOR, FUSION, SHORT_NAMES, Evaluation
from crnet.schema import TARGETS

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
        cells = [_figure(figures["accuracy"], 4) for figures in pair]
        cells += ["" if system == FLOOR else _percent(figures["error_removed"]) for figures in pair]
        cells += [_figure(figures["r2"], 2) for figures in pair]
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
        cells = [_figure(of["accuracy"], 4) for of in pair]
        cells += ["" if system == FLOOR else with_interval(of) for of in pair]
        table.add_row(system, *_n_cell(evaluation), *cells, style=_STYLES.get(system))
    return table


def with_interval(figures: dict[str, Any]) -> str:
    """The share of the floor's error that is removed, and its interval if there is one: "54% (47 to 59)"."""
    interval = figures["ci95"]["error_removed"]
    bounds = "" if interval is None else f" ({100 * interval[0]:.0f} to {100 * interval[1]:.0f})"
    return f"{_percent(figures['error_removed'], 0)}{bounds}"


def _accuracy_table(evaluation: Evaluation) -> Table:
    table = _new_table(f"1 - MAE on the {evaluation.split} split", evaluation, "system")
    for target in (*TARGETS, AVERAGE):
        table.add_column(SHORT_NAMES.get(target, target), justify="right")
    table.add_column("error\nremoved", justify="right")
    for name, figures in evaluation.systems.items():
        cells = [_figure(figures[target]["accuracy"], 4) for target in (*TARGETS, AVERAGE)]
        removed = "" if name == FLOOR else _percent(figures[AVERAGE]["error_removed"])
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
            _figure(figures["accuracy"], 4),
            interval_text(figures["ci95"]["accuracy"]),
            _figure(figures["floor_accuracy"], 4),
            _percent(figures["error_removed"]),
            *(_figure(figures[name], 2) for name in ("r2", "pearson", "ccc", "spread")),
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
        best = ceiling_of(evaluation.ceiling or {}, evaluation.split, system) or {}
        table.add_row(
            system,
            *_n_cell(evaluation),
            *(_percent(shares[target]["r2"], 0) for target in (*TARGETS, AVERAGE)),
            _figure(evaluation.systems[system][AVERAGE]["r2"], 2),
            _figure(best[AVERAGE]["r2"], 2),
            _percent(shares[AVERAGE]["accuracy"], 0),
            style=_STYLES.get(system),
        )
    return table


def _interval_table(evaluation: Evaluation, figures: dict[str, dict[str, float]]) -> Table:
    table = _new_table(f"{FUSION}'s {100 * LEVEL:.0f}% intervals", evaluation, "target")
    for name in ("hold the\ntrue score", "mean\nwidth"):
        table.add_column(name, justify="right")
    for target, of in figures.items():
        style = "bold" if target == AVERAGE else None
        table.add_row(target, *_n_cell(evaluation), _percent(of["coverage"]), _figure(of["width"], 2), style=style)
    return table


def interval_text(interval: Sequence[float] | None) -> str:
    """An interval as a person reads it; empty if there is none."""
    return "" if interval is None else f"{_figure(interval[0], 3)}–{_figure(interval[1], 3)}"


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


def _figure(value: float | None, digits: int) -> str:
    """A figure as papers print it: .9188, without the zero."""
    if value is None:
        return "-"
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def _percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f}%"
