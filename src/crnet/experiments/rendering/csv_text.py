"""Tables as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from crnet.utils.csv_cells import neutral_cell


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]], decimals: int | None = None) -> str:
    """Return a table as CSV; None becomes an empty cell.

    Args:
        header: Names of the columns.
        rows: The cells.
        decimals: Decimals of floating-point numbers; None: as many as they have.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    for row in rows:
        table.writerow(
            [
                neutral_cell(cell) if decimals is None or not isinstance(cell, float) else f"{cell:.{decimals}f}"
                for cell in row
            ]
        )
    return text.getvalue()
