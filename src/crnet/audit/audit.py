"""The audit of a system and its files `audit.json` and `audit.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnet.audit import AUDIT_FILE
from crnet.audit.clips import UNKNOWN, AuditClips
from crnet.audit.differences import FEWEST_CLUSTERS, POWER, QUANTITIES, Differences, differences
from crnet.audit.group_metrics import ALL, GROUP_METRICS, metrics_by_group
from crnet.audit.impact_ratios import SMALLEST_SHARE, SOURCES, ImpactRatio, impact_ratios
from crnet.metrics import CONFIDENCE
from crnet.types import SCALE
from crnet.utils.csv_cells import neutral_cell
from crnet.utils.files import write_json, write_text
from crnet.utils.provenance import versions

RESAMPLES = 2000
TABLE_FILE = "audit.csv"


@dataclass(frozen=True, eq=False)
class Audit:
    """The numbers of an audit.

    Attributes:
        clips: What was audited, with the intersections of the groupings.
        metrics: For each grouping, the result of `metrics_by_group`.
        ratios: The result of `impact_ratios`.
        differences: Each group compared with everyone else.
        resamples: Number of bootstrap resamples.
    """

    clips: AuditClips
    metrics: Mapping[str, dict[str, dict[str, dict[str, Any]]]]
    ratios: Mapping[str, dict[str, dict[str, dict[str, ImpactRatio]]]]
    differences: Differences
    resamples: int

    @property
    def unknown(self) -> dict[str, int]:
        """For each grouping, the number of clips whose group is not known."""
        return {grouping: groups.count(UNKNOWN) for grouping, groups in self.clips.groupings.items()}

    def detectable(self, grouping: str, quantity: str) -> dict[str, tuple[float, float]]:
        """Return, by target, the smallest and the largest detectable difference of a grouping's comparisons."""
        sizes: dict[str, list[float]] = {}
        for row in self.differences.rows:
            if row.grouping == grouping and row.quantity == quantity:
                sizes.setdefault(row.target, []).append(row.detectable)
        return {target: (min(values), max(values)) for target, values in sizes.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `audit.json`."""
        compared = self.differences
        return {
            "name": self.clips.name,
            "split": self.clips.split,
            "model": None if self.clips.model is None else self.clips.model._asdict(),
            "clips": len(self.clips.clips),
            "clusters": {"kind": self.clips.cluster_kind, "count": int(self.clips.clusters.max()) + 1},
            "scale": dict(SCALE),
            "warnings": list(self.clips.warnings),
            "unknown": self.unknown,
            "metrics": self.metrics,
            "impact_ratios": {
                "smallest_share": SMALLEST_SHARE,
                "groupings": {
                    grouping: {
                        group: {
                            target: {source: ratio.to_dict() for source, ratio in by_source.items()}
                            for target, by_source in targets.items()
                        }
                        for group, targets in groups.items()
                    }
                    for grouping, groups in self.ratios.items()
                },
            },
            "differences": {
                "level": CONFIDENCE,
                "power": POWER,
                "resamples": self.resamples,
                "comparisons": len(compared.rows),
                "critical": compared.critical,
                "fewest_clusters": FEWEST_CLUSTERS,
                "too_small": [group._asdict() for group in compared.too_small],
                "rows": [row.to_dict() for row in compared.rows],
            },
            "versions": versions(),
        }


def audit(clips: AuditClips, *, resamples: int = RESAMPLES, seed: int = 0) -> Audit:
    """Audit a system by every grouping and every pair of groupings.

    Args:
        clips: Labels, scores and groups.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Raises:
        LabelError: There are too many groups.
    """
    crossed = clips.with_intersections()
    return Audit(
        crossed,
        {grouping: metrics_by_group(crossed, grouping) for grouping in crossed.groupings},
        impact_ratios(crossed, resamples=resamples, seed=seed),
        differences(crossed, resamples=resamples, seed=seed),
        resamples,
    )


def write_audit(result: Audit, folder: Path) -> None:
    """Write `audit.json`, and `audit.csv` with one row for each group and target.

    Raises:
        StorageError: The folder cannot be written.
    """
    write_json(folder / AUDIT_FILE, result.to_dict())
    text = io.StringIO()
    table = csv.DictWriter(text, _columns(), restval="", lineterminator="\n")
    table.writeheader()
    for grouping, groups in result.metrics.items():
        for group, targets in groups.items():
            for target, values in targets.items():
                row = {"grouping": grouping, "group": group, "target": target, "scale": SCALE.get(target, ""), **values}
                row |= {} if group == ALL else _ratio_cells(result, grouping, group, target)
                row |= {} if group == ALL else _difference_cells(result, grouping, group, target)
                table.writerow({name: neutral_cell(cell) for name, cell in row.items()})
    write_text(folder / TABLE_FILE, text.getvalue())


def _columns() -> list[str]:
    ratios = [f"{source}.{name}" for source in SOURCES for name in ("rate", "impact_ratio", "low", "high", "left_out")]
    compared = [f"{q}_difference{end}" for q in QUANTITIES for end in ("", ".low", ".high", ".p", ".detectable")]
    return ["grouping", "group", "target", "scale", "clips", "clusters", *GROUP_METRICS, *ratios, "against", *compared]


def _ratio_cells(result: Audit, grouping: str, group: str, target: str) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for source, ratio in result.ratios[grouping].get(group, {}).get(target, {}).items():
        low, high = ratio.interval or (None, None)
        values = (ratio.rate, ratio.ratio, low, high, ratio.left_out)
        names = ("rate", "impact_ratio", "low", "high", "left_out")
        cells |= {f"{source}.{name}": value for name, value in zip(names, values, strict=True)}
    return cells


def _difference_cells(result: Audit, grouping: str, group: str, target: str) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for row in result.differences.rows:
        if (row.grouping, row.group, row.target) == (grouping, group, target):
            name = f"{row.quantity}_difference"
            cells |= {"against": row.against, name: row.value, f"{name}.low": row.low, f"{name}.high": row.high}
            cells |= {f"{name}.p": row.p, f"{name}.detectable": row.detectable}
    return cells
