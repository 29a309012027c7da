"""Tables of scores of any system: predictions and labels by clip, joined by its name (`crnet.data.clip_tables`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crnet.data.clip_tables import is_given, match_clips, rows_by_clip
from crnet.data.csv_table import fail, parse_score, read_table
from crnet.data.sources.release_labels import clip_name, read_labels
from crnet.data.sources.release_names import LABELS_PATTERN
from crnet.errors import LabelError
from crnet.types import TARGETS

Floats = NDArray[np.float64]
NAMES_SHOWN = 3  # of clips without a partner


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores of N clips.

    Attributes:
        path: The file.
        clips: Names of the clips, without `.mp4`.
        scores: float64 [N, 6]; NaN where there is no score.
        low, high: float64 [N, 6], the ends of the intervals; None if the table has none.
        persons: Name of the person in each clip, "" where it is not known; None if the table names none.
    """

    path: Path
    clips: tuple[str, ...]
    scores: Floats
    low: Floats | None = None
    high: Floats | None = None
    persons: tuple[str, ...] | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that at least one clip has a score of."""
        return tuple(t for t, column in zip(TARGETS, self.scores.T, strict=True) if not np.isnan(column).all())


@dataclass(frozen=True, eq=False)
class JoinedScores:
    """Labels and predictions of the N clips that both tables name, in the order of the labels.

    Attributes:
        clips: Names of the clips, without `.mp4`.
        truth, scores: float64 [N, 6]; NaN where there is no label or no prediction of a target.
        low, high: float64 [N, 6], the ends of the predicted intervals; None if there are none.
        persons: Name of the person in each clip, if a table has it.
        warnings: What did not match or fit, as sentences.
    """

    clips: tuple[str, ...]
    truth: Floats
    scores: Floats
    low: Floats | None
    high: Floats | None
    persons: tuple[str, ...] | None
    warnings: tuple[str, ...]

    def select(self, rows: Sequence[int]) -> JoinedScores:
        """Return some of the clips."""
        return JoinedScores(
            tuple(self.clips[i] for i in rows),
            self.truth[rows],
            self.scores[rows],
            _rows(self.low, rows),
            _rows(self.high, rows),
            _pick(self.persons, rows),
            self.warnings,
        )


def read_predictions(path: Path) -> ScoreTable:
    """Read a table of predictions: `clip` and any of the six targets, optionally `TARGET.low` and `TARGET.high`.

    Rows without any score are left out, such as the clips that `crnet predict --csv` could not score.

    Raises:
        LabelError: Unusable; the error names the line.
    """
    return _read_scores(path, bounded=False)


def read_system(path: Path, system: str) -> ScoreTable:
    """Read one system of the `predictions.csv` of an evaluation, whose columns are named `SYSTEM.TARGET`.

    Raises:
        LabelError: Unusable; the error names the line.
    """
    return _read_scores(path, bounded=False, prefix=f"{system}.")


def read_truth(path: Path) -> ScoreTable:
    """Read a table of labels in [0, 1], or an annotation of First Impressions v2 (`annotation_test.pkl`).

    Raises:
        LabelError: Unusable; the error names the line.
    """
    if not LABELS_PATTERN.fullmatch(path.name):
        return _read_scores(path, bounded=True)
    labels = read_labels({path.name: [path]})
    if not labels:
        raise LabelError("not an annotation", path=path, remedy="give annotation_test.pkl, or a CSV of labels")
    return ScoreTable(path, tuple(map(clip_name, labels)), np.array([clip.scores for clip in labels.values()]))


def join_scores(labels: ScoreTable, predictions: ScoreTable) -> JoinedScores:
    """Join labels and predictions by the name of the clip.

    Raises:
        LabelError: No clip, or no target, is in both.
    """
    partner = match_clips(labels.clips, predictions.clips, predictions.path)
    place = {clip: i for i, clip in enumerate(predictions.clips)}
    rows = [i for i, clip in enumerate(labels.clips) if clip in partner]
    partners = [place[partner[labels.clips[i]]] for i in rows]
    if not rows:
        raise LabelError(
            f"has none of the {len(labels.clips)} clips of {labels.path}, such as {labels.clips[0]}; its first clip is "
            f"{predictions.clips[0]}",
            path=predictions.path,
            remedy="name clips alike in both, with or without .mp4 and folders",
        )
    if not set(labels.targets) & set(predictions.targets):
        raise LabelError(f"has none of the targets of {labels.path}", path=predictions.path)
    joined = set(partner.values())
    warnings = [
        *_out_of_range(predictions.scores[partners]),
        *_unmatched([clip for clip in labels.clips if clip not in partner], "labelled", "predictions"),
        *_unmatched([clip for clip in predictions.clips if clip not in joined], "predicted", "labels"),
    ]
    return JoinedScores(
        tuple(labels.clips[i] for i in rows),
        labels.scores[rows],
        predictions.scores[partners],
        _rows(predictions.low, partners),
        _rows(predictions.high, partners),
        first_known(_pick(labels.persons, rows), _pick(predictions.persons, partners)),
        tuple(warnings),
    )


def first_known(*columns: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the first name that is not "" of each row of several columns; None if there is none at all."""
    known = [column for column in columns if column is not None]
    names = tuple(next(filter(None, row), "") for row in zip(*known, strict=True))
    return names if any(names) else None


