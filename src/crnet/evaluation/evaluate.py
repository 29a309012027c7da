"""How good a trained system is on one split: every stream, scene+face, all three, and the floor beside them.

`evaluate` scores the clips, `write_evaluation` leaves `metrics.json` and `predictions.csv`. What the terminal shows is
made from the same `Evaluation` by `crnet.cli.evaluation_tables`, plots and the report page by `crnet.explain`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnet.bundle.bundle import Bundle, load_bundle, load_visual_fusion
from crnet.config import reads_words
from crnet.data.ceiling import attainable_metrics, read_ceiling, share_of_way
from crnet.data.failures import FAILURES_NAME, missing_clips
from crnet.data.splits import OFFICIAL, SplitProtocol, assign_splits, seen_in_other_splits, training_fingerprint
from crnet.data.store import ClipRow, Manifest, read_manifest
from crnet.errors import ConfigError, LabelError
from crnet.fusion.conformal import LEVEL
from crnet.fusion.fusion import Fusion, system_scores
from crnet.metrics import RESAMPLES, describe
from crnet.text.base import encoder_label, is_same_encoder
from crnet.training.distributed import choose_device
from crnet.training.features import extract_all
from crnet.types import SPLITS, STREAMS, TARGETS, TRAINED_ON_SYNTHETIC_PEOPLE, Split, TrainingSource
from crnet.utils.files import write_json, write_text
from crnet.utils.progress import Progress, no_progress

SCENE_FACE = "scene+face"
FUSION = "fusion"
FLOOR = "floor"
AVERAGE = "average"
SYSTEMS = (*STREAMS, SCENE_FACE, FUSION, FLOOR)
"""Order and names of the systems in every table and file."""

SHORT_NAMES = dict(zip(TARGETS, ("extra", "neuro", "agree", "consc", "open", "interview"), strict=True))

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
        protocol: How the clips were dealt to splits.
        familiar: The average figures of every system where another split holds the same video, or person, and where
            none does: `{"video" or "person": {"seen" or "unseen": {"clips": n, "systems": {system: figures}}}}`. Only
            where there are clips of both kinds, in the store that the system was trained on.
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
    protocol: SplitProtocol = OFFICIAL
    familiar: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    def share_of_way(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """How far each system came from the floor to the ceiling of what it sees; empty without a ceiling."""
        return {} if self.ceiling is None else share_of_way(self.ceiling, self.split, self.systems)

    def to_dict(self) -> dict[str, Any]:
        """The document that `metrics.json` holds; `ceiling` and `share_of_way` only where there is a ceiling."""
        shares = self.share_of_way()
        best = {system: attainable_metrics(self.ceiling or {}, self.split, system) for system in shares}
        return {
            "split": self.split,
            "protocol": str(self.protocol),
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
            "familiar": self.familiar,
            **({"ceiling": best, "share_of_way": shares} if shares else {}),
        }


def evaluate(
    bundle: Bundle,
    store: Path,
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
        store: A prepared store.
        split: Which clips, of the splits that the system was trained by.
        scene_face: A fusion fitted on scene and face alone, for the paper's row without sound and text.
        allow_missing: Go on although some clips of the split could not be prepared.
        device: Where the networks compute: auto (a GPU if there is one), cpu, cuda or mps.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
        progress: Told how far it is.

    Raises:
        LabelError: The split has no annotated clips, or some of them are missing and that is not allowed.
        ConfigError: The store was prepared for another text encoder, or deals its clips otherwise than at training.
        FormatError: A clip file is damaged.
    """
    protocol = bundle.protocol
    manifest = assign_splits(read_manifest(store), protocol)
    rows = _annotated(manifest, split, store)
    _refuse_other_deal(bundle, manifest, store)
    missing = missing_clips(manifest, splits_of(split, protocol), store)
    if not allow_missing:
        refuse_missing(missing, store)
    warnings = _warnings(bundle, manifest, split, missing)
    features, scores = extract_all(
        bundle.nets,
        store,
        rows,
        bundle.config.transforms,
        workers=bundle.config.training.workers,
        device=choose_device(device),
        progress=progress,
    )
    truth = np.array([row.scores for row in rows], dtype=np.float64)
    fused, streams = system_scores(bundle.fusion, features, scores)
    predictions: dict[str, NDArray[np.float64]] = {s: streams[s] for s in STREAMS if s in streams}
    if scene_face is not None:
        predictions[SCENE_FACE] = scene_face.predict(features)
    predictions |= {FUSION: fused, FLOOR: np.tile(bundle.train_medians, (len(rows), 1))}
    systems = {
        name: describe(truth, prediction, bundle.train_medians, resamples=resamples, seed=seed)
        for name, prediction in predictions.items()
    }
    calibration = bundle.calibration if bundle.applies_to(manifest.source == "simulated") else None
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
        encoder=encoder_label(bundle.encoder) if reads_words(bundle.config) else None,
        warnings=warnings,
        systems=systems,
        ceiling=read_ceiling(store) if manifest.source == "simulated" and protocol == OFFICIAL else None,
        intervals=None if calibration is None else calibration.coverage(truth, fused),
        protocol=protocol,
        familiar=(
            _familiar(manifest, split, rows, truth, predictions, bundle.train_medians)
            if bundle.training_fingerprint == training_fingerprint(manifest)
            else {}
        ),
    )


