"""Predictions as a CSV table."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from crnet.errors import StorageError
from crnet.types import PREDICTION_COLUMNS, Prediction
from crnet.utils.csv_cells import neutral_cell


@contextmanager
def open_prediction_csv(path: Path | str) -> Iterator[Callable[[Prediction], None]]:
    """Open a CSV table and yield a function that writes one prediction as one row.

    Text that a spreadsheet would run as a formula begins with an apostrophe (`crnet.utils.csv_cells`).
    Each row is on disk when the function returns, so an interrupted batch keeps the rows before.

    Raises:
        StorageError: The file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            table = csv.DictWriter(file, PREDICTION_COLUMNS, lineterminator="\n")
            table.writeheader()

            def write(prediction: Prediction) -> None:
                table.writerow({name: neutral_cell(cell) for name, cell in prediction.to_row().items()})
                file.flush()

            yield write
    except OSError as error:
        raise StorageError(
            f"cannot write: {error.strerror or error}", path=path, remedy="choose a file in a folder with space"
        ) from error
