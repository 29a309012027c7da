"""`python -m benchmarks`: speed and memory against the limits of this machine."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.measurements import Figure, busy_warning, machine
from benchmarks.results_table import PARTS, QUICK, Effort, measure
from crnet.cli.progress import progress_display
from crnet.cli.terminal import console
from crnet.errors import CrnetError


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the rows; returns the exit code: 0 done, 2 bad input or usage."""
    options = _parser().parse_args(arguments)
    effort = QUICK if options.quick else Effort()
    if options.repeats is not None:
        effort = replace(effort, repeats=options.repeats)
    here = machine()
    warning = busy_warning(here["load_average"], here["cores"])
    for line in (_described(here), *([f"warning: {warning}"] if warning else [])):
        print(line, file=sys.stderr)
    try:
        with progress_display() as progress:
            rows = list(measure(PARTS if options.name == "all" else (options.name,), options.video, effort, progress))
    except CrnetError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps([row.to_dict() for row in rows], indent=2, allow_nan=False))
    else:
        _show(rows)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", default="all", choices=(*PARTS, "all"), help="a part, or all")
    parser.add_argument("--video", type=Path, help="a talking person to measure with; by default a synthetic clip")
    parser.add_argument("--repeats", type=_positive, help="rounds of each comparison; the median counts")
    parser.add_argument("--quick", action="store_true", help="check in a minute that everything works; measures little")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} repeats (give 1 or more)")
    return int(text)


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


if __name__ == "__main__":
    sys.exit(main())
