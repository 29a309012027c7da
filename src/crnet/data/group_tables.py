"""Tables of the groups of the people in clips: ours, and those of First Impressions v2 as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crnet.data.clip_tables import is_given, match_clips, rows_by_clip
from crnet.data.csv_table import fail, read_table
from crnet.data.manifest import GROUP_PREFIX
from crnet.data.sources.release_labels import group_names
from crnet.data.sources.release_names import DEMOGRAPHICS_COLUMNS
from crnet.errors import LabelError
from crnet.utils.csv_cells import original_cell

RELEASE_CLIP = DEMOGRAPHICS_COLUMNS[0].lower()


@dataclass(frozen=True, eq=False)
class GroupTable:
    """Groups of the people in the clips of one table, by the clip's name without `.mp4`.

    Attributes:
        path: The file.
        groups: Group by the name of the grouping, such as {"gender": "female"}.
        persons: Name of the person, where it is known.
    """

    path: Path
    groups: Mapping[str, Mapping[str, str]]
    persons: Mapping[str, str]


def read_groups(path: Path) -> GroupTable:
    """Read a table of groups: `clip` and any `group_*`, optionally `person`; or FIv2's `eth_gender_annotations_*.csv`.

    Raises:
        LabelError: Unusable; the error names the line.
    """
    table = read_table(path, _check_groups, ("clip", RELEASE_CLIP))
    is_release = RELEASE_CLIP in table.names
    groups: dict[str, Mapping[str, str]] = {}
    persons: dict[str, str] = {}
    for clip, (_, values) in rows_by_clip(path, table, RELEASE_CLIP if is_release else "clip").items():
        groups[clip] = group_names(values["gender"], values["ethnicity"]) if is_release else _named_groups(values)
        if is_given(values.get("person", "")):
            persons[clip] = values["person"]
    return GroupTable(path, groups, persons)


def join_groups(clips: Sequence[str], tables: Sequence[GroupTable]) -> tuple[list[dict[str, str]], list[str]]:
    """Return the groups of each clip in all tables together, and the name of its person, "" where it is not known.

    Args:
        clips: Names of N clips, without `.mp4`.
        tables: One table or more.

    Raises:
        LabelError: No table names any of the clips, or two tables disagree about one.
    """
    groups: list[dict[str, str]] = [{} for _ in clips]
    persons: list[dict[str, str]] = [{} for _ in clips]
    matches = [match_clips(clips, table.groups, table.path) for table in tables]
    if not any(matches):
        raise LabelError(
            f"has none of the {len(clips)} clips, such as {clips[0]}; its first clip is {next(iter(tables[0].groups))}",
            path=tables[0].path,
            remedy="name clips as in the labels, with or without .mp4 and folders",
        )
    for table, names in zip(tables, matches, strict=True):
        for i, clip in enumerate(clips):
            if name := names.get(clip):
                _merge(groups[i], table.groups[name], clip, table.path)
                _merge(persons[i], {"person": table.persons[name]} if name in table.persons else {}, clip, table.path)
    return groups, [person.get("person", "") for person in persons]


def _merge(known: dict[str, str], more: Mapping[str, str], clip: str, path: Path) -> None:
    for column, value in more.items():
        if known.setdefault(column, value) != value:
            raise LabelError(
                f"gives clip {clip} the {column} {value}, and a table before it {known[column]}",
                path=path,
                remedy="keep one of the two",
            )


def _check_groups(path: Path, names: list[str]) -> None:
    if RELEASE_CLIP in names:
        missing = sorted({"ethnicity", "gender"} - set(names))
        if missing:
            fail(path, 1, f"lacks {', '.join(missing)}", "use the file of the release, or columns clip and group_...")
    elif not any(name.startswith(GROUP_PREFIX) and len(name) > len(GROUP_PREFIX) for name in names):
        fail(path, 1, "has no column of groups", f"name it {GROUP_PREFIX}gender, {GROUP_PREFIX}age or alike")


def _named_groups(values: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(GROUP_PREFIX): original_cell(cell)
        for name, cell in values.items()
        if name.startswith(GROUP_PREFIX) and is_given(cell)
    }
