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

from crnet.bundle import Bundle
from crnet.data.dataset import ClipDataset, loader
from crnet.data.prepare import FAILURES_NAME
from crnet.data.store import ClipRow, Manifest, read_manifest
from crnet.errors import ConfigError, FormatError, LabelError
from crnet.files import write_json, write_text
from crnet.fusion import Fusion
from crnet.metrics import RESAMPLES, describe
from crnet.predict import DRAWN_PEOPLE, system_scores
from crnet.progress import Progress, no_progress
from crnet.schema import SPLITS, STREAMS, TARGETS, Split, Stream, TrainingSource
from crnet.training.distributed import choose_device
from crnet.training.features import extract

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

BATCH_SIZE = 30  # as in training; decides speed and memory only
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
        warnings: What a reader of the figures must know, most important first.
        systems: The figures: `{system: {target or "average": {metric: value, "ci95": {...}}}}`.
    """

    split: Split
    rows: tuple[ClipRow, ...]
    truth: NDArray[np.float64]
    predictions: dict[str, NDArray[np.float64]]
    train_medians: NDArray[np.float64]
    missing: tuple[str, ...]
    source: TrainingSource
    training_source: TrainingSource
    warnings: tuple[str, ...]
    systems: dict[str, dict[str, dict[str, Any]]]

    def to_dict(self) -> dict[str, Any]:
        """The document that `metrics.json` holds."""
        return {
            "split": self.split,
            "clips": len(self.rows),
            "missing": list(self.missing),
            "source": self.source,
            "training_source": self.training_source,
            "train_medians": dict(zip(TARGETS, self.train_medians.tolist(), strict=True)),
            "warnings": list(self.warnings),
            "systems": self.systems,
        }


def evaluate(
    bundle: Bundle,
    store_dir: Path,
    *,
    split: Split = "test",
    scene_face: Fusion | None = None,
    allow_missing: bool = False,
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
    device = choose_device(bundle.config.training.device)
    features: dict[Stream, NDArray[np.float32]] = {}
    scores: dict[Stream, NDArray[np.float32]] = {}
    for stream, net in bundle.nets.items():
        clips = ClipDataset(store_dir, rows, bundle.config.transforms, [stream])
        batches = loader(clips, BATCH_SIZE, workers=bundle.config.training.workers)
        features[stream], scores[stream] = extract(net, batches, device, progress)
        net.to("cpu")
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
    return Evaluation(
        split=split,
        rows=rows,
        truth=truth,
        predictions=predictions,
        train_medians=bundle.train_medians,
        missing=missing,
        source=manifest.source,
        training_source=bundle.training_source,
        warnings=warnings,
        systems=systems,
    )


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
    return [_accuracy_table(evaluation), _detail_table(evaluation, FUSION)]


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


def interval_text(interval: Sequence[float] | None) -> str:
    """An interval as a person reads it; empty if there is none."""
    return "" if interval is None else f"{_figure(interval[0], 3)}–{_figure(interval[1], 3)}"


def _new_table(title: str, evaluation: Evaluation, first_column: str) -> Table:
    """An empty table that fits a terminal of 80 columns; with clips missing, n stands beside every row's figures."""
    from rich import box
    from rich.table import Table

    missing = len(evaluation.missing)
    clips = f"{len(evaluation.rows)} clips" + (f", {missing} missing" if missing else "")
    table = Table(
        title=f"\n{title} ({clips})",
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


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


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
    """Clips that could not be prepared, except those known to belong to another split."""
    path = store_dir / FAILURES_NAME
    if not path.is_file():
        return ()
    prepared = {row.clip_id for row in manifest.clips}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            failed = [(row["clip"], row.get("split") or split) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise FormatError(f"cannot be read as a list of failures: {error}", path=path) from error
    return tuple(sorted({clip for clip, of in failed if of == split and clip not in prepared}))


def _warnings(bundle: Bundle, manifest: Manifest, split: Split, missing: Sequence[str]) -> tuple[str, ...]:
    """What is odd about scoring this store with this bundle, most important first."""
    if manifest.encoder != bundle.encoder:
        raise ConfigError(
            f"the store's transcripts were encoded by {manifest.encoder}, the system knows {bundle.encoder}",
            remedy="prepare the clips with the system's encoder",
        )
    warnings = []
    if bundle.training_source == "simulated" and manifest.source != "simulated":
        warnings.append(DRAWN_PEOPLE)
    if split == "train":
        warnings.append("the training split: the trees know these clips by heart, so the fused scores say nothing")
    if missing:
        warnings.append(f"{len(missing)} annotated clips are missing")
    for name, value in bundle.media.items():
        # How many frames are kept decides what training may draw, but hardly which frames are scored.
        if name != "frames_per_segment" and manifest.settings.get(name) != value:
            found = manifest.settings.get(name)
            warnings.append(f"the clips were prepared with {name} {found!r}, the training clips with {value!r}")
    return tuple(warnings)
