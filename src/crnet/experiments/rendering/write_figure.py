"""Files of a figure: the picture and its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from crnet.experiments.rendering.csv_text import csv_text
from crnet.report.figure_style import png
from crnet.utils.files import write_bytes, write_text

DECIMALS = 6  # of floating-point numbers in a figure's CSV


def write_figure(
    folder: Path, name: str, figure: Figure, header: Sequence[str], rows: Iterable[Sequence[object]]
) -> tuple[Path, Path]:
    """Write `NAME.png` and `NAME.csv`.

    Args:
        folder: The folder; created if missing.
        name: Name of both files, without the extension.
        figure: The picture.
        header: Column names of the CSV.
        rows: The numbers; None becomes an empty cell.

    Raises:
        StorageError: The files cannot be written.
    """
    picture, table = folder / f"{name}.png", folder / f"{name}.csv"
    write_bytes(picture, png(figure))
    write_text(table, csv_text(header, rows, DECIMALS))
    return picture, table