def _rows(values: Floats | None, places: Sequence[int]) -> Floats | None:
    return None if values is None else values[places]


def _pick(names: tuple[str, ...] | None, places: Sequence[int]) -> tuple[str, ...] | None:
    return None if names is None else tuple(names[i] for i in places)


def _unmatched(clips: Sequence[str], kind: str, lacking: str) -> list[str]:
    if not clips:
        return []
    names = ", ".join(clips[:NAMES_SHOWN]) + (", ..." if len(clips) > NAMES_SHOWN else "")
    plural = "clip has" if len(clips) == 1 else "clips have"
    return [f"{len(clips)} {kind} {plural} no {lacking} and {'is' if len(clips) == 1 else 'are'} left out: {names}"]


def _out_of_range(scores: Floats) -> list[str]:
    """Warn of scores on another scale than the labels, whose errors would mean nothing."""
    outside = int(((scores < 0) | (scores > 1)).sum())
    if not outside:
        return []
    verb = "score is" if outside == 1 else "scores are"
    return [f"{outside} predicted {verb} outside [0, 1], the range of the labels"]


def _read_scores(path: Path, *, bounded: bool, prefix: str = "") -> ScoreTable:
    names = [prefix + target for target in TARGETS]
    table = read_table(path, partial(_check_scores, names))
    rows = rows_by_clip(path, table, "clip")

    def column(name: str) -> list[float]:
        cells = ((line, values.get(name, "")) for line, values in rows.values())
        return [parse_score(path, line, name, text, bounded=bounded) if is_given(text) else np.nan
                for line, text in cells]  # fmt: skip

    def columns(suffix: str = "") -> Floats:
        return np.array([column(name + suffix) for name in names], dtype=np.float64).T

    scores = columns()
    used = np.asarray(~np.isnan(scores).all(axis=1))
    if not used.any():
        raise LabelError("has no score of any clip", path=path, remedy=f"give at least one of {', '.join(names)}")
    has_intervals = any(f"{name}.low" in table.names for name in names)
    low, high = (columns(".low"), columns(".high")) if has_intervals else (None, None)
    if low is not None and high is not None:
        _check_intervals(path, [line for line, _ in rows.values()], names, low, high)
    persons = [person if is_given(person := values.get("person", "")) else "" for _, values in rows.values()]
    return ScoreTable(
        path,
        tuple(clip for clip, is_used in zip(rows, used, strict=True) if is_used),
        scores[used],
        None if low is None else low[used],
        None if high is None else high[used],
        tuple(p for p, is_used in zip(persons, used, strict=True) if is_used) if any(persons) else None,
    )


def _check_intervals(path: Path, lines: Sequence[int], names: Sequence[str], low: Floats, high: Floats) -> None:
    for row, i in np.argwhere(low > high).tolist():
        reason = f"{names[i]}.low {low[row, i]:g} is above {names[i]}.high {high[row, i]:g}"
        fail(path, lines[row], f"has an interval upside down: {reason}", "exchange the two columns")


def _check_scores(needed: list[str], path: Path, names: list[str]) -> None:
    if not set(needed) & set(names):
        fail(path, 1, "names no target", f"name at least one column {', '.join(needed)}")
