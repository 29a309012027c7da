"""The systems of a comparison, joined by clip: trained runs with their evaluation, and tables of any system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crnet.data.clip_tables import match_clips
from crnet.data.score_tables import (
    JoinedScores,
    ScoreTable,
    first_known,
    join_scores,
    read_predictions,
    read_system,
    read_truth,
)
from crnet.data.splits import clip_clusters
from crnet.errors import LabelError, UsageError
from crnet.evaluation.evaluation import EVALUATION_FOLDER, FLOOR, FUSION, PREDICTIONS_FILE, TRUTH
from crnet.metrics import averaged_targets
from crnet.types import TARGETS, TRAITS, Split, target_label

Floats = NDArray[np.float64]

MOST_SYSTEMS = 12
FLOOR_OF_TRAINING = "the median of the training labels"
FLOOR_OF_THESE = (
    "the median of these labels, because no training labels are known; it is the best constant for these very clips"
)


@dataclass(frozen=True, eq=False)
class SystemTables:
    """The tables of one system.

    Attributes:
        name: Name of the system.
        predictions: Its scores.
        labels, floor: True scores and the floor's scores of an evaluated run; None for other systems.
    """

    name: str
    predictions: ScoreTable
    labels: ScoreTable | None = None
    floor: ScoreTable | None = None


@dataclass(frozen=True, eq=False)
class ComparedClips:
    """Labels and the scores of every system for the same N clips.

    Attributes:
        clips: Names of the clips, without `.mp4`.
        targets: The T targets that have labels and scores of every system, in the order of `TARGETS`.
        truth: float64 [N, T]; NaN where there is no label, or a system has no score.
        scores: float64 [N, T] of each system; NaN where there is none.
        floors: float64 [N, T], the floor of each system.
        floor: What the floor is, in words.
        bounds: The lower and upper ends [N, T] of the intervals of each system that gives intervals.
        cluster_kind: What the bootstrap draws: "person" or "source video".
        clusters: int64 [N], the number of each clip's person or video.
        warnings: What did not match, as sentences.
    """

    clips: tuple[str, ...]
    targets: tuple[str, ...]
    truth: Floats
    scores: dict[str, Floats]
    floors: dict[str, Floats]
    floor: str
    bounds: dict[str, tuple[Floats, Floats]]
    cluster_kind: str
    clusters: NDArray[np.int64]
    warnings: tuple[str, ...]

    @property
    def average_of(self) -> str:
        """What the average is over, for a reader."""
        averaged = averaged_targets(self.targets)
        return "the five traits" if averaged == TRAITS else " and ".join(map(target_label, averaged))


def read_systems(paths: Sequence[Path], split: Split) -> list[SystemTables]:
    """Read evaluated runs and tables of predictions.

    Args:
        paths: Run folders with an evaluation of the split, and CSVs of predictions.
        split: The split that runs are compared on.

    Raises:
        UsageError: There are too many systems, or one is given twice.
        LabelError: A run was not evaluated on the split, or a table is unusable.
    """
    if len(paths) > MOST_SYSTEMS:
        raise UsageError(f"{len(paths)} systems", remedy=f"compare at most {MOST_SYSTEMS}")
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("a system is given twice", remedy="name each run and each table once")
    short = [path.resolve().name for path in paths]
    names = [name if short.count(name) == 1 else str(path) for name, path in zip(short, paths, strict=True)]
    names = [f"{name} (system)" if name in (FLOOR, TRUTH) else name for name in names]  # columns of predictions.csv
    return [_read_system(name, path, split) for name, path in zip(names, paths, strict=True)]


def _read_system(name: str, path: Path, split: Split) -> SystemTables:
    if not path.is_dir():
        return SystemTables(name, read_predictions(path))
    table = path / EVALUATION_FOLDER / split / PREDICTIONS_FILE
    if not table.is_file():
        remedy = "if it is a run, run `crnet evaluate` with its store; tables of predictions must be CSVs"
        raise LabelError(f"no evaluation on the {split} split", path=path, remedy=remedy)
    return SystemTables(name, read_system(table, FUSION), read_system(table, TRUTH), read_system(table, FLOOR))


def join_systems(
    systems: Sequence[SystemTables], labels: Path | None, train_labels: Path | None, *, allow_missing: bool
) -> ComparedClips:
    """Join systems and labels by the name of the clip; every system is measured on the same clips.

    Args:
        systems: The systems.
        labels: A table of labels; None takes those of the first run.
        train_labels: The labels of the training clips, whose median is the floor of systems that are no runs; None
            takes the floor of the first run, or else the median of the labels.
        allow_missing: Leave out labelled clips that a system did not score.

    Raises:
        UsageError: There are no labels.
        LabelError: A table is unusable, tables share no clip, runs have different labels, or a system lacks clips.
    """
    truth = read_truth(labels) if labels else next((s.labels for s in systems if s.labels is not None), None)
    if truth is None:
        raise UsageError("no labels are known", remedy="give a table of labels with --labels")
    joined = {system.name: join_scores(truth, system.predictions) for system in systems}
    common = set[str].intersection(*(set(part.clips) for part in joined.values()))
    missing = len(truth.clips) - len(common)
    if missing and not allow_missing:
        first_missing = next(clip for clip in truth.clips if clip not in common)
        raise LabelError(
            f"{missing} of {len(truth.clips)} labelled clips have no predictions, such as {first_missing}",
            path=next(s.predictions.path for s in systems if first_missing not in joined[s.name].clips),
            remedy="score them, or give --allow-missing and report n with every figure",
        )
    if not common:
        raise LabelError("the systems share no clip", remedy="give predictions of the same clips")
    parts = {
        name: part.select([i for i, clip in enumerate(part.clips) if clip in common]) for name, part in joined.items()
    }
    first = next(iter(parts.values()))
    if labels is None:
        _refuse_other_labels(systems, first)
    warnings = _named_warnings(joined)
    return _aligned(systems, parts, first, train_labels, warnings)


def _aligned(
    systems: Sequence[SystemTables],
    parts: dict[str, JoinedScores],
    first: JoinedScores,
    train_labels: Path | None,
    warnings: list[str],
) -> ComparedClips:
    """Put the scores of every system side by side, for the targets and clips that all of them score."""
    scored = np.all([np.isfinite(part.scores) for part in parts.values()], axis=0)
    labelled = np.isfinite(first.truth)
    used = [i for i in range(len(TARGETS)) if (labelled & scored)[:, i].any()]
    if not used:
        raise _no_common_target(labelled, parts)
    targets = tuple(TARGETS[i] for i in used)
    for i in used:
        if count := int((labelled & ~scored)[:, i].sum()):
            noun, verb = ("clip", "is") if count == 1 else ("clips", "are")
            warnings.append(f"{count} {noun} without a score of {TARGETS[i]} {verb} left out of it")
    truth = np.where(scored, first.truth, np.nan)[:, used]
    floors, floor = _floors(systems, first, truth, targets, train_labels)
    if len({values.tobytes() for values in floors.values()}) > 1:
        warnings.append("the systems have different floors, because they were trained on different labels")
    kind, clusters = clip_clusters(first.clips, first_known(*(part.persons for part in parts.values())))
    return ComparedClips(
        first.clips,
        targets,
        truth,
        {name: part.scores[:, used] for name, part in parts.items()},
        floors,
        floor,
        {
            name: (part.low[:, used], part.high[:, used])
            for name, part in parts.items()
            if part.low is not None and part.high is not None
        },
        kind,
        clusters,
        tuple(warnings),
    )


def _no_common_target(labelled: NDArray[np.bool_], parts: dict[str, JoinedScores]) -> LabelError:
    given = {"the labels": labelled, **{name: np.isfinite(part.scores) for name, part in parts.items()}}
    known = [
        f"{name}: {', '.join(t for t, column in zip(TARGETS, cells.T, strict=True) if column.any())}"
        for name, cells in given.items()
    ]
    return LabelError(
        f"no target is labelled and scored by every system ({'; '.join(known)})",
        remedy="compare systems that score a target in common",
    )


def _floors(
    systems: Sequence[SystemTables],
    first: JoinedScores,
    truth: Floats,
    targets: tuple[str, ...],
    train_labels: Path | None,
) -> tuple[dict[str, Floats], str]:
    """Return the floor [N, T] of each system, and what that of systems other than runs is."""
    used = [TARGETS.index(target) for target in targets]
    runs = {}
    for system in systems:
        if system.floor is not None:
            rows = _rows(system.floor, first.clips)
            runs[system.name] = system.floor.scores[[rows[clip] for clip in first.clips]][:, used]
    if train_labels is not None:
        constants, floor = _medians(read_truth(train_labels).scores[:, used]), FLOOR_OF_TRAINING
        if np.isnan(constants).any():
            raise LabelError("lacks labels of a compared target", path=train_labels)
    elif runs:
        constants, floor = next(iter(runs.values())), FLOOR_OF_TRAINING
    else:
        constants, floor = _medians(truth), FLOOR_OF_THESE
    other = np.broadcast_to(constants, truth.shape).copy()
    return {system.name: runs.get(system.name, other) for system in systems}, floor


def _rows(table: ScoreTable, clips: Sequence[str]) -> dict[str, int]:
    """Return the row of each clip that a table names."""
    place = {clip: i for i, clip in enumerate(table.clips)}
    return {clip: place[name] for clip, name in match_clips(clips, table.clips, table.path).items()}


def _medians(labels: Floats) -> Floats:
    """Return the median of each column, without the missing labels; NaN for a column without any."""
    columns = [column[~np.isnan(column)] for column in labels.T]
    return np.array([np.median(column) if len(column) else np.nan for column in columns])


def _named_warnings(joined: dict[str, JoinedScores]) -> list[str]:
    """Return what did not match, with the name of the system if there are several."""
    several = len(joined) > 1
    return [f"in {name}, {text}" if several else text for name, part in joined.items() for text in part.warnings]


def _refuse_other_labels(systems: Sequence[SystemTables], first: JoinedScores) -> None:
    """Refuse runs that were evaluated with different labels.

    Raises:
        LabelError: They were.
    """
    for system in systems:
        if system.labels is None:
            continue
        rows = _rows(system.labels, first.clips)
        for k, i in ((k, rows[clip]) for k, clip in enumerate(first.clips) if clip in rows):
            if not np.array_equal(system.labels.scores[i], first.truth[k], equal_nan=True):
                raise LabelError(
                    f"{system.name} was evaluated with another label of clip {first.clips[k]}",
                    remedy="give the labels to compare with in --labels",
                )
