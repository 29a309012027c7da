"""A run's configuration trained anew on other splits of the same clips: what `crnet evaluate --protocol` runs.

Beside the run's own files:

    protocols/video-disjoint/       a run of its own, made like the run it stands in
    protocols/grouped-kfold-5-1/    likewise, the first of five folds, and so on
    protocols/grouped-kfold-5/      evaluation/: every clip scored by the fold that held it out
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crnet.bundle.bundle import training_of
from crnet.data.failures import missing_clips
from crnet.data.manifest import read_manifest
from crnet.data.splits import SplitProtocol, assign_splits
from crnet.errors import UsageError
from crnet.evaluation.evaluate import (
    EVALUATION_FOLDER,
    FLOOR,
    Evaluation,
    evaluate_run,
    refuse_missing,
    splits_of,
    write_evaluation,
)
from crnet.metrics import describe
from crnet.train import train_system
from crnet.types import Split
from crnet.utils.device import Device
from crnet.utils.progress import Progress, no_progress

PROTOCOLS_FOLDER = "protocols"


@dataclass(frozen=True, eq=False)
class Measured:
    """A run and what was measured of it.

    Attributes:
        run_dir: The run.
        evaluation: What was measured.
        folder: Where metrics.json and predictions.csv lie.
    """

    run_dir: Path
    evaluation: Evaluation
    folder: Path


def evaluate_protocol(
    run_dir: Path,
    store: Path,
    protocol: SplitProtocol,
    *,
    split: Split = "test",
    allow_missing: bool = False,
    device: Device = "auto",
    progress: Progress = no_progress,
) -> tuple[Measured, tuple[Measured, ...]]:
    """Train a run's configuration on the splits of a protocol, and measure it there; goes on where it stopped.

    Args:
        run_dir: A finished run, which gives the configuration and the seed. Its networks are not used: other clips
            would test them than those they have not seen.
        store: A prepared store.
        protocol: How to deal its clips to splits.
        split: Which clips to score.
        allow_missing: See `crnet.evaluation.evaluate.evaluate`.
        device: Where the networks are trained and compute.
        progress: Told after every step.

    Returns:
        The protocol as a whole, and each of its parts: one, but for a grouped-kfold.

    Raises:
        UsageError: The training split of a grouped-kfold, in which every clip stands several times.
        CrnetError: See `crnet.train.train_system` and `crnet.evaluation.evaluate.evaluate`.
    """
    if split == "train" and len(protocol.parts) > 1:
        raise UsageError("the folds' training splits overlap", remedy="measure test or val")
    manifest = read_manifest(store)
    for part in protocol.parts:  # what cannot be measured is refused before hours of training
        assign_splits(manifest, part)
        if not allow_missing:
            refuse_missing(missing_clips(manifest, splits_of(split, part), store), store)
    config, _ = training_of(run_dir)
    config = replace(config, training=replace(config.training, device=device))
    parts = []
    for part in protocol.parts:
        trained = run_dir / PROTOCOLS_FOLDER / _folder_name(part)
        train_system(store, trained, config, progress, protocol=part)
        evaluation, folder = evaluate_run(
            trained, store, split=split, allow_missing=allow_missing, device=device, progress=progress
        )
        parts.append(Measured(trained, evaluation, folder))
    if len(parts) == 1:
        return parts[0], (parts[0],)
    whole = run_dir / PROTOCOLS_FOLDER / _folder_name(protocol)
    folder = whole / EVALUATION_FOLDER / split
    together = pooled([part.evaluation for part in parts], protocol)
    write_evaluation(together, folder)
    return Measured(whole, together, folder), tuple(parts)


def _folder_name(protocol: SplitProtocol) -> str:
    return str(protocol).replace(":", "-")  # no file of Windows has a colon in its name


def pooled(evaluations: Sequence[Evaluation], protocol: SplitProtocol) -> Evaluation:
    """One evaluation of several on different clips, each clip as its own system and its own floor scored it."""
    first = evaluations[0]
    truth = np.concatenate([one.truth for one in evaluations])
    predictions = {
        system: np.concatenate([one.predictions[system] for one in evaluations]) for system in first.predictions
    }
    return replace(
        first,
        rows=tuple(row for one in evaluations for row in one.rows),
        truth=truth,
        predictions=predictions,
        train_medians=np.mean([one.train_medians for one in evaluations], axis=0),
        missing=tuple(sorted({clip for one in evaluations for clip in one.missing})),
        warnings=tuple(dict.fromkeys(warning for one in evaluations for warning in one.warnings)),
        systems={system: describe(truth, prediction, predictions[FLOOR]) for system, prediction in predictions.items()},
        intervals=_pooled_intervals(evaluations),
        protocol=protocol,
    )


def _pooled_intervals(evaluations: Sequence[Evaluation]) -> dict[str, dict[str, float]] | None:
    """Coverage and width over all clips; None if a fold has no intervals."""
    known = [one.intervals for one in evaluations if one.intervals is not None]
    if len(known) < len(evaluations):
        return None
    clips = [len(one.rows) for one in evaluations]
    return {
        target: {name: float(np.average([one[target][name] for one in known], weights=clips)) for name in figures}
        for target, figures in known[0].items()
    }
