"""The result of an evaluation, and its files `metrics.json` and `predictions.csv`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnet.data.ceiling_file import attainable_metrics, ceiling_share
from crnet.data.clip_rows import light_rows
from crnet.data.manifest import ClipRow
from crnet.data.splits import OFFICIAL, SplitProtocol, clip_clusters
from crnet.fusion.conformal import INTERVAL_LEVEL, coverage_by_region, cross_calibrated, interval_coverage
from crnet.metrics import AVERAGE
from crnet.types import SCALE, SCALE_NOTE, STREAMS, TARGETS, DataSource, ModelInfo, Split
from crnet.utils.csv_cells import neutral_cell
from crnet.utils.files import atomic_write, write_json

SCENE_FACE = "scene+face"
FUSION = "fusion"
FLOOR = "floor"
TRUTH = "truth"
"""Name of the true scores in `predictions.csv`."""
SYSTEMS = (*STREAMS, SCENE_FACE, FUSION, FLOOR)
"""Names of the systems in the order of every table and file."""

SHORT_NAMES = {
    **dict(zip(TARGETS, ("extra", "neuro", "agree", "consc", "open", "interview"), strict=True)),
    AVERAGE: AVERAGE,
}
"""Column titles where the full names do not fit."""

EVALUATION_FOLDER = "evaluation"
METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.csv"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions and metrics of every system on one split.

    Attributes:
        split: The split.
        rows: The N scored clips.
        truth: float64 [N, 6], the annotated scores.
        predictions: float64 [N, 6] in [0, 1] for each system, the floor included, in the order of `SYSTEMS`.
        train_medians: float64 [6], the constants of the floor.
        missing: Annotated clips of the split that could not be scored.
        source: The kind of data set of the clips.
        training_source: The kind of data set that the system was trained on.
        initialisation: The initial weights, which affect results: "He et al." or a file of weights.
        encoder: The text encoder; None if no stream of the system reads text.
        warnings: What a reader of the metrics must know, most important first.
        fusion: What the fused score is made of, see `Fusion.summary`.
        systems: The metrics: `{system: {target or "average": {metric: value, "ci95": {...}}}}`.
        ceiling: The ceiling document of a simulated data set; None if there is no such file.
        intervals: How often the fused system's intervals contain the true score, and their mean width:
            `{target or "average": {"coverage", "width"}}`; None if the system gives no intervals for such clips.
        bounds: The lower and upper ends of the fused system's intervals, float64 [N, 6] each; None without intervals.
        protocol: The protocol that assigned the clips to splits.
        split_overlap: The average metrics of every system on clips whose video or person also appears in another split
            (seen), and on the other clips (unseen):
            `{"video" or "person": {"seen" or "unseen": {"clips": n, "systems": {system: metrics}}}}`. Present only if
            there are clips of both kinds, and only for the store that the system was trained on.
        model: The system; None if it was never saved.
    """

    split: Split
    rows: Sequence[ClipRow]
    truth: NDArray[np.float64]
    predictions: dict[str, NDArray[np.float64]]
    train_medians: NDArray[np.float64]
    missing: tuple[str, ...]
    source: DataSource
    training_source: DataSource
    initialisation: str
    encoder: str | None
    warnings: tuple[str, ...]
    fusion: str
    systems: dict[str, dict[str, dict[str, Any]]]
    ceiling: dict[str, Any] | None = None
    intervals: dict[str, dict[str, float]] | None = None
    bounds: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    protocol: SplitProtocol = OFFICIAL
    split_overlap: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    model: ModelInfo | None = None

    @property
    def clusters(self) -> dict[str, Any]:
        """What the bootstrap of the intervals draws: kind and number of the clusters."""
        kind, numbers = row_clusters(self.rows)
        return {"kind": kind, "count": len(np.unique(numbers))}

    def ceiling_share(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """Return the share of the gap between floor and ceiling that each system closes; empty without a ceiling."""
        return {} if self.ceiling is None else ceiling_share(self.ceiling, self.split, self.systems)

    def interval_regions(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return coverage and mean width of the intervals of low, middle and high scores; see `coverage_by_region`."""
        return {} if self.bounds is None else coverage_by_region(self.truth, self.predictions[FUSION], *self.bounds)

    def floor_intervals(self) -> dict[str, dict[str, float]]:
        """Return coverage and mean width of intervals around the floor; see `cross_calibrated`."""
        clusters = row_clusters(self.rows)[1].tolist()
        return interval_coverage(self.truth, *cross_calibrated(self.truth, self.predictions[FLOOR], clusters))

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `metrics.json`; `ceiling` and `ceiling_share` only if there is a ceiling."""
        shares = self.ceiling_share()
        ceilings = {system: attainable_metrics(self.ceiling or {}, self.split, system) for system in shares}
        return {
            "split": self.split,
            "protocol": str(self.protocol),
            "clips": len(self.rows),
            "clusters": self.clusters,
            "model": None if self.model is None else self.model._asdict(),
            "missing": list(self.missing),
            "source": self.source,
            "training_source": self.training_source,
            "initialisation": self.initialisation,
            "text_encoder": self.encoder,
            "train_medians": dict(zip(TARGETS, self.train_medians.tolist(), strict=True)),
            "warnings": list(self.warnings),
            "fusion": self.fusion,
            "systems": self.systems,
            "intervals": None if self.intervals is None else {"level": INTERVAL_LEVEL, **self.intervals},
            "interval_regions": self.interval_regions(),
            "scale": dict(SCALE),
            "split_overlap": self.split_overlap,
            **({"ceiling": ceilings, "ceiling_share": shares} if shares else {}),
        }


def row_clusters(rows: Sequence[ClipRow]) -> tuple[str, NDArray[np.int64]]:
    """Return what the bootstrap draws, persons or source videos, and the number of each clip's; see `clip_clusters`."""
    names = [(row.clip_id, row.person or "") for row in light_rows(rows)]
    return clip_clusters([clip for clip, _ in names], [person for _, person in names])


def write_evaluation(evaluation: Evaluation, folder: Path | str) -> None:
    """Write `metrics.json` and `predictions.csv` into a folder.

    Raises:
        StorageError: The folder cannot be written.
    """
    folder = Path(folder)
    write_json(folder / METRICS_FILE, evaluation.to_dict())
    columns = _score_columns(evaluation)
    with (
        atomic_write(folder / PREDICTIONS_FILE) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["clip", *columns, "person", "faces_found", "faces_looked_at", "warnings", "scale"])
        for i, row in enumerate(evaluation.rows):
            cells = [repr(float(values[i])) for values in columns.values()]
            texts = (row.person or "", row.faces_found, row.faces_looked_at, "; ".join(row.warnings), SCALE_NOTE)
            table.writerow([neutral_cell(row.clip_id), *cells, *map(neutral_cell, texts)])


def _score_columns(evaluation: Evaluation) -> dict[str, NDArray[np.float64]]:
    """Return the columns of scores and of the ends of intervals, [N] each, by name."""
    scores = {TRUTH: evaluation.truth, **evaluation.predictions}
    columns = {f"{name}.{target}": values[:, i] for name, values in scores.items() for i, target in enumerate(TARGETS)}
    ends = {} if evaluation.bounds is None else dict(zip(("low", "high"), evaluation.bounds, strict=True))
    return columns | {
        f"{FUSION}.{target}.{end}": values[:, i] for i, target in enumerate(TARGETS) for end, values in ends.items()
    }
