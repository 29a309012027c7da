"""One clip of a store as a row of its manifest, and rows as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crnet.errors import FormatError
from crnet.types import SPLITS, TARGETS, Split

GROUP_PREFIX = "group_"


@dataclass(frozen=True)
class ClipRow:
    """One clip of a store.

    Attributes:
        clip_id: Name of the clip, as in the annotation or the CSV.
        file: Path of the clip file inside the store, with `/`; a clip in a shard as in `crnet.data.byte_source`.
        split: Train, val or test; None for a clip without annotation.
        scores: The six targets in [0, 1], in the order of `TARGETS`, as annotated (float64); None without annotation.
        person: Name of the person in the clip, if the dataset gives it.
        groups: Group of the clip by name of the grouping, such as {"gender": "female"}.
        transcript: The words; "" if there are none or they are unknown.
        duration_s: Length in seconds.
        frames: Number of stored frames.
        faces_found: Number of segments whose middle frame shows the face.
        faces_looked_at: Number of segments.
        warnings: What a user should know about the clip.
    """

    clip_id: str
    file: str
    split: Split | None = None
    scores: tuple[float, ...] | None = None
    person: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    transcript: str = ""
    duration_s: float = 0.0
    frames: int = 0
    faces_found: int = 0
    faces_looked_at: int = 0
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.split is not None and self.split not in SPLITS:
            raise FormatError(f"clip {self.clip_id}: split {self.split!r} is not one of {', '.join(SPLITS)}")
        if self.scores is not None and (
            len(self.scores) != len(TARGETS) or not all(0 <= score <= 1 for score in self.scores)
        ):
            raise FormatError(f"clip {self.clip_id}: scores are not {len(TARGETS)} numbers in [0, 1]")
        if not self.file or self.file.startswith("/") or ".." in self.file.split("/") or "\\" in self.file:
            raise FormatError(f"clip {self.clip_id}: file {self.file!r} is not inside the store")


def sort_key(row: ClipRow) -> tuple[int, str]:
    """Return what the rows of a manifest are sorted by: split (train, val, test, none), then clip id."""
    return (split_number(row.split), row.clip_id)


def split_number(split: Split | None) -> int:
    """Return the place of a split in the order of a manifest."""
    return len(SPLITS) if split is None else SPLITS.index(split)


# pyarrow is imported where it is used: the workers of `prepare` and prediction never need it, which saves 40 MB and a
# tenth of a second.


def column_types() -> list[tuple[str, Any]]:
    """Return the columns that every manifest has, and their types."""
    import pyarrow as pa

    return [
        ("clip", pa.string()),
        ("file", pa.string()),
        ("split", pa.string()),
        *((target, pa.float64()) for target in TARGETS),
        ("person", pa.string()),
        ("transcript", pa.string()),
        ("duration_s", pa.float64()),
        ("frames", pa.int32()),
        ("faces_found", pa.int32()),
        ("faces_looked_at", pa.int32()),
        ("warnings", pa.list_(pa.string())),
    ]


def table_of(rows: Sequence[ClipRow], metadata: Mapping[str, str] | None = None) -> Any:
    """Return rows as a pyarrow table. Equal rows give equal tables."""
    import pyarrow as pa

    columns: dict[str, list[Any]] = {
        "clip": [row.clip_id for row in rows],
        **{name: [getattr(row, name) for row in rows] for name in ("file", "split", "person", "transcript")},
        **{t: [None if row.scores is None else row.scores[i] for row in rows] for i, t in enumerate(TARGETS)},
        **{name: [getattr(row, name) for row in rows] for name in ("duration_s", "frames")},
        **{name: [getattr(row, name) for row in rows] for name in ("faces_found", "faces_looked_at")},
        "warnings": [list(row.warnings) for row in rows],
    }
    groups = sorted({name for row in rows for name in row.groups})
    types = [*column_types(), *((GROUP_PREFIX + name, pa.string()) for name in groups)]
    columns |= {GROUP_PREFIX + name: [row.groups.get(name) for row in rows] for name in groups}
    schema = pa.schema(types, metadata=metadata)
    return pa.Table.from_arrays([pa.array(columns[name], kind) for name, kind in types], schema=schema)


def check_columns(schema: Any) -> None:
    """Refuse a table without the columns of a manifest.

    Raises:
        FormatError: A column is missing or of another type.
    """
    for name, kind in column_types():
        if name not in schema.names or schema.field(name).type != kind:
            raise FormatError(f"column {name} is missing or not of type {kind}")


def row_from(values: Mapping[str, Any]) -> ClipRow:
    """Return a row from its values by column.

    Raises:
        FormatError: They are not those of a clip.
    """
    scores = tuple(values[target] for target in TARGETS)
    is_known = [score is not None and math.isfinite(score) for score in scores]
    if any(is_known) and not all(is_known):
        raise FormatError(f"clip {values['clip']}: some targets have no score")
    return ClipRow(
        clip_id=values["clip"],
        file=values["file"],
        split=values["split"],
        scores=scores if all(is_known) else None,
        person=values["person"],
        groups={
            name.removeprefix(GROUP_PREFIX): group
            for name, group in values.items()
            if name.startswith(GROUP_PREFIX) and group is not None
        },
        transcript=values["transcript"],
        duration_s=values["duration_s"],
        frames=values["frames"],
        faces_found=values["faces_found"],
        faces_looked_at=values["faces_looked_at"],
        warnings=tuple(values["warnings"]),
    )
