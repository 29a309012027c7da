"""What the commands share of the terminal: progress bars, predictions, JSON. Only they and `crnet.cli.main` print."""

from __future__ import annotations

import contextlib
import json as json_module
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from crnet.types import Prediction
    from crnet.utils.progress import Progress


@contextlib.contextmanager
def bars() -> Iterator[Progress]:
    """Progress as bars with an ETA on the terminal's stderr; nothing where nobody watches."""
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    screen = console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Bars(*columns, console=screen, disable=not screen.is_terminal) as shown:
        tasks: dict[str, TaskID] = {}

        def tell(task: str, done: int, total: int, note: str = "") -> None:
            if task not in tasks:
                tasks[task] = shown.add_task(task, total=total, note="")
            shown.update(tasks[task], completed=done, total=total, note=note)

        yield tell


def console(*, stderr: bool = False) -> Console:
    """The terminal; lines are not broken where a program reads them."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=sys.stdout is None or not sys.stdout.isatty())


def show_prediction(prediction: Prediction) -> None:
    """Print the scores of a video for a person, or why there are none."""
    from crnet.fusion.conformal import LEVEL

    screen = console()
    if prediction.error is not None:
        screen.print(f"{prediction.clip}: not scored: {prediction.error}", style="red", highlight=False, markup=False)
        return
    from rich import box
    from rich.table import Column, Table

    faces = prediction.faces
    seen = "" if faces is None else f", face in {faces.found} of {faces.looked_at} frames"
    screen.print(
        f"{prediction.clip} ({prediction.duration_s:.1f} s{seen})", style="bold", highlight=False, markup=False
    )
    for warning in prediction.warnings:
        screen.print(f"  warning: {warning}", style="yellow", highlight=False, markup=False)
    table = Table("", Column("score", no_wrap=True), *prediction.streams, box=box.SIMPLE_HEAD, pad_edge=False)
    for target, score in (prediction.scores or {}).items():
        interval = (prediction.intervals or {}).get(target)
        between = "" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f}, {100 * LEVEL:.0f}%)"
        note = " (high = stable)" if target == "neuroticism" else ""
        streams = (f"{scores[target]:.2f}" for scores in prediction.streams.values())
        table.add_row(target + note, f"{score:.2f}{between}", *streams)
    screen.print(table)


def print_json(document: Mapping[str, Any] | Sequence[Any], indent: int | None = 2) -> None:
    """Print one JSON document, in ASCII, so that no name of a file and no terminal can break it."""
    print(json_module.dumps(document, indent=indent, allow_nan=False), flush=True)
