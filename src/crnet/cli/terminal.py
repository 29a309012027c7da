"""Output that several commands share: the console, a prediction as a table, JSON. Only `crnet.cli` prints."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crnet.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

    from crnet.types import Prediction


def console(*, stderr: bool = False) -> Console:
    """Return the terminal's console, which breaks no lines if its output goes to a program."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=sys.stdout is None or not sys.stdout.isatty())


def show_prediction(prediction: Prediction) -> None:
    """Print the scores of a video as a table, or the reason why there are none."""
    from crnet.fusion.conformal import INTERVAL_LEVEL
    from crnet.types import target_label
    from crnet.utils.number_format import score_text

    screen = console()
    if prediction.error is not None:
        reason = prediction.error.removeprefix(f"{prediction.clip}: ")
        screen.print(printable(f"{prediction.clip}: not scored: {reason}"), style="red", highlight=False, markup=False)
        return
    from rich import box
    from rich.table import Column, Table

    faces = prediction.faces
    faces_text = "" if faces is None else f", face in {faces.found} of {faces.looked_at} frames"
    title = f"{printable(prediction.clip)} ({prediction.duration_s:.1f} s{faces_text})"
    screen.print(title, style="bold", highlight=False, markup=False)
    for warning in prediction.warnings:
        screen.print(f"  warning: {printable(warning)}", style="yellow", highlight=False, markup=False)
    table = Table("", Column("score", no_wrap=True), *prediction.streams, box=box.SIMPLE_HEAD, pad_edge=False)
    for target, score in (prediction.scores or {}).items():
        interval = (prediction.intervals or {}).get(target)
        streams = (score_text(scores[target]) for scores in prediction.streams.values())
        table.add_row(target_label(target), score_text(score, interval, INTERVAL_LEVEL), *streams)
    screen.print(table)


def print_json(document: Mapping[str, Any] | Sequence[Any], indent: int | None = 2) -> None:
    """Print one JSON document in ASCII, which every terminal and every file name survives."""
    print(json_module.dumps(document, indent=indent, allow_nan=False), flush=True)
