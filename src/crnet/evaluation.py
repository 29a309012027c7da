"""How good a trained system is on one split: every stream, scene+face, all three, and the floor beside them.

`evaluate` scores the clips, `write_evaluation` leaves `metrics.json` and `predictions.csv`, `tables` is what the
terminal shows. Plots and the report page are made from the same `Evaluation` by `crnet.explain`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crnet.bundle import Bundle, load_bundle, load_visual_fusion
from crnet.config import reads_words
from crnet.conformal import LEVEL
from crnet.data.ceiling import ceiling_of, read_ceiling, share_of_way
from crnet.data.prepare import FAILURES_NAME
from crnet.data.store import ClipRow, Manifest, read_manifest
from crnet.errors import ConfigError, FormatError, LabelError
from crnet.files import write_json, write_text
from crnet.fusion import Fusion
from crnet.metrics import RESAMPLES, describe
from crnet.predict import DRAWN_PEOPLE, system_scores
from crnet.progress import Progress, no_progress
from crnet.schema import SPLITS, STREAMS, TARGETS, Split, TrainingSource
from crnet.text.encoders import is_same_encoder, label_of
from crnet.training.distributed import choose_device
from crnet.training.features import extract_all

if TYPE_CHECKING:
    from rich.table import Table

SCENE_FACE = "scene+face"
FUSION = "fusion"
FLOOR = "floor"
AVERAGE = "average"
SYSTEMS = (*STREAMS, SCENE_FACE, FUSION, FLOOR)
"""Order and names of the systems in every table and file."""

SHORT_NAMES = dict(zip(TARGETS, ("extra", "neuro", "agree", "consc", "open", "interview"), strict=True))
STABLE = "neuroticism: a high score means emotionally stable"
_STYLES = {FUSION: "bold", FLOOR: "dim"}

EVALUATION_FOLDER = "evaluation"
METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.csv"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was measured on one split.

    Attributes:
        split: Which.
        rows: The N scored clips.
        truth: float64 [N, 6], as annotated.
        predictions: Of each system, float64 [N, 6] in [0, 1]; in the order of `SYSTEMS`, the floor included.
        train_medians: float64 [6], the floor's constants.
        missing: Annotated clips of the split that could not be scored.
        source: What kind of data set the clips come from.
        training_source: What kind the system was trained on.
        initialisation: What the weights started from, which decides results: "He et al." or a file of weights.
        encoder: What turned the words into numbers; None if no stream of the system reads them.
        warnings: What a reader of the figures must know, most important first.
        systems: The figures: `{system: {target or "average": {metric: value, "ci95": {...}}}}`.
        ceiling: Of simulated clips, what they let anyone know of the scores; None if there is no such file.
        intervals: How often the fused system's intervals hold the true score, and their mean width:
            `{target or "average": {"coverage", "width"}}`; None where there are none for such clips.
    """

    split: Split
    rows: tuple[ClipRow, ...]
    truth: NDArray[np.float64]
    predictions: dict[str, NDArray[np.float64]]
    train_medians: NDArray[np.float64]
    missing: tuple[str, ...]
    source: TrainingSource
    training_source: TrainingSource
    initialisation: str
    encoder: str | None
    warnings: tuple[str, ...]
    systems: dict[str, dict[str, dict[str, Any]]]
    ceiling: dict[str, Any] | None = None
    intervals: dict[str, dict[str, float]] | None = None

    def share_of_way(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """How far each system came from the floor to the ceiling of what it sees; empty without a ceiling."""
        return {} if self.ceiling is None else share_of_way(self.ceiling, self.split, self.systems)

    def to_dict(self) -> dict[str, Any]:
        """The document that `metrics.json` holds; `ceiling` and `share_of_way` only where there is a ceiling."""
        shares = self.share_of_way()
        best = {system: ceiling_of(self.ceiling or {}, self.split, system) for system in shares}
        return {
            "split": self.split,
            "clips": len(self.rows),
            "missing": list(self.missing),
            "source": self.source,
            "training_source": self.training_source,
            "initialisation": self.initialisation,
            "text_encoder": self.encoder,
            "train_medians": dict(zip(TARGETS, self.train_medians.tolist(), strict=True)),
            "warnings": list(self.warnings),
            "systems": self.systems,
            "intervals": None if self.intervals is None else {"level": LEVEL, **self.intervals},
            **({"ceiling": best, "share_of_way": shares} if shares else {}),
        }


def evaluate(
    bundle: Bundle,
    store_dir: Path,
    *,
    split: Split = "test",
    scene_face: Fusion | None = None,
    allow_missing: bool = False,
    device: str = "auto",
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Evaluation:
    """Score every annotated clip of a split by its middle frames, and measure every system against the truth.

    Args:
        bundle: The trained system.
        store_dir: A prepared store.
        split: Which clips.
        scene_face: A fusion fitted on scene and face alone, for the paper's row without sound and text.
        allow_missing: Go on although some clips of the split could not be prepared.
        device: Where the networks compute: auto (a GPU if there is one), cpu, cuda or mps.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
        progress: Told how far it is.

    Raises:
        LabelError: The split has no annotated clips, or some of them are missing and that is not allowed.
        ConfigError: The store was prepared for another text encoder.
        FormatError: A clip file is damaged.
    """
    manifest = read_manifest(store_dir)
    rows = _annotated(manifest, split, store_dir)
    missing = _missing(manifest, split, store_dir)
    if missing and not allow_missing:
        raise LabelError(
            f"{len(missing)} annotated clips of the {split} split are not in the store, the first is {missing[0]}",
            path=store_dir / FAILURES_NAME,
            remedy="mend them and run `crnet prepare` again, or allow missing clips and report n with every figure",
        )
    warnings = _warnings(bundle, manifest, split, missing)
    features, scores = extract_all(
        bundle.nets,
        store_dir,
        rows,
        bundle.config.transforms,
        workers=bundle.config.training.workers,
        device=choose_device(device),
        progress=progress,
    )
    truth = np.array([row.scores for row in rows], dtype=np.float64)
    fused, streams = system_scores(bundle, features, scores)
    predictions: dict[str, NDArray[np.float64]] = {s: streams[s] for s in STREAMS if s in streams}
    if scene_face is not None:
        predictions[SCENE_FACE] = scene_face.predict(features)
    predictions |= {FUSION: fused, FLOOR: np.tile(bundle.train_medians, (len(rows), 1))}
    systems = {
        name: describe(truth, prediction, bundle.train_medians, resamples=resamples, seed=seed)
        for name, prediction in predictions.items()
    }
    drawn_only = bundle.training_source == "simulated" and manifest.source != "simulated"
    known = None if drawn_only else bundle.calibration
    return Evaluation(
        split=split,
        rows=rows,
        truth=truth,
        predictions=predictions,
        train_medians=bundle.train_medians,
        missing=missing,
        source=manifest.source,
        training_source=bundle.training_source,
        initialisation="He et al." if (init := bundle.config.model.init) is None else init.name,
        encoder=label_of(bundle.encoder) if reads_words(bundle.config) else None,
        warnings=warnings,
        systems=systems,
        ceiling=read_ceiling(store_dir) if manifest.source == "simulated" else None,
        intervals=None if known is None else known.coverage(truth, fused),
    )


def evaluate_run(
    run_dir: Path,
    store_dir: Path,
    *,
    split: Split = "test",
    allow_missing: bool = False,
    device: str = "auto",
    progress: Progress = no_progress,
) -> tuple[Evaluation, Path]:
    """Measure a trained run on a split of a store; write metrics.json and predictions.csv into `RUN/evaluation/SPLIT`.

    Args:
        run_dir: A finished run.
        store_dir: A prepared store.
        split, allow_missing, device, progress: See `evaluate`, also for the errors.

    Returns:
        What was measured, and the folder.
    """
    bundle = load_bundle(run_dir)
    evaluation = evaluate(
        bundle,
        store_dir,
        split=split,
        scene_face=load_visual_fusion(run_dir, bundle.config),
        allow_missing=allow_missing,
        device=device,
        progress=progress,
    )
    folder = run_dir / EVALUATION_FOLDER / split
    write_evaluation(evaluation, folder)
    return evaluation, folder


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write `metrics.json` and `predictions.csv` into a folder.

    Raises:
        StorageError: The folder cannot be written.
    """
    write_json(folder / METRICS_FILE, evaluation.to_dict())
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    columns = {"truth": evaluation.truth, **evaluation.predictions}
    scores = [f"{name}.{target}" for name in columns for target in TARGETS]
    table.writerow(["clip", *scores, "faces_found", "faces_looked_at", "warnings"])
    for i, row in enumerate(evaluation.rows):
        numbers = [repr(float(value)) for values in columns.values() for value in values[i]]
        table.writerow([row.clip_id, *numbers, row.faces_found, row.faces_looked_at, "; ".join(row.warnings)])
    write_text(folder / PREDICTIONS_FILE, text.getvalue())


def tables(evaluation: Evaluation) -> list[Table]:
    """What the terminal shows: 1 - MAE of every system, and every figure of the best one, each with the floor."""
    tables = [_accuracy_table(evaluation), _detail_table(evaluation, FUSION)]
    if evaluation.intervals is not None:
        tables.append(_interval_table(evaluation, evaluation.intervals))
    return [*tables, _ceiling_table(evaluation)] if evaluation.share_of_way() else tables


def _accuracy_table(evaluation: Evaluation) -> Table:
    table = _new_table(f"1 - MAE on the {evaluation.split} split", evaluation, "system")
    for target in (*TARGETS, AVERAGE):
        table.add_column(SHORT_NAMES.get(target, target), justify="right")
    table.add_column("error\nremoved", justify="right")
    for name, figures in evaluation.systems.items():
        cells = [_figure(figures[target]["accuracy"], 4) for target in (*TARGETS, AVERAGE)]
        removed = "" if name == FLOOR else _percent(figures[AVERAGE]["error_removed"])
        table.add_row(name, *_n_cell(evaluation), *cells, removed, style=_STYLES.get(name))
    return table


def _detail_table(evaluation: Evaluation, system: str) -> Table:
    table = _new_table(f"{system} in detail", evaluation, "target")
    for name in ("1-MAE", "95%\ninterval", "floor", "error\nremoved", "R2", "r", "CCC", "spread"):
        table.add_column(name, justify="right")
    for target in (*TARGETS, AVERAGE):
        figures = evaluation.systems[system][target]
        table.add_row(
            target,
            *_n_cell(evaluation),
            _figure(figures["accuracy"], 4),
            interval_text(figures["ci95"]["accuracy"]),
            _figure(figures["floor_accuracy"], 4),
            _percent(figures["error_removed"]),
            *(_figure(figures[name], 2) for name in ("r2", "pearson", "ccc", "spread")),
            style="bold" if target == AVERAGE else None,
        )
    return table


def _ceiling_table(evaluation: Evaluation) -> Table:
    """Simulated clips only: the share of the way from the floor to the best that the true cues allow."""
    table = _new_table("share of the way from floor to ceiling (R2)", evaluation, "system")
    for name in (*TARGETS, AVERAGE):
        table.add_column(SHORT_NAMES.get(name, name), justify="right")
    for name in ("R2", "ceiling", "1-MAE\nshare"):
        table.add_column(name, justify="right")
    for system, shares in evaluation.share_of_way().items():
        best = ceiling_of(evaluation.ceiling or {}, evaluation.split, system) or {}
        table.add_row(
            system,
            *_n_cell(evaluation),
            *(_percent(shares[target]["r2"], 0) for target in (*TARGETS, AVERAGE)),
            _figure(evaluation.systems[system][AVERAGE]["r2"], 2),
            _figure(best[AVERAGE]["r2"], 2),
            _percent(shares[AVERAGE]["accuracy"], 0),
            style=_STYLES.get(system),
        )
    return table


def _interval_table(evaluation: Evaluation, figures: dict[str, dict[str, float]]) -> Table:
    table = _new_table(f"{FUSION}'s {100 * LEVEL:.0f}% intervals", evaluation, "target")
    for name in ("hold the\ntrue score", "mean\nwidth"):
        table.add_column(name, justify="right")
    for target, of in figures.items():
        style = "bold" if target == AVERAGE else None
        table.add_row(target, *_n_cell(evaluation), _percent(of["coverage"]), _figure(of["width"], 2), style=style)
    return table


def interval_text(interval: Sequence[float] | None) -> str:
    """An interval as a person reads it; empty if there is none."""
    return "" if interval is None else f"{_figure(interval[0], 3)}–{_figure(interval[1], 3)}"


def _new_table(title: str, evaluation: Evaluation, first_column: str) -> Table:
    """An empty table that fits a terminal of 80 columns; with clips missing, n stands beside every row's figures."""
    from rich import box
    from rich.table import Table

    missing = len(evaluation.missing)
    clips = f"{len(evaluation.rows)} clips" + (f", {missing} missing" if missing else "")
    words = "" if evaluation.encoder is None else f"; words as {evaluation.encoder}"
    table = Table(
        title=f"\n{title} ({clips}; weights started from {evaluation.initialisation}{words})",
        caption=STABLE,
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 0 if missing else 1, 0, 0),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column(first_column)
    if missing:
        table.add_column("n", justify="right")
    return table


def _n_cell(evaluation: Evaluation) -> tuple[str, ...]:
    return (str(len(evaluation.rows)),) if evaluation.missing else ()


def _figure(value: float | None, digits: int) -> str:
    """A figure as papers print it: .9188, without the zero."""
    if value is None:
        return "-"
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def _percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f}%"


def _annotated(manifest: Manifest, split: Split, store_dir: Path) -> tuple[ClipRow, ...]:
    rows = tuple(row for row in manifest.rows(split) if row.scores is not None)
    if not rows:
        held = [name for name in SPLITS if any(row.scores is not None for row in manifest.rows(name))]
        raise LabelError(
            f"no annotated clips in the {split} split",
            path=store_dir,
            remedy=f"splits with annotated clips: {', '.join(held) or 'none'}",
        )
    return rows


def _missing(manifest: Manifest, split: Split, store_dir: Path) -> tuple[str, ...]:
    """Annotated clips of the split that could not be prepared."""
    path = store_dir / FAILURES_NAME
    if not path.is_file():
        return ()
    prepared = {row.clip_id for row in manifest.clips}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            failed = [row["clip"] for row in csv.DictReader(file) if row["split"] == split]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise FormatError(f"cannot be read as a list of failures: {error}", path=path) from error
    return tuple(sorted(set(failed) - prepared - {""}))


def _warnings(bundle: Bundle, manifest: Manifest, split: Split, missing: Sequence[str]) -> tuple[str, ...]:
    """What is odd about scoring this store with this bundle, most important first."""
    if not is_same_encoder(manifest.encoder, bundle.encoder):
        raise ConfigError(
            f"the store's transcripts were encoded by {label_of(manifest.encoder)}, "
            f"the system knows {label_of(bundle.encoder)}",
            remedy="embed or prepare the clips with the system's encoder",
        )
    warnings = []
    if bundle.training_source == "simulated" and manifest.source != "simulated":
        warnings.append(DRAWN_PEOPLE)
    if split == "train":
        warnings.append("the training split: the trees know these clips by heart, so the fused scores say nothing")
    if split == "val":
        warnings.append("the validation split: it chose the networks and gave the intervals their width")
    if missing:
        warnings.append(f"{len(missing)} annotated clips are missing")
    for name, value in bundle.media.items():
        # How many frames are kept decides what training may draw, but hardly which frames are scored.
        if name != "frames_per_segment" and manifest.settings.get(name) != value:
            found = manifest.settings.get(name)
            warnings.append(f"the clips were prepared with {name} {found!r}, the training clips with {value!r}")
    return tuple(warnings)
