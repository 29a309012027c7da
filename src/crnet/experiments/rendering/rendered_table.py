"""A table as cells of text, and its Markdown and LaTeX.

We write both ourselves. tabulate and pandas need as much code around them: neither escapes `|` in Markdown or knows the
LaTeX of ± and −, and their LaTeX escapes either every cell, our italics included, or none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

RowKind = Literal["ours", "paper", "floor"]

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
    """

    cells: tuple[str, ...]
    kind: RowKind = "ours"


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
        rows = [self.header, rule, *(_markdown_cells(row) for row in self.rows)]
        lines = "".join(f"| {' | '.join(map(_escape_bar, row))} |\n" for row in rows)
        return lines + "".join(f"\n{note}\n" for note in self.notes)

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


def latex(text: str) -> str:
    """Escape text for LaTeX."""
    return text.translate(_LATEX)


def _markdown_cells(row: RenderedRow) -> list[str]:
    return [f"*{cell}*" if row.kind == "paper" and cell else cell for cell in row.cells]


def _escape_bar(cell: str) -> str:
    return cell.replace("|", r"\|")


def _latex_cells(row: RenderedRow) -> list[str]:
    cells = [latex(cell) for cell in row.cells]
    return [rf"\textit{{{cell}}}" if row.kind == "paper" and cell else cell for cell in cells]


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"
