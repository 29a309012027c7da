"""The rank column and the bold type of Table 1."""

from __future__ import annotations

from crnet.experiments.columns import COLUMNS
from crnet.experiments.paper.published import TABLE_1
from crnet.experiments.paper.tables import TABLES, table_1, table_3
from crnet.experiments.rendering.accuracy_table import accuracy_table
from crnet.experiments.rendering.ranking import with_ranks
from crnet.experiments.rendering.rendered_table import RenderedRow
from crnet.experiments.table_experiment import Table

PRINTED_RANKS = [1, 2, 3, 4, 4, 6, 7, 8, 8, 10, 11, 12, 13, 14, 15]
PRINTED_BOLD = {
    "Our": {"agreeableness", "conscientiousness", "openness", "average", "interview"},
    "Our-w/o text": {"neuroticism", "conscientiousness"},
    "Kaya et al. (2017) **": {"extraversion"},
}


def bold_columns(row: RenderedRow, place: int) -> set[str]:
    return {COLUMNS[cell - place - 1] for cell in row.bold}


def test_the_printed_systems_have_the_ranks_and_the_bold_values_of_the_paper() -> None:
    rows = [(RenderedRow((name, *[""] * 7), "paper"), scores) for name, scores in TABLE_1.items()]
    ranked = with_ranks(rows, 1)
    assert [row.cells[1] for row in ranked] == [str(rank) for rank in PRINTED_RANKS]
    assert {row.cells[0]: bold_columns(row, 1) for row in ranked if row.bold} == PRINTED_BOLD


def test_a_printed_system_in_several_rows_counts_once() -> None:
    rows = [(RenderedRow((name, *[""] * 7), "paper"), TABLE_1[name]) for name in ("Our", "Our", "Our-w/o text")]
    assert [row.cells[1] for row in with_ranks(rows, 1)] == ["1", "1", "2"]


def test_measured_rows_are_ranked_by_what_they_show() -> None:
    averages = [0.90004, 0.90001, 0.91, None, 0.88]  # the first two show .9000
    rows = [(RenderedRow(("", *[""] * 7)), {} if mean is None else dict.fromkeys(COLUMNS, mean)) for mean in averages]
    ranked = with_ranks(rows, 1)
    assert [row.cells[1] for row in ranked] == ["2", "2", "1", "", "4"]
    assert [bool(row.bold) for row in ranked] == [False, False, True, False, False]


def test_table_1_ranks_measured_and_printed_rows_apart() -> None:
    def row(group: str, name: str, mean: float | None, paper: str | None) -> dict[str, object]:
        measured = {} if mean is None else {"accuracy": {c: {"mean": mean, "sd": None} for c in COLUMNS}}
        others = {"error_removed": {"mean": 0.1}, "spread": {"mean": 0.5}, "failure": None}
        return {"group": group, "name": name, "paper": paper and TABLE_1[paper], **others, **measured}

    data = {
        "rows": [row("2-D", "all", 0.89, "Our"), row("2-D", "w/o text", 0.9, "Our-w/o text"),
                 row("published", "Kaya", None, "Kaya et al. (2017) **")],
        "floor": dict.fromkeys(COLUMNS, 0.88), "clips": 4, "seeds": [0], "conditions": "",
    }  # fmt: skip
    table = accuracy_table("t", data, ranked=True)
    assert table.header[:4] == ("", "", "", "rank")
    assert [(row.cells[2], row.cells[3]) for row in table.rows] == [
        ("ours", "2"), ("paper", "1"), ("ours", "1"), ("paper", "2"), ("paper", "3"), ("ours", ""),
        ("FIv2, validation", ""),
    ]  # fmt: skip
    assert "| 2-D | w/o text | ours | 1 | **.9000** |" in table.to_markdown()
    assert r"*paper* | *3* | ***.9213*** |" in table.to_markdown()
    assert r"\textit{\textbf{.9213}}" in table.to_latex()
    unranked = accuracy_table("t", data)
    assert "rank" not in unranked.to_markdown() and "**" not in unranked.to_markdown()


def test_only_table_1_is_ranked() -> None:
    built = [table_1(("r2d34",)), table_3(("r2d34",)), *(table for table in TABLES if isinstance(table, Table))]
    assert [table.name for table in built if table.ranked] == ["table1"]
