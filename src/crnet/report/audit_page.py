"""The page of an audit: one HTML file that opens offline, for a reader who is not a statistician."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from crnet.audit import AUDIT_FILE
from crnet.audit.audit import TABLE_FILE, Audit
from crnet.audit.differences import FEWEST_CLUSTERS, POWER, QUANTITIES, Difference
from crnet.audit.group_metrics import ALL, GROUP_METRICS
from crnet.audit.impact_ratios import SOURCES, ImpactRatio
from crnet.metrics import MIN_CLIPS_FOR_INTERVAL
from crnet.report.audit_figures import gap_figure, ratio_figure
from crnet.report.figure_style import png, svg
from crnet.report.page_templates import NEUROTICISM, REPORT_FILE, data_uri, render
from crnet.types import target_label
from crnet.utils.files import write_bytes, write_text
from crnet.utils.number_format import decimal, difference, p_text, percent, range_text

QUANTITY_NAMES = {"label": "label", "score": "score", "bias": "bias (score − label)", "mae": "MAE"}
METRIC_TITLES = {
    "mean_truth": "mean label",
    "mean_score": "mean score",
    "bias": "bias",
    "mae": "MAE",
    "error_removed": "error removed",
    "spread": "spread",
    "ccc": "CCC",
    "coverage": "coverage",
}
DIGITS = 3


def write_audit_page(audit: Audit, folder: Path) -> Path:
    """Write `report.html` of an audit and its figures, as PNG and SVG, into a folder and return the page.

    Raises:
        StorageError: The folder cannot be written.
    """
    figures = draw_audit_figures(audit)
    pictures = {name: png(figure) for name, figure in figures.items()}
    for name, figure in figures.items():
        write_bytes(folder / f"{name}.png", pictures[name])
        write_bytes(folder / f"{name}.svg", svg(figure))
    page = folder / REPORT_FILE
    write_text(page, render_audit_page(audit, pictures))
    return page


def draw_audit_figures(audit: Audit) -> dict[str, Figure]:
    """Draw the figures of every single grouping; return them by the name of their files.

    Groupings are numbered, because their names come from somebody's table.
    """
    drawn: dict[str, Figure | None] = {}
    for number, grouping in enumerate(audit.clips.groupings, start=1):
        if grouping not in audit.clips.intersections:
            drawn |= {f"gaps-{number}": gap_figure(audit, grouping), f"ratios-{number}": ratio_figure(audit, grouping)}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def render_audit_page(audit: Audit, pictures: Mapping[str, bytes]) -> str:
    """Render the page of an audit.

    Args:
        audit: The numbers.
        pictures: PNG files by name; see `draw_audit_figures`.
    """
    clips = audit.clips
    uris = {name: data_uri("image/png", content) for name, content in pictures.items()}
    shown = [name for name in GROUP_METRICS if name != "coverage" or clips.low is not None]
    context = {
        "name": clips.name,
        "split": clips.split,
        "clips": len(clips.clips),
        "clusters": int(clips.clusters.max()) + 1,
        "cluster_kind": clips.cluster_kind,
        "warnings": clips.warnings,
        "neuroticism": NEUROTICISM if "neuroticism" in clips.targets else "",
        "headline": headline(audit),
        "tiles": _tiles(audit),
        "targets": clips.targets,
        "groupings": [
            _grouping(audit, grouping, shown)
            | {"number": number, "gaps": uris.get(f"gaps-{number}"), "ratio_plot": uris.get(f"ratios-{number}")}
            for number, grouping in enumerate(clips.groupings, start=1)
        ],
        "metric_titles": [METRIC_TITLES[name] for name in shown],
        "found": [_difference_cells(row) for row in audit.differences.found],
        "compared": [_difference_cells(row) for row in audit.differences.rows],
        "too_small": audit.differences.too_small,
        "quantities": [QUANTITY_NAMES[quantity] for quantity in QUANTITIES],
        "power": _power_rows(audit),
        "power_share": percent(POWER, 0),
        "fewest": FEWEST_CLUSTERS,
        "files": [AUDIT_FILE, TABLE_FILE],
    }
    return render("audit.html", context)


def headline(audit: Audit) -> str:
    """Return the finding of an audit in one or two sentences."""
    rows = audit.differences.rows
    if not rows:
        return (
            f"No two groups have {FEWEST_CLUSTERS} {audit.clips.cluster_kind}s each, so this audit cannot compare any "
            "groups."
        )
    found = Counter(row.quantity for row in audit.differences.found)
    if not found:
        return (
            f"None of {len(rows)} comparisons shows a difference between groups that is larger than chance. Smaller "
            "differences than those under “What would have been missed” may exist."
        )
    words = {
        "label": "the raters' labels",
        "score": "the system's scores",
        "bias": "bias (score minus label)",
        "mae": "the size of errors",
    }
    parts = [f"{found[quantity]} in {words[quantity]}" for quantity in QUANTITIES if found[quantity]]
    verb = "shows" if found.total() == 1 else "show"
    return f"{found.total()} of {len(rows)} comparisons {verb} a difference larger than chance: {_listed(parts)}."


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _tiles(audit: Audit) -> list[tuple[str, str, str]]:
    """Return name, value and explanation of the main numbers; groups too small for an interval have no tile."""
    tiles = []
    for source in reversed(SOURCES):
        lowest = min(
            (
                (
                    ratio.ratio,
                    f"{group}, {target_label(target)}; {'–'.join(decimal(end, digits=2) for end in ratio.interval)}",
                )
                for groups in audit.ratios.values()
                for group, targets in groups.items()
                for target, by_source in targets.items()
                if (ratio := by_source.get(source)) is not None
                and ratio.ratio is not None
                and ratio.interval is not None
            ),
            default=None,
        )
        if lowest is not None:
            enough = f"among groups of {MIN_CLIPS_FOR_INTERVAL} {audit.clips.cluster_kind}s or more"
            tiles.append((f"lowest impact ratio, {source}", decimal(lowest[0], digits=2), f"{lowest[1]}; {enough}"))
    rows = audit.differences.rows
    tiles.append(("differences found", str(len(audit.differences.found)), f"in {len(rows)} comparisons"))
    gaps = [row.detectable for row in rows if row.quantity == "score"]
    if gaps:
        explanation = f"smallest gap in scores found with a probability of {percent(POWER, 0)}, by comparison"
        tiles.append(("power", f"{decimal(min(gaps), digits=2)}–{decimal(max(gaps), digits=2)}", explanation))
    return tiles


def _grouping(audit: Audit, grouping: str, shown: list[str]) -> dict[str, Any]:
    """Return everything that the page shows of one grouping, but its figures."""
    groups = [group for group in audit.metrics[grouping] if group != ALL]
    return {
        "name": grouping,
        "unknown": audit.unknown[grouping],
        "ratios": [_ratio_row(audit, grouping, group) for group in groups],
        "left_out": _left_out(audit, grouping),
        "metrics": [
            (target, group, _metric_cells(audit.metrics[grouping][group][target], shown))
            for target in audit.clips.targets
            for group in audit.metrics[grouping]
            if target in audit.metrics[grouping][group]
        ],
    }


def _left_out(audit: Audit, grouping: str) -> list[tuple[str, str, str]]:
    """Return group, reason and scoring rates of the groups that have no ratio of some targets."""
    rates: dict[tuple[str, str], list[str]] = {}
    for group, targets in audit.ratios[grouping].items():
        for target, by_source in targets.items():
            if (ratio := by_source["scores"]).left_out is not None:
                rate = f"{target_label(target)} {decimal(ratio.rate, digits=2)}"
                rates.setdefault((group, ratio.left_out), []).append(rate)
    return [(group, reason, ", ".join(texts)) for (group, reason), texts in rates.items()]


def _ratio_row(audit: Audit, grouping: str, group: str) -> dict[str, Any]:
    """Return a group's number of clips and of clusters, its share, and its impact ratios of labels and of scores."""
    nothing = {"clips": 0, "clusters": 0}  # no clip of the group has a label and a score
    values = max(audit.metrics[grouping][group].values(), key=lambda values: int(values["clips"]), default=nothing)
    ratios = [audit.ratios[grouping].get(group, {}).get(target, {}) for target in audit.clips.targets]
    return {
        "group": group,
        "clips": values["clips"],
        "clusters": values["clusters"],
        "share": percent(values["clips"] / len(audit.clips.clips)),
        "sources": [(source, [_ratio_text(of_target.get(source)) for of_target in ratios]) for source in SOURCES],
    }


