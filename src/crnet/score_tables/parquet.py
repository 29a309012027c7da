"""A Parquet data set of scores: a folder of part files, which pandas, Polars, DuckDB and Spark read as one table.

A Parquet file cannot grow. New rows therefore go to a journal, a hidden file of JSON lines, which becomes the next part
when it is long enough and when the run ends. The number in their names tells whether a journal has become a part.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crnet.errors import FormatError, StorageError, UsageError
from crnet.score_tables.line_files import KEY_COLUMNS, LineFile, json_line
from crnet.score_tables.rows import COLUMNS, Done, IsRetried, ScoreRow
from crnet.utils.files import atomic_write, parse_json, remove_leftovers, write_error_remedy

ROWS_PER_PART = 10_000

_TEXT = ("clip", "warnings", "error", "model_fingerprint", "crnet_version", "scored_at", "file_sha256",
         "input_fingerprint", "scale")  # fmt: skip
_WHOLE = ("faces_found", "faces_looked_at")
SCHEMA = pa.schema(
    [(name, pa.string() if name in _TEXT else pa.int64() if name in _WHOLE else pa.float64()) for name in COLUMNS]
)


class _Journal(LineFile):
    """The rows that are in no part yet."""

    def rows(self) -> list[dict[str, Any]]:
        """Return all rows."""
        if not self.path.is_file():
            return []
        with self.path.open("rb") as file:
            return [parse_json(record) for record in self._records(file)]

    def _encode(self, row: ScoreRow) -> bytes:
        return json_line(row.to_row())

    def _read(self, number: int, record: bytes) -> Mapping[str, Any]:
        try:
            row = parse_json(record)
            return {name: row[name] for name in KEY_COLUMNS}
        except (ValueError, KeyError, TypeError) as error:
            raise self._format_error(f"line {number + 1} is not a row of scores") from error


class ParquetFolder:
    """A folder of Parquet parts.

    Args:
        folder: The folder; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._journal: _Journal | None = None
        self._rows = 0

    def recover(self, done: Done, is_retried: IsRetried) -> None:
        """See `ScoreTable.recover`."""
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError("is a file; scores are added to a folder of Parquet files", path=self.folder,
                             remedy="name a new one")  # fmt: skip
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.folder)
            for part in self._parts():
                _recover_part(part, done, is_retried)
            number = max(map(_number, self._parts()), default=0) + 1
            for old in self.folder.glob(".rows-*.jsonl"):
                if _number(old) < number:  # it became a part
                    old.unlink()
            self._journal = _Journal(self.folder / f".rows-{number:06d}.jsonl")
            self._journal.recover(done, is_retried)
            self._rows = len(self._journal.rows())
        except OSError as error:
            raise self._storage_error(error) from error

    def append(self, row: ScoreRow) -> None:
        """See `ScoreTable.append`."""
        assert self._journal is not None  # noqa: S101  # `recover` comes first
        self._journal.append(row)
        self._rows += 1
        if self._rows >= ROWS_PER_PART:
            self._finish_part()

    def close(self) -> None:
        """See `ScoreTable.close`."""
        if self._journal is not None and self._rows:
            self._finish_part()

    def _finish_part(self) -> None:
        assert self._journal is not None  # noqa: S101  # called after `append`
        self._journal.close()
        number = _number(self._journal.path)
        try:
            _write_part(self.folder / f"part-{number:06d}.parquet", pa.Table.from_pylist(self._journal.rows(), SCHEMA))
            self._journal.path.unlink()
        except OSError as error:
            raise self._storage_error(error) from error
        self._journal, self._rows = _Journal(self.folder / f".rows-{number + 1:06d}.jsonl"), 0

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))

    def _storage_error(self, error: OSError) -> StorageError:
        reason = f"cannot write: {error.strerror or error}"
        return StorageError(reason, path=self.folder, remedy=write_error_remedy(error))


def _number(path: Path) -> int:
    """Return the number in the name of a part or a journal."""
    digits = path.name.split("-")[1].partition(".")[0]
    if not digits.isdecimal():
        raise FormatError("is not a part of a table of scores", path=path, remedy="name a new folder")
    return int(digits)


def _recover_part(part: Path, done: Done, is_retried: IsRetried) -> None:
    """Read the keys of a part, and write it again without the rows to be scored again, if there are any."""
    try:
        if pq.read_schema(part).names != list(COLUMNS):
            raise FormatError("has other columns than this version writes", path=part, remedy="name a new folder")
        keys = pq.read_table(part, columns=list(KEY_COLUMNS)).to_pylist()
        kept = [not is_retried(row) for row in keys]
        if not all(kept):
            _write_part(part, pq.read_table(part).filter(pa.array(kept)))
    except pa.ArrowInvalid as error:
        raise FormatError(
            f"cannot be read: {error}", path=part, remedy="delete it, and score its clips again"
        ) from error
    for row, stays in zip(keys, kept, strict=True):
        if stays:
            done.add(row["clip"], row["model_fingerprint"], row["input_fingerprint"])


def _write_part(part: Path, table: pa.Table) -> None:
    with atomic_write(part) as temporary:
        pq.write_table(table, temporary)
