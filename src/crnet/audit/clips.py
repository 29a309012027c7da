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
from crnet.data.group_tables import join_groups, read_groups
from crnet.data.score_tables import join_scores, read_predictions, read_truth
from crnet.data.sources.release_labels import clip_name
from crnet.data.splits import clip_clusters
from crnet.errors import LabelError
from crnet.evaluation.evaluation import FUSION
from crnet.types import TARGETS, ModelInfo, Split
from crnet.utils.progress import Progress, no_progress

Floats = NDArray[np.float64]

MOST_GROUPS = 60
"""In one column: a column with more is no grouping, but numbers or names. A pair of columns with more is left out."""
MOST_GROUPINGS = 12
"""Columns of groups; their pairs do not count."""
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
        intersections: The groupings that `with_intersections` has added.
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
    intersections: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.groupings:
            raise LabelError("no groups are known", remedy="give a table of groups with --groups")
        single = [grouping for grouping in self.groupings if grouping not in self.intersections]
        if len(single) > MOST_GROUPINGS:
            raise LabelError(
                f"{len(single)} columns of groups", remedy=f"give at most {MOST_GROUPINGS}, the relevant ones"
            )
        for grouping in single:
            if (count := _count(self.groupings[grouping])) > MOST_GROUPS:
                raise LabelError(
                    f"{grouping} has {count} groups", remedy=f"give ranges or classes, at most {MOST_GROUPS}"
                )

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets with labels and scores."""
        usable = np.isfinite(self.truth) & np.isfinite(self.scores)
        return tuple(target for target, column in zip(TARGETS, usable.T, strict=True) if column.any())

    def with_intersections(self) -> Self:
        """Return the clips with a further grouping for each pair of groupings, such as "ethnicity and gender".

        A pair with more than `MOST_GROUPS` groups is left out with a warning, and so is one that is there already.
        """
        pairs: dict[str, tuple[str, ...]] = {}
        warnings = []
        for first, second in combinations(self.groupings, 2):
            crossed = tuple(
                UNKNOWN if UNKNOWN in pair else ", ".join(pair)
                for pair in zip(self.groupings[first], self.groupings[second], strict=True)
            )
            name = f"{first} and {second}"
            if name in self.groupings:
                warnings.append(f"the pair {first} and {second} is not audited, because a column has this name")
            elif (count := _count(crossed)) > MOST_GROUPS:
                warnings.append(
                    f"the pair {name} is not audited, because it has {count} groups, more than {MOST_GROUPS}"
                )
            else:
                pairs[name] = crossed
        return replace(
            self,
            groupings={**self.groupings, **pairs},
            warnings=(*self.warnings, *warnings),
            intersections=tuple(pairs),
        )


def _count(groups: Sequence[str]) -> int:
    return len(set(groups) - {UNKNOWN})


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

    tables = [read_groups(path) for path in groups]
    bundle = load_bundle(run)
    fusion = load_visual_fusion(run, bundle.config)
    result = evaluate(
        bundle, store, split=split, scene_face=fusion, allow_missing=allow_missing, device=device, resamples=0,
        progress=progress,
    )  # fmt: skip
    names = [clip_name(row.clip_id) for row in result.rows]
    own_groups, own_persons = [row.groups for row in result.rows], [row.person or "" for row in result.rows]
    of_clip, persons = join_groups(names, tables) if tables else (own_groups, own_persons)
    low, high = result.bounds or (None, None)
    clips = _audit_clips(
        run.resolve().name, names, (result.truth, result.predictions[FUSION]), (low, high), of_clip,
        [person or own for person, own in zip(persons, own_persons, strict=True)], split, result.warnings,
    )  # fmt: skip
    return replace(clips, model=result.model)


def clips_of_tables(predictions: Path, labels: Path, groups: Sequence[Path]) -> AuditClips:
    """Read the predictions of any system, the labels and the groups of its clips.

    Raises:
        LabelError: A table is unusable, or the tables share no clip.
    """
    joined = join_scores(read_truth(labels), read_predictions(predictions))
    of_clip, persons = join_groups(joined.clips, [read_groups(path) for path in groups])
    own = joined.persons or ("",) * len(persons)
    return _audit_clips(
        predictions.name, joined.clips, (joined.truth, joined.scores), (joined.low, joined.high), of_clip,
        [person or named for person, named in zip(persons, own, strict=True)], None, joined.warnings,
    )  # fmt: skip


def _audit_clips(
    name: str,
    clips: Sequence[str],
    scores: tuple[Floats, Floats],
    bounds: tuple[Floats | None, Floats | None],
    groups: Sequence[Mapping[str, str]],
    persons: Sequence[str],
    split: Split | None,
    warnings: Sequence[str],
) -> AuditClips:
    groupings = sorted({grouping for of_clip in groups for grouping in of_clip})
    kind, clusters = clip_clusters(clips, persons)
    return AuditClips(
        name,
        tuple(clips),
        *scores,
        {grouping: tuple(of_clip.get(grouping, UNKNOWN) for of_clip in groups) for grouping in groupings},
        clusters,
        kind,
        *bounds,
        split,
        tuple(warnings),
    )