def evaluate_run(
    run_dir: Path,
    store: Path,
    *,
    split: Split = "test",
    allow_missing: bool = False,
    device: str = "auto",
    progress: Progress = no_progress,
) -> tuple[Evaluation, Path]:
    """Measure a trained run on a split of a store; write metrics.json and predictions.csv into `RUN/evaluation/SPLIT`.

    Args:
        run_dir: A finished run.
        store: A prepared store.
        split, allow_missing, device, progress: See `evaluate`, also for the errors.

    Returns:
        What was measured, and the folder.
    """
    bundle = load_bundle(run_dir)
    evaluation = evaluate(
        bundle,
        store,
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


def _annotated(manifest: Manifest, split: Split, store: Path) -> tuple[ClipRow, ...]:
    rows = tuple(row for row in manifest.rows(split) if row.scores is not None)
    if not rows:
        held = [name for name in SPLITS if any(row.scores is not None for row in manifest.rows(name))]
        raise LabelError(
            f"no annotated clips in the {split} split",
            path=store,
            remedy=f"splits with annotated clips: {', '.join(held) or 'none'}",
        )
    return rows


def _familiar(
    manifest: Manifest,
    split: Split,
    rows: Sequence[ClipRow],
    truth: NDArray[np.float64],
    predictions: Mapping[str, NDArray[np.float64]],
    train_medians: NDArray[np.float64],
) -> dict[str, dict[str, dict[str, Any]]]:
    """See `Evaluation.familiar`; of clips that did not train the system."""
    if split == "train":
        return {}
    found = {}
    for grouping, names in seen_in_other_splits(manifest, split).items():
        seen = np.array([row.clip_id in names for row in rows])
        if seen.all() or not seen.any():
            continue
        found[grouping] = {
            word: {
                "clips": int(chosen.sum()),
                "systems": {
                    system: describe(truth[chosen], prediction[chosen], train_medians)[AVERAGE]
                    for system, prediction in predictions.items()
                },
            }
            for word, chosen in (("seen", seen), ("unseen", ~seen))
        }
    return found


def _refuse_other_deal(bundle: Bundle, manifest: Manifest, store: Path) -> None:
    """By the data set's own splits a clip stays where it is; others may move when one comes or goes."""
    if bundle.protocol != OFFICIAL and bundle.training_fingerprint != training_fingerprint(manifest):
        raise ConfigError(
            f"{bundle.protocol} deals the clips of this store otherwise than those that trained the system: "
            "it may know those that would test it",
            path=store,
            remedy="measure it on the store it was trained on, or train it anew on this one",
        )


def splits_of(split: Split, protocol: SplitProtocol) -> tuple[Split, ...]:
    """The data set's own splits from which clips may be missing.

    By other protocols, all: where a clip belongs is not known before it is prepared, since its person is not.
    """
    return (split,) if protocol == OFFICIAL else SPLITS


def refuse_missing(missing: Sequence[str], store: Path) -> None:
    """Raise LabelError if clips are missing."""
    if missing:
        raise LabelError(
            f"{len(missing)} annotated clips are not in the store, the first is {missing[0]}",
            path=store / FAILURES_NAME,
            remedy="mend them and run `crnet prepare` again, or allow missing clips and report n with every figure",
        )


def _warnings(bundle: Bundle, manifest: Manifest, split: Split, missing: Sequence[str]) -> tuple[str, ...]:
    """What is odd about scoring this store with this bundle, most important first."""
    if not is_same_encoder(manifest.encoder, bundle.encoder):
        raise ConfigError(
            f"the store's transcripts were encoded by {encoder_label(manifest.encoder)}, "
            f"the system knows {encoder_label(bundle.encoder)}",
            remedy="embed or prepare the clips with the system's encoder",
        )
    warnings = []
    if not bundle.applies_to(manifest.source == "simulated"):
        warnings.append(TRAINED_ON_SYNTHETIC_PEOPLE)
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
