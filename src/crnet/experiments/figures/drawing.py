"""What every figure leaves behind: a picture and the numbers that are drawn in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure

from crnet.experiments.net_spec import NetSpec
from crnet.experiments.predictors import network_scores
from crnet.experiments.workspace import Lab
from crnet.report.style import png
from crnet.types import Split
from crnet.utils.files import write_bytes, write_text
from crnet.utils.number_format import decimal


def leave(
    folder: Path, name: str, picture: Figure | bytes, header: Sequence[str], rows: Iterable[Sequence[object]]
) -> tuple[Path, Path]:
    """Write `NAME.png` and `NAME.csv` into a folder.

    Args:
        folder: Where to; made if it is not there.
        name: Of both files.
        picture: The figure, or a PNG file already.
        header: Names of the columns.
        rows: The numbers; None becomes an empty cell.

    Raises:
        StorageError: They cannot be written.
    """
    written = folder / f"{name}.png", folder / f"{name}.csv"
    write_bytes(written[0], picture if isinstance(picture, bytes) else png(picture))
    write_text(written[1], csv_text(header, rows))
    return written


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV; floating-point numbers with six decimals."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows([f"{cell:.6f}" if isinstance(cell, float) else cell for cell in row] for row in rows)
    return text.getvalue()


def prose(text: str) -> str:
    """Markdown with one line a paragraph, however the text was broken; paragraphs that are tables stay as they are."""
    paragraphs = [part.strip() for part in text.split("\n\n")]
    return "\n\n".join(part if part.startswith("|") else " ".join(part.split()) for part in paragraphs if part)


def image(path: Path, words: str) -> str:
    """The Markdown that shows a picture which lies beside the page."""
    return f"![{words}]({path.name})"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them: "a, b and c"."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def of_seeds(values: Sequence[float]) -> str:
    """Mean and, of two or more seeds, their standard deviation (n - 1), as in the tables."""
    return decimal(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def over_seeds(lab: Lab, spec: NetSpec, split: Split) -> Float64[np.ndarray, "S N 6"]:
    """A network's own scores of a split's clips with each of the lab's seeds, in [0, 1]."""
    return np.stack([network_scores(lab, spec, seed, split) for seed in lab.seeds])
