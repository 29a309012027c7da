"""Measure how near the code comes to the limits of the machine."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crnet.commands.outcome import EXIT_DONE
from crnet.errors import UsageError
from crnet.terminal import bars, console, print_json

if TYPE_CHECKING:
    from crnet.bench.figures import Figure


def bench(
    what: Literal["prepare", "loader", "train", "predict", "trees", "all"] = "all",
    /,
    *,
    video: Path | None = None,
    repeats: int | None = None,
    quick: bool = False,
    json: bool = False,
) -> int:
    """Measure speed and memory against the limits of this machine.

    Every figure is a ratio to a limit or a plain baseline that is measured in the same run, in turn with it
    (docs/performance.md explains each). On a busy machine the figures are worse than the code. Takes six minutes or so.

    Args:
        what: A part, or all.
        video: A video of a talking person to measure with; by default a drawn one. It is brought to 720p30 and 15 s.
        repeats: Rounds of each comparison, of which the median counts.
        quick: A minute's run that shows that everything works; its figures mean little.
        json: Print the rows as JSON.
    """
    from crnet.bench.figures import busy_warning, machine
    from crnet.bench.table import PARTS, QUICK, Effort, measure

    if repeats is not None and repeats < 1:
        raise UsageError(f"{repeats} repeats", remedy="give 1 or more")
    effort = QUICK if quick else Effort()
    effort = effort if repeats is None else replace(effort, repeats=repeats)
    here = machine()
    warning = busy_warning(here["load_average"], here["cores"])
    for line in (_described(here), *([f"warning: {warning}"] if warning else [])):
        print(line, file=sys.stderr)
    with bars() as progress:
        rows = list(measure(PARTS if what == "all" else (what,), video, effort, progress))
    if json:
        print_json([row.to_dict() for row in rows])
    else:
        _show(rows)
    return EXIT_DONE


def _described(here: dict[str, Any]) -> str:
    versions = here["versions"]
    shown = ", ".join(f"{name} {versions[name]}" for name in ("python", "crnet", "torch", "av") if name in versions)
    gpu = "" if here["gpu"] is None else f", {here['gpu']}"
    return f"{here['processor']}, {here['cores']} cores{gpu}, {here['system']}; load {here['load_average']}; {shown}"


def _show(rows: list[Figure]) -> None:
    """The rows as a table, with what was measured below each."""
    from rich import box
    from rich.table import Column, Table

    table = Table("what", Column("measured", justify="right"), Column("goal", no_wrap=True), "", "against, and details",
                  box=box.SIMPLE_HEAD, pad_edge=False)  # fmt: skip
    for row in rows:
        details = ", ".join(f"{name} {value}" for name, value in row.detail.items())
        verdict = "[green]holds[/]" if row.holds else "[red]missed[/]"
        text = row.limit + (f" [dim]({details})[/]" if details else "")
        table.add_row(row.name, f"{row.value:.3g} {row.unit}", row.goal_text, verdict, text)
    console().print(table)
    missed = sum(not row.holds for row in rows)
    print(f"{len(rows) - missed} of {len(rows)} goals hold")
