"""Plugins for crnet: video diaries with a `diary.json`, a text encoder that counts words, and tables with tabs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crnet.data.sources.archive_keys import KeyLookup
from crnet.data.sources.dataset import Dataset, Failure, LabelledClip, LockedArchive, Video, VideoGroup
from crnet.data.sources.open_dataset import Opener
from crnet.errors import LabelError
from crnet.score_tables.line_files import KEY_COLUMNS, LineFile
from crnet.score_tables.rows import COLUMNS, ScoreRow
from crnet.text.encoder_interface import TextEncoder
from crnet.text.encoders import EncoderKind
from crnet.types import TARGETS, TEXT_DIMENSIONS

INDEX = "diary.json"  # {"monday.mp4": {"words": "...", "scores": {target: number}}}


def is_diary(path: Path, files: Iterable[Path]) -> bool:
    """Whether a folder is a video diary: it has an index."""
    return path.is_dir() and (path / INDEX).is_file()


def open_diary(path: Path, files: Iterable[Path], keys: KeyLookup) -> Dataset:
    """Open a diary. All its entries are training clips of one person."""
    try:
        entries = json.loads((path / INDEX).read_text(encoding="utf-8"))
        clips = {name: _clip(name, entry) for name, entry in entries.items()}
    except (ValueError, KeyError, AttributeError) as error:
        raise LabelError("is no index of a diary", path=path / INDEX, remedy="repair it") from error

    def video_groups(work_dir: Path) -> Iterator[VideoGroup | Failure | LockedArchive]:
        yield VideoGroup(tuple(Video(name, path / name) for name in clips if (path / name).is_file()))

    return Dataset("folder", clips, video_groups, expected_path=lambda name: str(path / name))


def _clip(name: str, entry: Mapping[str, Any]) -> LabelledClip:
    scores = tuple(float(entry["scores"][target]) for target in TARGETS)
    return LabelledClip(name, "train", scores, person="me", transcript=entry["words"], transcribed=True)


SOURCE = Opener(is_diary, open_diary)


class WordCount:
    """A text encoder that knows the number of words, in hundreds."""

    name = "length"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 [n, 4800]."""
        vectors = np.zeros((len(texts), TEXT_DIMENSIONS), np.float32)
        vectors[:, 0] = [len(text.split()) / 100 for text in texts]
        return vectors


def load_word_count(place: str, fingerprint: str) -> TextEncoder:
    """Load the encoder, which has no weights and so no place."""
    return WordCount()


ENCODER = EncoderKind(load_word_count)


class TsvTable(LineFile):
    """A table of scores with tabs between its cells."""

    def _header(self) -> bytes:
        return _line(COLUMNS)

    def _encode(self, row: ScoreRow) -> bytes:
        return _line(row.to_row().values())

    def _read(self, number: int, record: bytes) -> Mapping[str, Any] | None:
        (cells,) = csv.reader(io.StringIO(record.decode()), delimiter="\t")
        if tuple(cells) == COLUMNS:
            return None
        if len(cells) != len(COLUMNS):
            raise self._format_error(f"row {number} has {len(cells)} cells")
        row = dict(zip(COLUMNS, cells, strict=True))
        return {name: row[name] for name in KEY_COLUMNS}


def _line(cells: Any) -> bytes:
    text = io.StringIO()
    one_line = ("" if cell is None else " ".join(str(cell).split()) for cell in cells)
    csv.writer(text, delimiter="\t", lineterminator="\n").writerow(one_line)
    return text.getvalue().encode()
