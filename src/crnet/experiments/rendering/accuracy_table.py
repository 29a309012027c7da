"""Tables of 1 - MAE by target, with the paper's numbers below ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crnet.experiments.claims import Verdict
from crnet.experiments.columns import COLUMNS, PublishedScores
from crnet.experiments.rendering.claims_table import claims_section
from crnet.experiments.rendering.csv_text import csv_text
from crnet.experiments.rendering.ranking import ScoredRow, with_ranks
from crnet.experiments.rendering.rendered_table import RenderedRow, RenderedTable, write_table
from crnet.experiments.workspace import Section
from crnet.metrics import AVERAGE
from crnet.types import TARGETS, TRAITS
from crnet.utils.number_format import decimal, percent

FIV2_FLOOR: PublishedScores = {
    **dict(zip(TARGETS, (0.8806, 0.8790, 0.8994, 0.8740, 0.8844, 0.8832), strict=True)),
    AVERAGE: 0.8835,
}
"""1 - MAE of the training median for everyone on the FIv2 validation split. Not from the paper; see docs/paper.md."""

TRAIT_INITIALS = {trait: trait[0].upper() for trait in TRAITS}
OURS, PAPER = "ours", "paper"
TEXT_COLUMNS = 3
RANK_NOTE = (
    "rank: by the average as shown. Bold: the best value of a column. Rows measured here and rows printed in the paper "
    "are ranked apart."
)
COLUMN_NOTES = (
    "E, N, A, C, O: the five traits; a high N means emotionally stable. average: the mean of the five traits."
)
METRIC_NOTES = (
    "error removed: share of the floor's error that is removed, average of the five traits; for the paper's rows, the "
    "floor is that of the FIv2 validation split. spread: standard deviation of the predictions over that of the truth."
)
FLOOR_NAMES = ("floor", "training median for everyone")
CSV_HEADER = (
    *("group", "row", "predictor", "target", "mean", "sd", "paper", "floor"),
    *("alternative", "alternative_mean", "alternative_sd"),
)


def write_accuracy_section(
    folder: Path, name: str, title: str, data: Mapping[str, Any], notes: Sequence[str] = (), *, ranked: bool = False
) -> Section:
    """Write a measured table and its claims as Markdown, LaTeX and CSV.

    Args:
        folder: The folder.
        name: Name of the files.
        title: The heading.
        data: The numbers that `crnet.experiments.table_experiment.Table.run` measured.
        notes: Notes below the table.
        ranked: Show the rank of each row, and the best value of each column in bold.
    """
    table = accuracy_table(title, data, notes, ranked=ranked)
    files = write_table(folder, name, table, accuracy_csv(data))
    claims, claims_files = claims_section(folder, name, [Verdict.from_dict(document) for document in data["claims"]])
    return Section(title, table.to_markdown() + claims, (*files, *claims_files), data)


def accuracy_table(
    title: str, data: Mapping[str, Any], notes: Sequence[str] = (), *, ranked: bool = False
) -> RenderedTable:
    """Return a table with each measured row above the paper's, and the floor at the end."""
    alternatives = sorted({row["alternative"]["predictor"] for row in data["rows"] if row.get("alternative")})
    header = (
        "",
        "",
        "",
        *(TRAIT_INITIALS.get(name, name) for name in COLUMNS),
        "error removed",
        "spread",
        *alternatives,
    )
    empty = [""] * (2 + len(alternatives))
    floor = [decimal(data["floor"][name]) for name in COLUMNS]
    fiv2_floor = [decimal(FIV2_FLOOR[name]) for name in COLUMNS]
    scored_rows = [
        *(rendered for row in data["rows"] for rendered in _rendered_rows(row, alternatives)),
        (RenderedRow((*FLOOR_NAMES, OURS, *floor, *empty), "floor"), {}),
        (RenderedRow(("", "", "FIv2, validation", *fiv2_floor, *empty), "paper"), {}),
    ]
    if ranked:
        rows = with_ranks(scored_rows, TEXT_COLUMNS)
        header, notes = (*header[:TEXT_COLUMNS], "rank", *header[TEXT_COLUMNS:]), (*notes, RANK_NOTE)
    else:
        rows = [row for row, _ in scored_rows]
    all_notes = (*notes, *_common_notes(data))
    return RenderedTable(title, header, tuple(rows), text_columns=TEXT_COLUMNS, notes=all_notes)


def _rendered_rows(row: Mapping[str, Any], alternatives: Sequence[str]) -> list[ScoredRow]:
    """Return the measured row, or dashes if training failed, and the paper's row, with their scores."""
    rows: list[ScoredRow] = []
    names = (row["group"], row["name"])
    if "accuracy" in row or row["failure"]:
        means = {name: value["mean"] for name, value in row.get("accuracy", {}).items()}
        rows.append((RenderedRow((*names, OURS, *_measured_cells(row, alternatives))), means))
        names = ("", "")
    if row["paper"]:
        cells = [decimal(row["paper"].get(name)) for name in COLUMNS]
        removed = 1 - (1 - row["paper"][AVERAGE]) / (1 - FIV2_FLOOR[AVERAGE])
        rendered = RenderedRow((*names, PAPER, *cells, percent(removed), *[""] * (1 + len(alternatives))), "paper")
        rows.append((rendered, row["paper"]))
    return rows


def _measured_cells(row: Mapping[str, Any], alternatives: Sequence[str]) -> list[str]:
    if "accuracy" not in row:
        return [*["–"] * len(COLUMNS), *[""] * (2 + len(alternatives))]
    cells = [_mean_sd(row["accuracy"][name]) for name in COLUMNS]
    cells += [percent(row["error_removed"]["mean"]), decimal(row["spread"]["mean"], digits=2)]
    alternative = row.get("alternative") or {"predictor": None}
    return cells + [_mean_sd(alternative[AVERAGE]) if alternative["predictor"] == name else "" for name in alternatives]


def _mean_sd(value: Mapping[str, float | None]) -> str:
    """Return mean and standard deviation as text."""
    return decimal(value["mean"], value["sd"])


def _common_notes(data: Mapping[str, Any]) -> list[str]:
    notes = [f"1 - MAE on {data['clips']} test clips, {seeds_note(data)}. {data['conditions']} {COLUMN_NOTES}"]
    notes.append(METRIC_NOTES)
    failed = [f"{row['group']} {row['name']}: {row['failure']}" for row in data["rows"] if row["failure"]]
    return notes + [f"Not measured: {text}." for text in failed]


def seeds_note(data: Mapping[str, Any]) -> str:
    """Return what the cells of a table are, with the number of seeds."""
    seeds = len(data["seeds"])
    return f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"


def accuracy_csv(data: Mapping[str, Any]) -> str:
    """Return the table as CSV, one line per row and target, with unrounded numbers."""
    rows = []
    for row in data["rows"]:
        for name in COLUMNS:
            ours = row["accuracy"][name] if "accuracy" in row else {"mean": None, "sd": None}
            alternative = row.get("alternative") if name == AVERAGE else None
            rows.append(
                [
                    *(row["group"], row["name"], row["predictor"], name, ours["mean"], ours["sd"]),
                    *((row["paper"] or {}).get(name), data["floor"][name]),
                    *(
                        (alternative["predictor"], alternative[AVERAGE]["mean"], alternative[AVERAGE]["sd"])
                        if alternative
                        else (None,) * 3
                    ),
                ]
            )
    return csv_text(CSV_HEADER, rows)
