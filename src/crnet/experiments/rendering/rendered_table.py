"""A table as cells of text, its Markdown and LaTeX, and the files NAME.md, NAME.tex and NAME.csv.

We write both ourselves, because the libraries would leave us as much code. Neither tabulate nor pandas escapes `|` in
Markdown or translates ± and − to LaTeX. tabulate's LaTeX escapes either every cell, our italics included, or none; that
of pandas cannot style tables in which several columns share a name, such as the empty one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crnet.utils.files import write_text

RowKind = Literal["ours", "paper", "floor"]

_MARKDOWN = str.maketrans({"|": r"\|", "*": r"\*"})
_LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "<": r"$<$",
        ">": r"$>$",
        "−": "$-$",
    }
)


@dataclass(frozen=True)
class RenderedRow:
    """A row of a table.

    Attributes:
        cells: The text of the cells.
        kind: Origin of the numbers. Numbers of the paper are in italics; in LaTeX, a line separates the floor.
        bold: Places of the cells in bold type.
    """

    cells: tuple[str, ...]
    kind: RowKind = "ours"
    bold: frozenset[int] = frozenset()


@dataclass(frozen=True)
class RenderedTable:
    """A table ready to be written.

    Attributes:
        title: The heading.
        header: Column names.
        rows: The rows, each with as many cells as the header.
        text_columns: Number of columns, from the left, that hold text and are left-aligned; numbers are right-aligned.
        notes: Notes below the table.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[RenderedRow, ...]
    text_columns: int = 1
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = {len(row.cells) for row in self.rows} - {len(self.header)}
        if lengths:
            raise ValueError(f"the header has {len(self.header)} cells, but rows have {sorted(lengths)}")

    def to_markdown(self) -> str:
        """Return the table without its title, because the level of a heading depends on the page."""
        rule = ["---"] * self.text_columns + ["---:"] * (len(self.header) - self.text_columns)
        lines = [map(markdown, self.header), rule, *(_markdown_cells(row) for row in self.rows)]
        text = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
        return text + "".join(f"\n{markdown(note)}\n" for note in self.notes)

    def to_latex(self) -> str:
        """Return a `table` environment with rules by the booktabs package."""
        columns = "l" * self.text_columns + "r" * (len(self.header) - self.text_columns)
        lines = [r"\begin{table}", r"\centering", r"\caption{" + latex(self.title) + "}"]
        lines += [r"\begin{tabular}{" + columns + "}", r"\toprule", _latex_line(map(latex, self.header)), r"\midrule"]
        for row in self.rows:
            if row.kind == "floor":
                lines.append(r"\midrule")
            lines.append(_latex_line(_latex_cells(row)))
        lines += [r"\bottomrule", r"\end{tabular}"]
        lines += [r"\par\smallskip\footnotesize " + latex(note) for note in self.notes]
        return "\n".join([*lines, r"\end{table}"]) + "\n"


def write_table(folder: Path, name: str, table: RenderedTable, csv: str) -> list[Path]:
    """Write a table as Markdown and LaTeX, and its numbers as CSV.

    Args:
        folder: The folder; created if missing.
        name: Name of the files, without the extension.
        table: The table.
        csv: Text of the CSV file.

    Returns:
        The files.

    Raises:
        StorageError: The files cannot be written.
    """
    texts = {"md": f"# {table.title}\n\n{table.to_markdown()}", "tex": table.to_latex(), "csv": csv}
    for extension, text in texts.items():
        write_text(folder / f"{name}.{extension}", text)
    return [folder / f"{name}.{extension}" for extension in texts]


def markdown(text: str) -> str:
    """Escape text for Markdown tables and the notes below them."""
    return text.translate(_MARKDOWN)


def latex(text: str) -> str:
    """Escape text for LaTeX."""
    return text.translate(_LATEX)


def _markdown_cells(row: RenderedRow) -> list[str]:
    cells = [markdown(cell) for cell in row.cells]
    cells = [f"**{cell}**" if place in row.bold else cell for place, cell in enumerate(cells)]
    return [f"*{cell}*" if row.kind == "paper" and cell else cell for cell in cells]


def _latex_cells(row: RenderedRow) -> list[str]:
    cells = [latex(cell) for cell in row.cells]
    cells = [rf"\textbf{{{cell}}}" if place in row.bold else cell for place, cell in enumerate(cells)]
    return [rf"\textit{{{cell}}}" if row.kind == "paper" and cell else cell for cell in cells]


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"
