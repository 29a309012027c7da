"""The page of a comparison of systems: one HTML file that opens offline, and its figures as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crnet.evaluation.comparison import COMPARISON_FILE, Comparison
from crnet.evaluation.evaluation import FLOOR, PREDICTIONS_FILE
from crnet.evaluation.paired_bootstrap import COMPARED, PairedDifference
from crnet.fusion.conformal import INTERVAL_LEVEL
from crnet.metrics import AVERAGE
from crnet.report.comparison_figures import PAIRS_SHOWN, difference_figure, removed_figure
from crnet.report.figure_style import png, svg
from crnet.report.page_templates import NEUROTICISM, REPORT_FILE, data_uri, render
from crnet.report.run_data import DIFFERENCES_CSV, SYSTEMS_CSV, differences_csv, systems_csv
from crnet.types import target_label
from crnet.utils.files import write_bytes, write_text
from crnet.utils.number_format import METRIC_NAMES, decimal, difference, interval_text, p_text, percent, range_text

TABLES = (SYSTEMS_CSV, DIFFERENCES_CSV)  # that lie beside the page
DIGITS = 3
SIGNIFICANT = 0.05


def write_comparison_page(comparison: Comparison, folder: Path, document: str = COMPARISON_FILE) -> Path:
    """Write `report.html`, the figures of a comparison and their numbers into a folder and return the page.

    Args:
        comparison: The numbers.
        folder: The folder, which already holds what `write_comparison` wrote.
        document: Name of the JSON file there, to which the page links.

    Raises:
        StorageError: The folder cannot be written.
    """
    figures = {"error_removed": removed_figure(comparison), "differences": difference_figure(comparison)}
    pictures = {name: png(figure) for name, figure in figures.items() if figure is not None}
    for name, figure in figures.items():
        if figure is not None:
            write_bytes(folder / f"{name}.png", pictures[name])
            write_bytes(folder / f"{name}.svg", svg(figure))
    write_text(folder / SYSTEMS_CSV, systems_csv(comparison.systems))
    write_text(folder / DIFFERENCES_CSV, differences_csv(comparison.differences))
    page = folder / REPORT_FILE
    write_text(page, render_comparison_page(comparison, pictures, document))
    return page


def render_comparison_page(comparison: Comparison, pictures: dict[str, bytes], document: str = COMPARISON_FILE) -> str:
    """Render the page.

    Args:
        comparison: The numbers.
        pictures: PNG files by name: error_removed, and differences if there are two systems or more.
        document: See `write_comparison_page`.
    """
    clips = comparison.clips
    columns = (*clips.targets, AVERAGE)
    context = {
        "names": comparison.names,
        "split": comparison.split,
        "clips": len(clips.clips),
        "clusters": len(set(clips.clusters.tolist())),
        "cluster_kind": clips.cluster_kind,
        "warnings": clips.warnings,
        "floor": clips.floor,
        "headline": headline(comparison),
        "columns": columns,
        "average_of": clips.average_of,
        "neuroticism": NEUROTICISM if "neuroticism" in clips.targets else "",
        "accuracy": [(name, _accuracy_cells(metrics, name, columns)) for name, metrics in comparison.systems.items()],
        "metric_names": [METRIC_NAMES[metric] for metric in COMPARED],
        "details": {
            name: [(target, _metric_cells(comparison.systems[name][target])) for target in columns]
            for name in comparison.names
        },
        "differences": [_difference_cells(row) for row in comparison.differences if row.target == AVERAGE],
        "all_differences": [_difference_cells(row) for row in comparison.differences],
        "intervals": _interval_rows(comparison),
        "half_width": {name: list(widths.items()) for name, widths in comparison.half_width.items()},
        "level": percent(INTERVAL_LEVEL, 0),
        "figures": {name: data_uri("image/png", content) for name, content in pictures.items()},
        "pairs_shown": PAIRS_SHOWN,
        "pairs": len({(row.system, row.minus) for row in comparison.differences}),
        "resamples": comparison.resamples,
        "files": [document, PREDICTIONS_FILE, SYSTEMS_CSV, DIFFERENCES_CSV],
    }
    return render("comparison.html", context)


def headline(comparison: Comparison) -> str:
    """Return the finding in one sentence: the difference of two systems, or the share of the error that is removed."""
    rows = [row for row in comparison.differences if row.target == AVERAGE and row.metric == "accuracy"]
    if not rows:
        (name,) = comparison.names
        average = comparison.systems[name][AVERAGE]
        interval = average["ci95"]["error_removed"]
        bounds = "" if interval is None else f" (95% interval {percent(interval[0])} to {percent(interval[1])})"
        return f"{name} removes {percent(average['error_removed'])} of the floor's error{bounds}."
    if len(rows) == 1:
        return _pair_sentence(rows[0])
    found = [row for row in rows if row.p_corrected is not None and row.p_corrected < SIGNIFICANT]
    return (
        f"{len(found)} of {len(rows)} pairs of systems differ in 1 - MAE by more than chance explains "
        f"(p < {decimal(SIGNIFICANT, digits=2)}, corrected for {len(rows)} pairs)."
    )


def _pair_sentence(row: PairedDifference) -> str:
    if row.value is None or row.p is None:
        return f"{row.system} and {row.minus} cannot be compared: there are too few clips, or scores are not finite."
    numbers = f"{difference(row.value)}, 95% interval {range_text(row.ci95)}, p {_equals(row.p)}"
    if row.p >= SIGNIFICANT:
        return f"No difference in 1 - MAE between {row.system} and {row.minus} that is larger than chance ({numbers})."
    better, worse = (row.system, row.minus) if row.value > 0 else (row.minus, row.system)
    return f"{better} has a higher 1 - MAE than {worse} ({row.system} minus {row.minus}: {numbers})."


def _equals(p: float) -> str:
    text = p_text(p)
    return text if text[0] in "<>" else f"= {text}"


def _accuracy_cells(metrics: dict[str, Any], name: str, columns: tuple[str, ...]) -> list[str]:
    removed = "" if name == FLOOR else percent(metrics[AVERAGE]["error_removed"])
    return [*(decimal(metrics[column]["accuracy"]) for column in columns), removed]


def _metric_cells(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """Return each metric with its interval."""
    return [(decimal(metrics[name], digits=DIGITS), interval_text(metrics["ci95"][name])) for name in COMPARED]


def _difference_cells(row: PairedDifference) -> list[str]:
    """Return the two systems, no note, and the texts of the other columns."""
    return [
        f"{row.system} minus {row.minus}",
        "",
        target_label(row.target),
        METRIC_NAMES[row.metric],
        "–" if row.value is None else difference(row.value),
        range_text(row.ci95),
        p_text(row.p),
        p_text(row.p_corrected),
    ]


def _interval_rows(comparison: Comparison) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Return system, kind, and coverage and mean width of each target, of every kind of intervals."""
    rows = []
    columns = (*comparison.clips.targets, AVERAGE)
    for name in (*comparison.names, FLOOR):
        for kind, by_system in (("its own", comparison.own_intervals), ("calibrated here", comparison.calibrated)):
            if figures := by_system.get(name):
                cells = [
                    (percent(figures[c]["coverage"]), decimal(figures[c]["width"], digits=2))
                    if c in figures
                    else ("", "")
                    for c in columns
                ]
                rows.append((name, kind, cells))
    return rows
