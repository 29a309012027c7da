"""The files of a table: NAME.md, NAME.tex, NAME.csv, NAME.png, and the same of its claims."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crnet.experiments.paper.claims import Verdict, claims_csv, claims_grid
from crnet.experiments.paper.published import AVERAGE, COLUMNS, FIV2_FLOOR
from crnet.experiments.rendering.rendered_table import Grid, Line
from crnet.experiments.workspace import Section
from crnet.report.style import png
from crnet.utils.files import write_bytes, write_text
from crnet.utils.number_format import decimal, percent

SHORT = {"extraversion": "E", "neuroticism": "N", "agreeableness": "A", "conscientiousness": "C", "openness": "O"}
HERE, PAPER = "here", "paper"
LETTERS = "E, N, A, C, O: the five traits (N: a high score means stable). average: of these five."


def write_table(folder: Path, name: str, title: str, data: Mapping[str, Any], notes: Sequence[str] = ()) -> Section:
    """Write a measured table and its claims in every form.

    Args:
        folder: Where to.
        name: Of the files.
        title: The heading.
        data: What `crnet.experiments.table.Table.run` measured.
        notes: What a reader must know.
    """
    grid = accuracy_grid(title, data, notes)
    files = write_grid(folder, name, grid)
    write_text(folder / f"{name}.csv", to_csv(data))
    files.append(folder / f"{name}.csv")
    judged, more = judged_part(folder, name, [Verdict.from_dict(document) for document in data["claims"]])
    return Section(title, grid.to_markdown() + judged, (*files, *more), data)


def judged_part(folder: Path, name: str, verdicts: Sequence[Verdict]) -> tuple[str, list[Path]]:
    """The end of a section, which says what holds of its claims, and its files `NAME-claims`; nothing of no claims."""
    if not verdicts:
        return "", []
    grid, files = write_claims(folder, f"{name}-claims", verdicts)
    return f"\n### {grid.title}\n\n{grid.to_markdown()}", files


def write_claims(
    folder: Path, name: str, verdicts: Sequence[Verdict], sections: Sequence[str] = ()
) -> tuple[Grid, list[Path]]:
    """Write what holds as Markdown, LaTeX, CSV and a picture; `sections` as in `claims_csv`."""
    grid = claims_grid(verdicts)
    files, table = write_grid(folder, name, grid), folder / f"{name}.csv"
    write_text(table, claims_csv(verdicts, sections))
    return grid, [*files, table]


def write_grid(folder: Path, name: str, grid: Grid) -> list[Path]:
    """Write a table as Markdown, LaTeX and a picture."""
    paths = [folder / f"{name}.{ending}" for ending in ("md", "tex", "png")]
    write_text(paths[0], f"# {grid.title}\n\n{grid.to_markdown()}")
    write_text(paths[1], grid.to_latex())
    write_bytes(paths[2], png(grid.to_figure()))
    return paths


def accuracy_grid(title: str, data: Mapping[str, Any], notes: Sequence[str] = ()) -> Grid:
    """1 - MAE of every row, the paper's below ours, and the floor at the end."""
    others = {row["beside"]["predictor"] for row in data["rows"] if row.get("beside")}
    header = ("", "", "", *(SHORT.get(name, name) for name in COLUMNS), "error removed", "spread", *sorted(others))
    lines: list[Line] = []
    for row in data["rows"]:
        ours = "accuracy" in row
        if ours or row["failure"]:
            cells = [decimal(*_mean_sd(row["accuracy"][name])) if ours else "–" for name in COLUMNS]
            cells += (
                [percent(row["error_removed"]["mean"]), decimal(row["spread"]["mean"], digits=2)] if ours else ["", ""]
            )
            cells += [_beside(row, other) for other in sorted(others)]
            lines.append(Line((row["group"], row["name"], HERE, *cells)))
        if row["paper"]:
            names = ("", "") if lines and (ours or row["failure"]) else (row["group"], row["name"])
            cells = [decimal(row["paper"].get(name)) for name in COLUMNS]
            removed = 1 - (1 - row["paper"][AVERAGE]) / (1 - FIV2_FLOOR[AVERAGE])
            lines.append(Line((*names, PAPER, *cells, percent(removed), "", *("" for _ in others)), "paper"))
    blank = ("", "", *("" for _ in others))
    lines.append(
        Line(
            ("floor", "one number for everyone", HERE, *(decimal(data["floor"][n]) for n in COLUMNS), *blank),
            "floor",
        )
    )
    lines.append(Line(("", "", "FIv2, validation", *(decimal(FIV2_FLOOR[n]) for n in COLUMNS), *blank), "paper"))
    return Grid(title, header, tuple(lines), words=3, notes=(*notes, *_common_notes(data)))


def _common_notes(data: Mapping[str, Any]) -> list[str]:
    seeds = len(data["seeds"])
    over = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    notes = [f"1 - MAE on {data['clips']} test clips, {over}. {data['conditions']} {LETTERS}"]
    notes.append(
        "error removed: of the floor's, on average; the paper's is taken against FIv2's validation floor. "
        "spread: deviation of the predictions over that of the truth."
    )
    failed = [f"{row['group']} {row['name']}: {row['failure']}" for row in data["rows"] if row["failure"]]
    return notes + [f"Not measured: {text}." for text in failed]


def _beside(row: Mapping[str, Any], other: str) -> str:
    beside = row.get("beside")
    return decimal(*_mean_sd(beside[AVERAGE])) if beside and beside["predictor"] == other else ""


def _mean_sd(value: Mapping[str, float | None]) -> tuple[float | None, float | None]:
    return value["mean"], value["sd"]


def to_csv(data: Mapping[str, Any]) -> str:
    """One line for each row and target: what programs read."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        ["group", "row", "predictor", "target", "mean", "sd", "paper", "floor", "beside", "beside_mean", "beside_sd"]
    )
    for row in data["rows"]:
        for name in COLUMNS:
            ours = row["accuracy"][name] if "accuracy" in row else {"mean": None, "sd": None}
            beside = row.get("beside") if name == AVERAGE else None
            others = [beside["predictor"], *_mean_sd(beside[AVERAGE])] if beside else ["", None, None]
            paper = (row["paper"] or {}).get(name)
            floor = data["floor"][name]
            table.writerow(
                [
                    row["group"],
                    row["name"],
                    row["predictor"] or "",
                    name,
                    ours["mean"],
                    ours["sd"],
                    paper,
                    floor,
                    *others,
                ]
            )
    return text.getvalue()
