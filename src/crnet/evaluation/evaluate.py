"""Evaluate a trained system on one split: every stream, scene+face, all three streams, and the floor beside them.

`evaluate` scores the clips, `evaluate_run` also writes `metrics.json` and `predictions.csv`. Tables for the terminal
come from `crnet.cli.evaluation_tables`, plots and the report page from `crnet.report`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnet.bundle.bundle import Bundle
from crnet.bundle.load import load_bundle, load_visual_fusion
from crnet.config import reads_words
from crnet.data.ceiling_file import read_ceiling
from crnet.data.dataset import stack_scores
from crnet.data.manifest import ClipRow
from crnet.data.splits import OFFICIAL, overlap_with_other_splits, training_fingerprint
from crnet.evaluation.clip_selection import EvaluationClips, select_clips
from crnet.evaluation.evaluation import (
    EVALUATION_FOLDER,
    FLOOR,
    FUSION,
    SCENE_FACE,
    Evaluation,
    row_clusters,
    write_evaluation,
)
from crnet.fusion.conformal import interval_coverage
from crnet.fusion.fusion import Fusion, system_scores
from crnet.fusion.interval_width import ClipFacts
from crnet.metrics import AVERAGE, RESAMPLES, describe
from crnet.models.inference import extract_in_blocks
from crnet.text.encoder_interface import encoder_label
from crnet.types import STREAMS, VISUAL_STREAMS, Split
from crnet.utils.device import choose_device
from crnet.utils.files import remove_leftovers
from crnet.utils.number_format import decimal
from crnet.utils.progress import Progress, no_progress
from crnet.utils.storage import as_path

Predictions = dict[str, NDArray[np.float64]]
"""float64 [N, 6] of each system."""


def evaluate(
    bundle: Bundle,
    store: Path | str,
    *,
    split: Split = "test",
    scene_face: Fusion | None = None,
    allow_missing: bool = False,
    device: str = "auto",
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Evaluation:
    """Score every annotated clip of a split from its middle frames, and compare every system with the truth.

    Args:
        bundle: The trained system.
        store: A clip store.
        split: The split, under the protocol that the system was trained with.
        scene_face: A fusion of scene and face alone, for the paper's row without sound and text.
        allow_missing: Continue although some clips of the split could not be prepared.
        device: Where the networks compute: auto (a GPU if there is one), cpu, cuda or mps.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap.
        progress: Called after every batch of clips.

    Raises:
        LabelError: The split has no annotated clips, or some are missing and `allow_missing` is False.
        ConfigError: The store has another text encoder than the system, or its clips are in other splits than at
            training.
        FormatError: A clip file is damaged.
    """
    clips = select_clips(bundle, as_path(store), split, allow_missing)
    predictions, facts = _predict(bundle, as_path(store), clips.rows, scene_face, device, progress)
    simulated = clips.manifest.source == "simulated"
    ceiling = read_ceiling(store) if simulated and bundle.protocol == OFFICIAL else None
    return _compare(bundle, clips, predictions, facts, ceiling, resamples, seed)


def _compare(
    bundle: Bundle,
    clips: EvaluationClips,
    predictions: Predictions,
    facts: ClipFacts,
    ceiling: dict[str, Any] | None,
    resamples: int,
    seed: int,
) -> Evaluation:
    """Compare the predictions of every system with the truth."""
    truth = stack_scores(clips.rows)
    applies = bundle.applies_to(clips.manifest.source == "simulated")
    calibration = bundle.calibration if applies else None
    bounds = None if calibration is None else calibration.bounds(facts)
    clusters = row_clusters(clips.rows)[1]
    systems = {
        system: describe(truth, prediction, bundle.train_medians, clusters=clusters, resamples=resamples, seed=seed)
        for system, prediction in predictions.items()
    }
    return Evaluation(
        split=clips.split,
        rows=clips.rows,
        truth=truth,
        predictions=predictions,
        train_medians=bundle.train_medians,
        missing=clips.missing,
        source=clips.manifest.source,
        training_source=bundle.training_source,
        initialisation="He et al." if (init := bundle.config.model.init) is None else init.name,
        encoder=encoder_label(bundle.encoder) if reads_words(bundle.config) else None,
        warnings=(*clips.warnings, *ranking_warnings(systems)),
        fusion=bundle.fusion.summary,
        systems=systems,
        ceiling=ceiling,
        intervals=None if bounds is None else interval_coverage(truth, *bounds),
        bounds=bounds,
        protocol=bundle.protocol,
        split_overlap=_split_overlap(bundle, clips, truth, predictions, clusters),
        model=bundle.model,
    )


def ranking_warnings(systems: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    """Yield a sentence for each system below the floor, and for each stream that a fusion of it is below.

    Compared is 1 - MAE, the mean of the five traits, as it is printed. Systems whose predictions are not all finite are
    left out.

    Args:
        systems: The metrics of `Evaluation.systems`.
    """
    accuracy = {
        system: metrics[AVERAGE]["accuracy"]
        for system, metrics in systems.items()
        if metrics[AVERAGE]["accuracy"] is not None
    }
    pairs = [(system, FLOOR) for system in accuracy if system != FLOOR]
    for fused, parts in ((SCENE_FACE, VISUAL_STREAMS), (FUSION, STREAMS)):
        pairs += [(fused, stream) for stream in parts if fused in accuracy and stream in accuracy]
    for lower, higher in pairs:
        if round(accuracy[lower], 4) < round(accuracy[higher], 4):
            reference = "the floor, which predicts the training median for everyone," if higher == FLOOR else higher
            yield (
                f"{lower} is below {reference} by {decimal(accuracy[higher] - accuracy[lower])}: 1 - MAE is "
                f"{decimal(accuracy[lower])} against {decimal(accuracy[higher])} (mean of the five traits)"
            )


def evaluate_run(
    run_dir: Path | str,
    store: Path | str,
    *,
    split: Split = "test",
    allow_missing: bool = False,
    device: str = "auto",
    progress: Progress = no_progress,
) -> tuple[Evaluation, Path]:
    """Evaluate a trained run and write `metrics.json` and `predictions.csv` into `RUN/evaluation/SPLIT`.

    Args:
        run_dir: A finished run.
        store: A clip store.
        split, allow_missing, device, progress: See `evaluate`, also for the errors.

    Returns:
        The evaluation and its folder.
    """
    run_dir = Path(run_dir)
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
    remove_leftovers(folder)
    write_evaluation(evaluation, folder)
    return evaluation, folder


def _predict(
    bundle: Bundle,
    store: Path,
    rows: Sequence[ClipRow],
    scene_face: Fusion | None,
    device: str,
    progress: Progress,
) -> tuple[Predictions, ClipFacts]:
    """Return the predictions of every system, and what they say about each clip; features stay in memory block-wise."""
    facts, pairs = [], []
    blocks = extract_in_blocks(
        bundle.networks,
        store,
        rows,
        bundle.config.transforms,
        workers=bundle.config.training.workers,
        device=choose_device(device),
        progress=progress,
    )
    for features, scores in blocks:
        fused_and_streams = system_scores(bundle.fusion, features, scores)
        facts.append(ClipFacts(*fused_and_streams, bundle.fusion.distances(features)))
        if scene_face is not None:
            pairs.append(scene_face.predict(features, scores))
    whole = ClipFacts.joined(facts)
    predictions: Predictions = {s: np.asarray(whole.streams[s]) for s in STREAMS if s in whole.streams}
    if scene_face is not None:
        predictions[SCENE_FACE] = np.concatenate(pairs)
    predictions |= {FUSION: np.asarray(whole.scores), FLOOR: np.tile(bundle.train_medians, (len(rows), 1))}
    return predictions, whole


def _split_overlap(
    bundle: Bundle,
    clips: EvaluationClips,
    truth: NDArray[np.float64],
    predictions: Predictions,
    clusters: NDArray[np.int64],
) -> dict[str, dict[str, dict[str, Any]]]:
    """Compare clips that share their video or person with another split with the others: `Evaluation.split_overlap`."""
    if clips.split == "train" or bundle.training_fingerprint != training_fingerprint(clips.manifest):
        return {}
    overlap = {}
    for grouping, is_seen in overlap_with_other_splits(clips.manifest, clips.split).items():
        if is_seen.all() or not is_seen.any():
            continue
        overlap[grouping] = {
            name: {
                "clips": int(mask.sum()),
                "systems": {
                    system: describe(truth[mask], prediction[mask], bundle.train_medians, clusters=clusters[mask])[
                        AVERAGE
                    ]
                    for system, prediction in predictions.items()
                },
            }
            for name, mask in (("seen", is_seen), ("unseen", ~is_seen))
        }
    return overlap
