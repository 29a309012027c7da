"""A table as rows of words, and the same table as Markdown, LaTeX and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure

from crnet.report.style import FAINT, GREEN, GREY, INK, VERMILION, new_figure

Kind = Literal["ours", "paper", "floor", "yes", "no", "open"]
LINE_IN, HEAD_IN = 0.21, 0.75  # height of a line of a picture, and of its title and header
TITLE_IN = 0.3
COLOURS: dict[Kind, str] = {"ours": INK, "floor": INK, "paper": GREY, "yes": GREEN, "no": VERMILION, "open": GREY}
WORD_POINTS = 7.5
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
class Line:
    """One line of a table: its cells, and what it says: whose numbers, or whether a claim holds."""

    cells: tuple[str, ...]
    kind: Kind = "ours"


@dataclass(frozen=True)
class Grid:
    """A table ready to be written.

    Attributes:
        title: Its heading.
        header: Names of the columns.
        lines: Each with as many cells as the header.
        words: How many of the first columns hold words; they stand to the left, numbers to the right.
        notes: What a reader must know, one sentence each.
    """

    title: str
    header: tuple[str, ...]
    lines: tuple[Line, ...]
    words: int = 1
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        widths = {len(line.cells) for line in self.lines} - {len(self.header)}
        if widths:
            raise ValueError(f"lines of {sorted(widths)} cells below a header of {len(self.header)}")

    def to_markdown(self) -> str:
        """Without the title: the place decides its level."""
        rule = ["---"] * self.words + ["---:"] * (len(self.header) - self.words)
        rows = [list(self.header), rule, *([_marked(cell, line.kind) for cell in line.cells] for line in self.lines)]
        text = "".join(f"| {' | '.join(_plain(cell) for cell in row)} |\n" for row in rows)
        return text + "".join(f"\n{note}\n" for note in self.notes)

    def to_latex(self) -> str:
        """A `table` with booktabs' rules."""
        columns = "l" * self.words + "r" * (len(self.header) - self.words)
        lines = [r"\begin{table}", r"\centering", r"\caption{" + latex(self.title) + "}"]
        lines += [r"\begin{tabular}{" + columns + "}", r"\toprule", _latex_row(self.header), r"\midrule"]
        for line in self.lines:
            if line.kind == "floor":
                lines.append(r"\midrule")
            lines.append(_latex_row(line.cells, emphasise=line.kind == "paper"))
        lines += [r"\bottomrule", r"\end{tabular}"]
        lines += [r"\par\smallskip\footnotesize " + latex(note) for note in self.notes]
        return "\n".join([*lines, r"\end{table}"]) + "\n"

    def to_figure(self) -> Figure:
        """The same as a picture: the paper's numbers in grey, claims that hold in green, reversed ones in red."""
        notes = [part for note in self.notes for part in _broken(note, 150)]
        height_in = HEAD_IN + LINE_IN * (len(self.lines) + len(notes) + 1)
        figure = new_figure(height_in)
        figure.set_layout_engine("none")
        places, starts = self._places()
        wide_in = max(9.0, places)
        figure.set_size_inches(wide_in, height_in)
        y = 1 - TITLE_IN / height_in
        figure.text(0.15 / wide_in, y, self.title, fontsize=10, weight="bold", color=INK, parse_math=False)
        y -= 1.3 * LINE_IN / height_in
        rows = [(Line(self.header), INK, "bold"), *((line, COLOURS[line.kind], "normal") for line in self.lines)]
        for number, (line, colour, weight) in enumerate(rows):
            for column, (cell, x) in enumerate(zip(line.cells, starts, strict=True)):
                align: Literal["left", "right"] = "left" if column < self.words else "right"
                figure.text(
                    x / wide_in, y, cell, fontsize=WORD_POINTS, ha=align, color=colour, weight=weight, parse_math=False
                )
            if number == 0 or line.kind == "floor":
                above = y + (-0.35 if number == 0 else 0.8) * LINE_IN / height_in
                figure.add_artist(_rule(above, 0.1 / wide_in, 1 - 0.1 / wide_in))
            y -= LINE_IN / height_in
        for note in notes:
            figure.text(0.15 / wide_in, y, note, fontsize=WORD_POINTS - 1, color=GREY, parse_math=False)
            y -= LINE_IN / height_in
        return figure

    def _places(self) -> tuple[float, list[float]]:
        """Width of the picture in inches, and where each column begins (words) or ends (numbers)."""
        character_in = WORD_POINTS / 72 * 0.62
        x, places = 0.15, []
        for column, name in enumerate(self.header):
            longest = max(len(cell) for cell in (name, *(line.cells[column] for line in self.lines)))
            width = longest * character_in + 0.12
            places.append(x if column < self.words else x + width - 0.06)
            x += width
        return x + 0.15, places


def latex(text: str) -> str:
    """Words as LaTeX wants them."""
    return text.translate(_LATEX)


def _latex_row(cells: Sequence[str], emphasise: bool = False) -> str:
    words = (latex(cell) for cell in cells)
    return " & ".join(rf"\textit{{{word}}}" if emphasise and word else word for word in words) + r" \\"


def _marked(cell: str, kind: Kind) -> str:
    return f"*{cell}*" if kind == "paper" and cell else cell


def _plain(cell: str) -> str:
    return cell.replace("|", r"\|")


def _broken(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width)


def _rule(y: float, x0: float, x1: float):  # type: ignore[no-untyped-def]
    from matplotlib.lines import Line2D

    return Line2D([x0, x1], [y, y], color=FAINT, linewidth=0.8)