def _ratio_text(ratio: ImpactRatio | None) -> tuple[str, str]:
    """Return the ratio and its interval."""
    if ratio is None or ratio.ratio is None:
        return ("–", "")
    bounds = "" if ratio.interval is None else "–".join(decimal(bound, digits=2) for bound in ratio.interval)
    return (decimal(ratio.ratio, digits=2), bounds)


def _metric_cells(values: dict[str, Any], shown: list[str]) -> list[str]:
    shares = {"error_removed", "coverage"}
    cells = [str(values["clips"])]
    for name in shown:
        value = values[name]
        if name == "bias" and value is not None:
            cells.append(difference(value))
        else:
            cells.append(percent(value) if name in shares else decimal(value, digits=DIGITS))
    return cells


def _difference_cells(row: Difference) -> list[str]:
    """Return the comparison with its grouping, and the texts of the other columns."""
    return [
        f"{row.group} minus {row.against}",
        row.grouping,
        target_label(row.target),
        QUANTITY_NAMES[row.quantity],
        difference(row.value),
        range_text((row.low, row.high)),
        p_text(row.p),
        decimal(row.detectable, digits=DIGITS),
    ]


def _power_rows(audit: Audit) -> list[tuple[str, list[str]]]:
    """Return, for each grouping, the range of detectable differences of each quantity over targets and groups."""
    table = []
    for grouping in audit.clips.groupings:
        cells = []
        for quantity in QUANTITIES:
            sizes = [size for pair in audit.detectable(grouping, quantity).values() for size in pair]
            ends = list(dict.fromkeys(decimal(end, digits=DIGITS) for end in (min(sizes), max(sizes)))) if sizes else []
            cells.append("–".join(ends) or "no comparison")
        table.append((grouping, cells))
    return table
