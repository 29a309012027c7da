"""What an audit needs to know about a system: labels, scores and groups of its clips, of a run or of any system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from crnet.bundle.load import load_bundle, load_visual_fusion
from crnet.data.score_tables import GroupTable, join_scores, read_groups, read_predictions, read_truth
from crnet.data.sources.release_labels import clip_name
from crnet.data.splits import clip_clusters
from crnet.errors import LabelError
from crnet.evaluation.evaluation import FUSION
from crnet.types import TARGETS, ModelInfo, Split
from crnet.utils.progress import Progress, no_progress

Floats = NDArray[np.float64]

MOST_GROUPS = 60
"""In one column: a column with more is no grouping, but numbers or names."""
MOST_GROUPINGS = 12
UNKNOWN = ""
"""The group of a clip whose group is not known."""


@dataclass(frozen=True, eq=False)
class AuditClips:
    """Labels, scores and groups of N clips.

    Attributes:
        name: Name of the system.
        clips: Names of the clips.
        truth, scores: float64 [N, 6], in the order of `TARGETS`; NaN where there is no label or no score.
        groupings: For each grouping, the group of each clip [N]; `UNKNOWN` where it is not known.
        clusters: int64 [N], the number of each clip's person or video; the bootstrap draws these.
        cluster_kind: What the clusters are: "person" or "source video".
        low, high: float64 [N, 6], the ends of the intervals; None if there are none.
        split: The split that the clips are from; None if unknown.
        warnings: What a reader must know, most important first.
        model: The system, if it is a trained run.
    """

    name: str
    clips: tuple[str, ...]
    truth: Floats
    scores: Floats
    groupings: Mapping[str, tuple[str, ...]]
    clusters: NDArray[np.int64]
    cluster_kind: str
    low: Floats | None = None
    high: Floats | None = None
    split: Split | None = None
    warnings: tuple[str, ...] = ()
    model: ModelInfo | None = None

    def __post_init__(self) -> None:
        if not self.groupings:
            raise LabelError("no groups are known", remedy="give a table of groups with --groups")
        if len(self.groupings) > MOST_GROUPINGS:
            raise LabelError(
                f"{len(self.groupings)} columns of groups", remedy=f"give at most {MOST_GROUPINGS}, the relevant ones"
            )
        for grouping, groups in self.groupings.items():
            count = len(set(groups) - {UNKNOWN})
            if count > MOST_GROUPS:
                raise LabelError(
                    f"{grouping} has {count} groups", remedy=f"give ranges or classes, at most {MOST_GROUPS}"
                )

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets with labels and scores."""
        usable = np.isfinite(self.truth) & np.isfinite(self.scores)
        return tuple(target for target, column in zip(TARGETS, usable.T, strict=True) if column.any())

    def with_intersections(self) -> Self:
        """Return the clips with a further grouping for each pair of groupings, such as "ethnicity and gender"."""
        pairs = {
            f"{first} and {second}": tuple(
                UNKNOWN if UNKNOWN in pair else ", ".join(pair)
                for pair in zip(self.groupings[first], self.groupings[second], strict=True)
            )
            for first, second in combinations(self.groupings, 2)
        }
        return replace(self, groupings={**self.groupings, **pairs}) if pairs else self


def clips_of_run(
    run: Path,
    store: Path,
    split: Split,
    groups: Sequence[Path] = (),
    *,
    allow_missing: bool = False,
    device: str = "auto",
    progress: Progress = no_progress,
) -> AuditClips:
    """Score the clips of a split with a trained run.

    Args:
        run: A finished run.
        store: A clip store.
        split: The split.
        groups: Tables of groups; without any, those of the store count.
        allow_missing, device, progress: See `evaluate`, also for the errors.

    Raises:
        LabelError: No groups are known, or a table is unusable.
    """
    from crnet.evaluation.evaluate import evaluate  # PyTorch: audits of tables need none

    table = read_groups(groups)
    bundle = load_bundle(run)
    fusion = load_visual_fusion(run, bundle.config)
    result = evaluate(
        bundle, store, split=split, scene_face=fusion, allow_missing=allow_missing, device=device, resamples=0,
        progress=progress,
    )  # fmt: skip
    names = [clip_name(row.clip_id) for row in result.rows]
    if not groups:
        table = GroupTable({name: row.groups for name, row in zip(names, result.rows, strict=True)})
    persons = [table.persons.get(name, row.person or "") for name, row in zip(names, result.rows, strict=True)]
    low, high = result.bounds or (None, None)
    clips = _audit_clips(
        run.resolve().name, names, (result.truth, result.predictions[FUSION]), (low, high), table, persons,
        split, result.warnings,
    )  # fmt: skip
    return replace(clips, model=result.model)


def clips_of_tables(predictions: Path, labels: Path, groups: Sequence[Path]) -> AuditClips:
    """Read the predictions of any system, the labels and the groups of its clips.

    Raises:
        LabelError: A table is unusable, or the tables share no clip.
    """
    joined = join_scores(read_truth(labels), read_predictions(predictions))
    table = read_groups(groups)
    own = dict(zip(joined.clips, joined.persons or (), strict=False))
    persons = [table.persons.get(clip, own.get(clip, "")) for clip in joined.clips]
    return _audit_clips(
        predictions.name, joined.clips, (joined.truth, joined.scores), (joined.low, joined.high), table, persons,
        None, joined.warnings,
    )  # fmt: skip


def _audit_clips(
    name: str,
    clips: Sequence[str],
    scores: tuple[Floats, Floats],
    bounds: tuple[Floats | None, Floats | None],
    table: GroupTable,
    persons: Sequence[str],
    split: Split | None,
    warnings: Sequence[str],
) -> AuditClips:
    groupings = sorted({grouping for clip in clips for grouping in table.groups.get(clip, {})})
    kind, clusters = clip_clusters(clips, persons)
    return AuditClips(
        name,
        tuple(clips),
        *scores,
        {g: tuple(table.groups.get(clip, {}).get(g, UNKNOWN) for clip in clips) for g in groupings},
        clusters,
        kind,
        *bounds,
        split,
        tuple(warnings),
    )
