"""Read the label files of First Impressions v2: annotations, transcriptions, demographics and persons."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from crnet.data.sources.archives import Member
from crnet.data.sources.dataset import LabelledClip
from crnet.data.sources.label_pickles import GET_AGAIN, LARGEST_PICKLE_BYTES, read_label_pickle
from crnet.data.sources.release_names import (
    DEMOGRAPHICS_PATTERN,
    ETHNICITY_CODES,
    GENDER_CODES,
    LABELS_PATTERN,
    PERSONS_COLUMNS,
    PERSONS_NAME,
    SPLIT_NAMES,
)
from crnet.errors import LabelError
from crnet.text.transcripts import clean_transcript
from crnet.types import TARGETS, Split
from crnet.utils.files import read_at_most

SPLITS_BY_NAME: dict[str, Split] = {name: split for split, name in SPLIT_NAMES.items()}
GENDERS = {str(code): name for name, code in GENDER_CODES.items()}
ETHNICITIES = {str(code): name for name, code in ETHNICITY_CODES.items()}
LARGEST_CSV_BYTES = 16 << 20

_T = TypeVar("_T")


def is_label(name: str) -> bool:
    """Whether a file has the name of a label file."""
    return bool(LABELS_PATTERN.match(name) or DEMOGRAPHICS_PATTERN.match(name) or name == PERSONS_NAME)


def clip_name(name: str) -> str:
    """Return a clip's name without its suffix, which is the same in labels, tables and files."""
    return name.removesuffix(".mp4")


def read_labels(labels: Mapping[str, list[Path | Member]]) -> dict[str, LabelledClip]:
    """Read all label files.

    Args:
        labels: The label files by name; several places of one name are copies, which must be equal.

    Returns:
        The annotated clips by clip id; none if no file is an annotation.

    Raises:
        LabelError: A file is unusable.
        ArchiveError: The archive that contains a file is damaged.
    """
    scores: dict[str, tuple[Split, tuple[float, ...]]] = {}
    transcripts: dict[str, str] = {}
    groups: dict[str, dict[str, str]] = {}
    persons: dict[str, str] = {}
    for name, places in sorted(labels.items()):
        match = LABELS_PATTERN.match(name)
        if match is None:
            for row in _read_copies(places, _read_demographics):
                if name == PERSONS_NAME:
                    persons[clip_name(row["VideoName"])] = row["Person"]
                else:
                    groups[clip_name(row["VideoName"])] = group_names(row["Gender"], row["Ethnicity"])
        elif match[1] == "transcription":
            transcripts |= _read_copies(places, _read_transcriptions)
        else:
            annotation = _read_copies(places, _read_annotation)
            if repeated := sorted(scores.keys() & annotation.keys()):
                reason = f"clip {repeated[0]} is annotated in two splits"
                raise LabelError(reason, path=display_path_of(places[0]), remedy=GET_AGAIN)
            scores |= {clip_id: (SPLITS_BY_NAME[match[2]], values) for clip_id, values in annotation.items()}
    return {
        clip_id: LabelledClip(
            clip_id,
            split,
            values,
            person=persons.get(clip_name(clip_id)),
            groups=groups.get(clip_name(clip_id), {}),
            transcript=transcripts.get(clip_name(clip_id), ""),
            transcribed=clip_name(clip_id) in transcripts,
        )
        for clip_id, (split, values) in scores.items()
    }


def _read_copies(places: list[Path | Member], read: Callable[[bytes, str], _T]) -> _T:
    """Read a label file that may exist in several copies, which must be equal."""
    first, *others = [read(_content(place), display_path_of(place)) for place in places]
    if any(other != first for other in others):
        raise LabelError(
            f"differs from {display_path_of(places[0])}",
            path=display_path_of(places[1]),
            remedy="keep the copy that belongs to the videos",
        )
    return first


def _content(place: Path | Member) -> bytes:
    if isinstance(place, Member):
        return place.read(LARGEST_PICKLE_BYTES)
    return read_at_most(place, LARGEST_PICKLE_BYTES, GET_AGAIN)


def display_path_of(place: Path | Member) -> str:
    """Return the path of a file for messages, with archives as folders."""
    return place.display_path if isinstance(place, Member) else str(place)


def _read_annotation(content: bytes, display_path: str) -> dict[str, tuple[float, ...]]:
    """Return the scores by clip id, in the order of `TARGETS`, from `{target: {clip: score}}`."""
    labels = read_label_pickle(content, display_path)
    missing = [target for target in TARGETS if not isinstance(labels.get(target), dict)]
    if missing:
        raise LabelError(f"lacks {', '.join(missing)}", path=display_path, remedy="use the annotation of version 2")
    for target in TARGETS:
        difference = sorted(map(str, labels[target].keys() ^ labels[TARGETS[0]].keys()))
        if difference:
            reason = f"{target} and {TARGETS[0]} have different clips, such as {difference[0]}"
            raise LabelError(reason, path=display_path, remedy=GET_AGAIN)
        for clip_id, score in labels[target].items():
            if not isinstance(clip_id, str) or not isinstance(score, int | float) or not 0 <= score <= 1:
                reason = f"{target} of clip {clip_id!r:.100} is {score!r:.100}, not in [0, 1]"
                raise LabelError(reason, path=display_path, remedy=GET_AGAIN)
    return {clip_id: tuple(float(labels[target][clip_id]) for target in TARGETS) for clip_id in labels[TARGETS[0]]}


def _read_transcriptions(content: bytes, display_path: str) -> dict[str, str]:
    """Return the transcripts by clip name, without the transcriber's notes."""
    transcripts = read_label_pickle(content, display_path)
    for clip_id, text in transcripts.items():
        if not isinstance(clip_id, str) or not isinstance(text, str):
            raise LabelError(
                f"the transcription of clip {clip_id!r:.100} is not text", path=display_path, remedy=GET_AGAIN
            )
    return {clip_name(clip_id): clean_transcript(_repair_utf8(text)) for clip_id, text in transcripts.items()}


def _repair_utf8(text: str) -> str:
    """Decode text that is UTF-8 read as latin1, as in pickles of Python 2; return any other text unchanged."""
    try:
        return text.encode("latin1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text


def _read_demographics(content: bytes, display_path: str) -> list[dict[str, str]]:
    if len(content) > LARGEST_CSV_BYTES:
        raise LabelError(f"larger than {LARGEST_CSV_BYTES >> 20} MB", path=display_path, remedy=GET_AGAIN)
    try:
        text = content.decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=";", restval="", strict=True)
        rows = [{str(name).strip(): str(cell).strip() for name, cell in row.items()} for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"cannot be read: {error}", path=display_path, remedy=GET_AGAIN) from error
    needed = set(PERSONS_COLUMNS) if display_path.endswith(PERSONS_NAME) else {"VideoName", "Ethnicity", "Gender"}
    if rows and not needed <= rows[0].keys():
        missing = ", ".join(sorted(needed - rows[0].keys()))
        raise LabelError(f"lacks the columns {missing}", path=display_path, remedy=GET_AGAIN)
    return rows


def group_names(gender: str, ethnicity: str) -> dict[str, str]:
    """Return the groups that the release's codes stand for; an undefined code gives none."""
    names = {"gender": GENDERS.get(gender), "ethnicity": ETHNICITIES.get(ethnicity)}
    return {grouping: name for grouping, name in names.items() if name is not None}
