"""Measure systems on the same clips, with every metric of `crnet evaluate`, and test their differences."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from crnet.evaluation.compared_systems import ComparedClips, Floats
from crnet.evaluation.evaluation import FLOOR, PREDICTIONS_FILE, TRUTH
from crnet.evaluation.paired_bootstrap import COMPARED, PairedDifference, holm, paired_difference
from crnet.fusion.conformal import INTERVAL_LEVEL, cross_calibrated, half_widths, interval_coverage
from crnet.metrics import AVERAGE, RESAMPLES, Bootstrap, bootstrap
from crnet.types import SCALE, SCALE_NOTE, Split
from crnet.utils.csv_cells import neutral_cell
from crnet.utils.files import write_json, write_text
from crnet.utils.provenance import versions

COMPARISON_FILE = "comparison.json"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Metrics, intervals and differences of systems on the same clips.

    Attributes:
        clips: What was compared.
        systems: The metrics of each system and of the floor, as `crnet.metrics.describe` returns them.
        differences: Every metric of each later system minus that of each earlier one.
        own_intervals: Coverage and mean width of the intervals that a system gives itself, by system; see
            `interval_coverage`.
        bounds: The lower and upper ends [N, T] of intervals that these clips calibrate, by system; see
            `cross_calibrated`.
        calibrated: Coverage and mean width of these intervals, and of such intervals of the floor.
        half_width: Half the width of such an interval, calibrated on all clips, by system and target.
        resamples: Number of bootstrap resamples.
        split: The split that runs are compared on; None for tables alone.
    """

    clips: ComparedClips
    systems: Mapping[str, dict[str, dict[str, Any]]]
    differences: tuple[PairedDifference, ...]
    own_intervals: Mapping[str, dict[str, dict[str, float]]]
    bounds: Mapping[str, tuple[Floats, Floats]]
    calibrated: Mapping[str, dict[str, dict[str, float]]]
    half_width: Mapping[str, dict[str, float]]
    resamples: int
    split: Split | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The systems, without the floor."""
        return tuple(self.clips.scores)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `comparison.json`, and of the `metrics.json` of a table of predictions."""
        clips = self.clips
        return {
            "split": self.split,
            "clips": len(clips.clips),
            "clusters": {"kind": clips.cluster_kind, "count": len(np.unique(clips.clusters))},
            "floor": clips.floor,
            "warnings": list(clips.warnings),
            "scale": dict(SCALE),
            "systems": dict(self.systems),
            "intervals": {
                "level": INTERVAL_LEVEL,
                "own": dict(self.own_intervals),
                "calibrated": dict(self.calibrated),
                "half_width": dict(self.half_width),
            },
            "differences": [row.to_dict() for row in self.differences],
            "resamples": self.resamples,
            "versions": versions(),
        }


def compare(
    clips: ComparedClips, *, split: Split | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """Measure the systems and test the difference of each pair.

    With the defaults, metrics and intervals of an evaluated run are those of `crnet evaluate` to the last digit if all
    its clips are compared.

    Args:
        clips: Labels and scores.
        split: The split that runs are compared on.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.
    """
    floor = next(iter(clips.floors.values()))
    measured = {
        name: bootstrap(
            clips.truth, scores, clips.floors.get(name, floor), clips.targets,
            clusters=clips.clusters, resamples=resamples, seed=seed,
        )
        for name, scores in {**clips.scores, FLOOR: floor}.items()
    }  # fmt: skip
    bounds = {
        name: cross_calibrated(clips.truth, scores, clips.clusters.tolist()) for name, scores in clips.scores.items()
    }
    of_floor = cross_calibrated(clips.truth, floor, clips.clusters.tolist())
    half_width = {}
    for name, scores in clips.scores.items():
        widths = zip(clips.targets, half_widths(scores - clips.truth).tolist(), strict=True)
        half_width[name] = {target: width for target, width in widths if np.isfinite(width)}
    return Comparison(
        clips,
        {name: system.to_dict() for name, system in measured.items()},
        tuple(_differences({name: measured[name] for name in clips.scores}, clips.targets)),
        {name: interval_coverage(clips.truth, *ends, clips.targets) for name, ends in clips.bounds.items()},
        bounds,
        {
            name: interval_coverage(clips.truth, *ends, clips.targets)
            for name, ends in {**bounds, FLOOR: of_floor}.items()
        },
        half_width,
        resamples,
        split,
    )


def _differences(systems: Mapping[str, Bootstrap], targets: tuple[str, ...]) -> list[PairedDifference]:
    """Return the differences of all pairs, with p-values that are corrected for the number of pairs."""
    pairs = [(later, earlier) for earlier, later in combinations(systems, 2)]
    rows = []
    for target in (AVERAGE, *targets):
        for metric in COMPARED:
            found = [
                PairedDifference(
                    later,
                    earlier,
                    target,
                    metric,
                    **paired_difference(systems[later], systems[earlier], target, metric),
                )
                for later, earlier in pairs
            ]
            corrected = holm([row.p for row in found])
            rows += [replace(row, p_corrected=p) for row, p in zip(found, corrected, strict=True)]
    return rows


def write_comparison(comparison: Comparison, folder: Path, name: str = COMPARISON_FILE) -> None:
    """Write the numbers as JSON, and `predictions.csv` with the scores of every system and their calibrated intervals.

    Raises:
        StorageError: The folder cannot be written.
    """
    write_json(folder / name, comparison.to_dict())
    clips = comparison.clips
    columns = {f"{TRUTH}.{target}": clips.truth[:, i] for i, target in enumerate(clips.targets)}
    for system, scores in clips.scores.items():
        low, high = comparison.bounds[system]
        for i, target in enumerate(clips.targets):
            columns[f"{system}.{target}"] = scores[:, i]
            columns |= {f"{system}.{target}.low": low[:, i], f"{system}.{target}.high": high[:, i]}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["clip", *map(neutral_cell, columns), "scale"])
    for i, clip in enumerate(clips.clips):
        cells = ["" if np.isnan(values[i]) else repr(float(values[i])) for values in columns.values()]
        table.writerow([neutral_cell(clip), *cells, SCALE_NOTE])
    write_text(folder / PREDICTIONS_FILE, text.getvalue())
