"""Tables with a row for each clip: their rows by the name of the clip, and the clips that two tables share.

Names count with or without `.mp4`, and with or without the folders that a clip lies in: labels often name a clip
`X.000`, and predictions the file that was scored, `videos/test/X.000.mp4`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from crnet.data.csv_table import CsvTable, fail
from crnet.data.manifest import MOST_CLIPS
from crnet.data.sources.release_labels import clip_name
from crnet.errors import LabelError
from crnet.utils.csv_cells import original_cell


def rows_by_clip(path: Path, table: CsvTable, key: str) -> dict[str, tuple[int, dict[str, str]]]:
    """Return number and cells of each row by the clip's name without `.mp4`.

    Args:
        path: The table, for errors.
        table: Its columns and rows.
        key: The column that names the clip.

    Raises:
        LabelError: There are no rows or too many, or one names no clip or one that another row names.
    """
    rows: dict[str, tuple[int, dict[str, str]]] = {}
    for line, values in table.rows:
        clip = clip_name(original_cell(values[key]).replace("\\", "/"))
        if not clip:
            fail(path, line, "names no clip", "name the clip in each row, or remove the row")
        if clip in rows:
            fail(path, line, f"clip {clip} is already in line {rows[clip][0]}", "list each clip once")
        if len(rows) == MOST_CLIPS:
            fail(path, line, f"is one clip more than the limit of {MOST_CLIPS}", "give fewer clips")
        rows[clip] = (line, values)
    if not rows:
        raise LabelError("lists no clips", path=path, remedy="add a row for each clip")
    return rows


def is_given(text: str) -> bool:
    """Return whether a cell holds a value: not empty, and not what R, pandas or a database write for a missing one."""
    return text.lower() not in ("", "nan", "na", "null")


def match_clips(clips: Iterable[str], others: Iterable[str], path: Path) -> dict[str, str]:
    """Return, for each of the clips that another table also names, its name there.

    The same name is the same clip. Of the remaining names, two are the same clip if one is the end of the other, as
    `test/X.000` is of `videos/test/X.000`; folders count whole.

    Args:
        clips: Names of clips, without `.mp4`.
        others: Names of the clips of the other table, without `.mp4`.
        path: The other table, for errors.

    Raises:
        LabelError: A clip could be several of the other table, or several clips one of them.
    """
    named, offered = dict.fromkeys(clips), dict.fromkeys(others)
    matched = {clip: clip for clip in named if clip in offered}
    named, offered = ({name: None for name in names if name not in matched} for names in (named, offered))
    longer: dict[str, list[str]] = {}  # by the name of a clip, the other names that end in it
    for other in offered:
        for end in _ends(other):
            if end in named:
                longer.setdefault(end, []).append(other)
    partner_of: dict[str, str] = {}
    for clip in named:
        shorter = [end for end in _ends(clip) if end in offered]
        candidates = [*longer.get(clip, []), *shorter]
        if len(candidates) > 1:
            raise _ambiguous(f"{clip} could be {candidates[0]} or {candidates[1]}", path)
        for other in candidates:
            if other in partner_of:
                raise _ambiguous(f"{other} could be {partner_of[other]} or {clip}", path)
            partner_of[other], matched[clip] = clip, other
    return matched


def _ends(name: str) -> Iterator[str]:
    """Yield a name without its first folder, without its first two, and so on."""
    while "/" in name:
        name = name.partition("/")[2]
        if name:
            yield name


def _ambiguous(reason: str, path: Path) -> LabelError:
    return LabelError(f"clip {reason}", path=path, remedy="name clips alike in all tables")
