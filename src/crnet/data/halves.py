"""The two halves of the validation split: one chooses the networks, the other says how far they are off.

A clip that helped to choose a network makes it look better than it is, so intervals learned from it would be too
narrow. All clips of one person, or of one source video where persons are not known, fall into the same half.
"""

from __future__ import annotations

from collections.abc import Sequence

from crnet.conformal import FEWEST_CLIPS
from crnet.data.groups import by_hash, group_of, grouped
from crnet.data.manifest import ClipRow


def halves(rows: Sequence[ClipRow]) -> tuple[tuple[ClipRow, ...], tuple[ClipRow, ...]]:
    """Divide validation clips, in the same way every time.

    Args:
        rows: The validation split.

    Returns:
        The clips that choose the networks, and those that calibrate, each in the order of `rows`. With fewer than
        twice `FEWEST_CLIPS` clips, or too few persons to divide, all of them choose.
    """
    groups = grouped(rows, group_of)
    calibrating: set[str] = set()
    for name in by_hash(groups):
        if len(calibrating) + len(groups[name]) <= len(rows) // 2:
            calibrating.update(groups[name])
    if len(calibrating) < FEWEST_CLIPS:
        return tuple(rows), ()
    return (
        tuple(row for row in rows if row.clip_id not in calibrating),
        tuple(row for row in rows if row.clip_id in calibrating),
    )
