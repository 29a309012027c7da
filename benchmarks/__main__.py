"""Measure speed, memory and behaviour against goals: `python -m benchmarks NAME`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.inputs import QUICK, Effort, temporary_inputs
from benchmarks.measurements import Measurement, busy_warning, machine_info
from benchmarks.registry import ALL, SCRIPTS, TABLE, script, table_part
from crnet.cli.progress import progress_display
from crnet.cli.terminal import console
from crnet.errors import CrnetError

ALL_SUMMARY = f"the table of docs/performance.md: the next {len(TABLE)} benchmarks"
DESCRIPTION = "Measure speed, memory and behaviour against goals."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a benchmark and print its rows.

    Returns:
        0: done; 1: a benchmark outside the table missed a goal; 2: bad input or usage.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser(arguments[0] if arguments else None).parse_args(arguments)
    machine = machine_info()
    warning = busy_warning(machine["load_average"], machine["cores"])
    for line in (_machine_line(machine), *([f"warning: {warning}"] if warning else [])):
        print(line, file=sys.stderr)
    try:
        rows = list(script(options.name).measure(options) if options.name in SCRIPTS else _table_rows(options))
    except CrnetError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps([row.to_dict() for row in rows], indent=2, allow_nan=False))
    else:
        _print_table(rows)
    return int(options.name in SCRIPTS and any(row.holds is False for row in rows))


def _parser(name: str | None) -> argparse.ArgumentParser:
    """Build the parser. It imports only the benchmark `name` and adds its options."""
    summaries = {ALL: ALL_SUMMARY, **TABLE, **SCRIPTS}
    listing = "\n".join(f"  {benchmark:<16}{summary}" for benchmark, summary in summaries.items())
    raw_text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=DESCRIPTION, epilog=f"benchmarks:\n{listing}", formatter_class=raw_text
    )
    subparsers = parser.add_subparsers(dest="name", metavar="NAME", required=True, help="NAME --help lists its options")
    for benchmark, summary in summaries.items():
        description = script(benchmark).__doc__ if benchmark == name and benchmark in SCRIPTS else summary
        benchmark_parser = subparsers.add_parser(benchmark, description=description, formatter_class=raw_text)
        benchmark_parser.add_argument("--json", action="store_true", help="print the rows as a JSON list")
        if benchmark not in SCRIPTS:
            _add_table_arguments(benchmark_parser)
        elif benchmark == name:
            script(benchmark).add_arguments(benchmark_parser)
    return parser


def _add_table_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--video", type=Path, help="video of a talking person to measure with (default: synthetic)")
    parser.add_argument("--repeats", type=_positive, help="rounds of each comparison; their median counts")
    parser.add_argument("--quick", action="store_true", help="check that everything runs, in a minute; measures little")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} repeats (give 1 or more)")
    return int(text)


def _table_rows(options: argparse.Namespace) -> Iterator[Measurement]:
    """Run one part of the table, or all parts, with a progress bar."""
    effort = QUICK if options.quick else Effort()
    if options.repeats is not None:
        effort = replace(effort, repeats=options.repeats)
    parts = list(TABLE) if options.name == ALL else [options.name]
    with progress_display() as progress, temporary_inputs(options.video, effort) as inputs:
        for number, part in enumerate(parts):
            progress("benchmark", number, len(parts), part)
            yield from table_part(part).measure(inputs)
        progress("benchmark", len(parts), len(parts))


def _machine_line(machine: dict[str, Any]) -> str:
    versions = machine["versions"]
    listed = ", ".join(
        f"{name} {versions[name]}" for name in ("python", "crnet", "torch", "openvino", "av") if name in versions
    )
    gpu = "" if machine["gpu"] is None else f", {machine['gpu']}"
    sets = f" ({machine['instruction_sets']})" if machine["instruction_sets"] else ""
    processor = f"{machine['processor']}{sets}, {machine['cores']} cores{gpu}"
    return f"{processor}, {machine['system']}; load {machine['load_average']}; {listed}"


def _print_table(rows: list[Measurement]) -> None:
    """Print the rows as a table, with what each value is measured against."""
    from rich import box
    from rich.table import Column, Table

    table = Table("row", Column("value", justify="right"), Column("goal", no_wrap=True), "", "measured against",
                  box=box.SIMPLE_HEAD, pad_edge=False)  # fmt: skip
    verdicts = {True: "[green]holds[/]", False: "[red]missed[/]", None: ""}
    for row in rows:
        details = ", ".join(f"{name} {value}" for name, value in row.detail.items())
        text = row.limit + (f" [dim]({details})[/]" if details else "")
        table.add_row(row.name, f"{row.value:.3g} {row.unit}", row.goal_text or "", verdicts[row.holds], text)
    console().print(table)
    judged = [row.holds for row in rows if row.holds is not None]
    if judged:
        print(f"{sum(judged)} of {len(judged)} goals hold")


if __name__ == "__main__":
    sys.exit(main())
