"""Tables as Markdown and LaTeX, and numbers as papers print them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnet.experiments.rendering.rendered_table import RenderedRow, RenderedTable, latex
from crnet.utils.number_format import decimal, difference, p_text, percent

TABLE = RenderedTable(
    "50% & more",
    ("who", "score"),
    (RenderedRow(("ours", ".9 ±.1")), RenderedRow(("a|b", ".8"), "paper"), RenderedRow(("floor", ".7"), "floor")),
    notes=("A note.",),
)


def test_markdown() -> None:
    assert TABLE.to_markdown() == (
        "| who | score |\n| --- | ---: |\n| ours | .9 ±.1 |\n| *a\\|b* | *.8* |\n| floor | .7 |\n\nA note.\n"
    )


def test_markdown_shows_asterisks_of_cells_and_notes() -> None:
    # The paper marks systems by asterisks, which must not become italics or bullets.
    table = RenderedTable("t", ("",), (RenderedRow(("Kaya **",), "paper"),), notes=("** trained on two splits",))
    assert table.to_markdown() == "|  |\n| --- |\n| *Kaya \\*\\** |\n\n\\*\\* trained on two splits\n"


def test_latex() -> None:
    lines = TABLE.to_latex().splitlines()
    assert r"\caption{50\% \& more}" in lines
    assert r"\begin{tabular}{lr}" in lines
    assert r"ours & .9 $\pm$.1 \\" in lines
    assert r"\textit{a|b} & \textit{.8} \\" in lines
    assert lines.count(r"\midrule") == 2  # below the header and above the floor


@given(st.text())
def test_latex_escapes_every_special_character(text: str) -> None:
    rest = latex(text)
    for escape in (
        r"\textbackslash{}",
        r"\textasciitilde{}",
        r"\textasciicircum{}",
        *(f"\\{sign}" for sign in "&%$#_{}"),
    ):
        rest = rest.replace(escape, "")
    for escape in (r"$\pm$", "$<$", "$>$", "$-$"):
        rest = rest.replace(escape, "")
    assert not set(rest) & set("&%$#_{}~^\\")


def test_rows_must_have_as_many_cells_as_the_header() -> None:
    with pytest.raises(ValueError, match="the header has 2 cells"):
        RenderedTable("t", ("a", "b"), (RenderedRow(("1", "2", "3")),))


def test_numbers() -> None:
    assert decimal(0.91884) == ".9188"
    assert decimal(0.91884, 0.00123) == ".9188 ±.0012"
    assert decimal(1.0) == "1.0000"
    assert decimal(-0.5, digits=2) == "−.50"
    assert decimal(None) == "–"
    assert difference(0.0031) == "+.0031"
    assert difference(-0.0031, 0.01) == "−.0031 ±.0100"
    assert difference(-0.000001) == "+.0000"
    assert (percent(0.296), percent(-0.01), percent(None)) == ("29.6%", "−1.0%", "–")
    assert (p_text(0.0342), p_text(0.0001), p_text(0.9999), p_text(None)) == (".034", "<.001", ">.999", "–")
