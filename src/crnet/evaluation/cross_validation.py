"""Train a run's configuration again on other splits of the same clips: what `crnet evaluate --protocol` does.

The results lie beside the run's own files:

    protocols/video-disjoint/       a complete run with these splits
    protocols/grouped-kfold-5-1/    a complete run, the first of five folds, and so on
    protocols/grouped-kfold-5/      evaluation/: every clip as scored by the fold that held it out
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crnet.bundle.load import read_training_config
from crnet.data.failures import missing_clips
from crnet.data.manifest import read_manifest
from crnet.data.splits import SplitProtocol, assign_splits
from crnet.errors import UsageError
from crnet.evaluation.clip_selection import official_splits, refuse_missing
from crnet.evaluation.evaluate import evaluate_run, ranking_warnings
from crnet.evaluation.evaluation import EVALUATION_FOLDER, FLOOR, Evaluation, row_clusters, write_evaluation
from crnet.fusion.conformal import interval_coverage
from crnet.metrics import describe
from crnet.train import train_system
from crnet.types import Split
from crnet.utils.device import Device
from crnet.utils.progress import Progress, no_progress
from crnet.utils.storage import as_path

PROTOCOLS_FOLDER = "protocols"


@dataclass(frozen=True, eq=False)
class EvaluatedRun:
    """A run and its evaluation.

    Attributes:
        run_dir: The run.
        evaluation: Its evaluation.
        folder: The folder of metrics.json and predictions.csv.
    """

    run_dir: Path
    evaluation: Evaluation
    folder: Path


def evaluate_protocol(
    run_dir: Path | str,
    store: Path | str,
    protocol: SplitProtocol,
    *,
    split: Split = "test",
    allow_missing: bool = False,
    device: Device = "auto",
    progress: Progress = no_progress,
) -> tuple[EvaluatedRun, tuple[EvaluatedRun, ...]]:
    """Train a run's configuration on the splits of a protocol and evaluate it there. A second call resumes the first.

    Args:
        run_dir: A finished run, which gives the configuration and the seed. Its networks are not used, because they may
            have been trained on clips that the protocol tests.
        store: A clip store.
        protocol: How to assign its clips to splits.
        split: The split to score.
        allow_missing: See `crnet.evaluation.evaluate.evaluate`.
        device: Where the networks are trained and compute.
        progress: Called after every step.

    Returns:
        The whole protocol, and each of its parts. Only a grouped-kfold has more than one part.

    Raises:
        UsageError: The training split of a grouped-kfold, which holds every clip several times.
        CrnetError: See `crnet.train.train_system` and `crnet.evaluation.evaluate.evaluate`.
    """
    run_dir, store = Path(run_dir), as_path(store)
    if split == "train" and len(protocol.single_folds) > 1:
        raise UsageError("the folds' training splits overlap", remedy="evaluate test or val")
    _refuse_before_training(store, protocol, split, allow_missing)
    config, _ = read_training_config(run_dir)
    config = replace(config, training=replace(config.training, device=device))
    runs = []
    for part in protocol.single_folds:
        part_dir = _protocol_dir(run_dir, part)
        train_system(store, part_dir, config, progress, protocol=part)
        evaluation, folder = evaluate_run(
            part_dir, store, split=split, allow_missing=allow_missing, device=device, progress=progress
        )
        runs.append(EvaluatedRun(part_dir, evaluation, folder))
    return _whole(run_dir, protocol, runs, split), tuple(runs)


def _whole(run_dir: Path, protocol: SplitProtocol, runs: Sequence[EvaluatedRun], split: Split) -> EvaluatedRun:
    """Return the only part of a protocol, or write and return the pooled evaluation of several."""
    if len(runs) == 1:
        return runs[0]
    whole = _protocol_dir(run_dir, protocol)
    folder = whole / EVALUATION_FOLDER / split
    evaluation = pool([part.evaluation for part in runs], protocol)
    write_evaluation(evaluation, folder)
    return EvaluatedRun(whole, evaluation, folder)


def _refuse_before_training(store: Path, protocol: SplitProtocol, split: Split, allow_missing: bool) -> None:
    """Raise before hours of training what the evaluation would raise after them."""
    manifest = read_manifest(store)
    for part in protocol.single_folds:
        assign_splits(manifest, part)
        if not allow_missing:
            refuse_missing(missing_clips(manifest, official_splits(split, part), store), store)


def _protocol_dir(run_dir: Path, protocol: SplitProtocol) -> Path:
    return run_dir / PROTOCOLS_FOLDER / str(protocol).replace(":", "-")  # file names on Windows contain no colon


def pool(evaluations: Sequence[Evaluation], protocol: SplitProtocol) -> Evaluation:
    """Combine evaluations on different clips into one; each clip keeps the predictions and the floor of its system."""
    first = evaluations[0]
    truth = np.concatenate([evaluation.truth for evaluation in evaluations])
    predictions = {
        system: np.concatenate([evaluation.predictions[system] for evaluation in evaluations])
        for system in first.predictions
    }
    rows = tuple(row for evaluation in evaluations for row in evaluation.rows)
    clusters = row_clusters(rows)[1]
    systems = {
        system: describe(truth, scores, predictions[FLOOR], clusters=clusters) for system, scores in predictions.items()
    }
    bounds = _pool_bounds(evaluations)
    conditions = (w for each in evaluations for w in each.warnings if w not in set(ranking_warnings(each.systems)))
    return replace(
        first,
        rows=rows,
        truth=truth,
        predictions=predictions,
        train_medians=np.mean([evaluation.train_medians for evaluation in evaluations], axis=0),
        missing=tuple(sorted({clip for evaluation in evaluations for clip in evaluation.missing})),
        warnings=(*dict.fromkeys(conditions), *ranking_warnings(systems)),
        fusion="; ".join(f"{evaluation.protocol}: {evaluation.fusion}" for evaluation in evaluations),
        systems=systems,
        intervals=None if bounds is None else interval_coverage(truth, *bounds),
        bounds=bounds,
        protocol=protocol,
        model=None,
    )


def _pool_bounds(
    evaluations: Sequence[Evaluation],
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the ends of the intervals of all clips; None if a fold has no intervals."""
    bounds = [evaluation.bounds for evaluation in evaluations if evaluation.bounds is not None]
    if len(bounds) < len(evaluations):
        return None
    low, high = (np.concatenate(ends) for ends in zip(*bounds, strict=True))
    return low, high
