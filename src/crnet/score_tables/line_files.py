"""Tables of scores with a row at a time at the end of a file: CSV and JSON lines."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from crnet.errors import FormatError, StorageError
from crnet.score_tables.rows import COLUMNS, Done, IsRetried, ScoreRow
from crnet.utils.csv_cells import neutral_cell, original_cell
from crnet.utils.files import atomic_write, parse_json, write_error_remedy

KEY_COLUMNS = ("clip", "model_fingerprint", "input_fingerprint", "error")
LONGEST_RECORD_BYTES = 16 << 20


class LineFile:
    """A file whose records end with a line end, so that a half-written last one shows.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def recover(self, done: Done, is_retried: IsRetried) -> None:
        """See `ScoreTable.recover`."""
        if not self.path.is_file():
            return
        dropped, end = set[int](), 0
        try:
            with self.path.open("rb") as file:
                for number, record in enumerate(self._records(file)):
                    end += len(record)
                    cells = self._read(number, record)
                    if cells is None:
                        continue
                    if is_retried(cells):
                        dropped.add(number)
                    else:
                        done.add(cells["clip"], cells["model_fingerprint"], cells["input_fingerprint"])
            if dropped:
                self._rewrite(dropped)
            elif end < self.path.stat().st_size:
                os.truncate(self.path, end)
        except OSError as error:
            raise self._storage_error(error) from error

    def append(self, row: ScoreRow) -> None:
        """See `ScoreTable.append`."""
        self._write([self._encode(row)])

    def close(self) -> None:
        """See `ScoreTable.close`."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, records: Iterable[bytes]) -> None:
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("ab", buffering=0)
                if self._file.tell() == 0:
                    records = [self._header(), *records]
            start = self._file.tell()
            content = b"".join(records)
            if self._file.write(content) != len(content):
                os.truncate(self.path, start)
                raise OSError(28, "the disk is full")
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._storage_error(error) from error

    def _rewrite(self, dropped: set[int]) -> None:
        with atomic_write(self.path) as temporary, self.path.open("rb") as old, temporary.open("wb") as new:
            new.writelines(record for number, record in enumerate(self._records(old)) if number not in dropped)

    def _records(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield the whole records; a half-written one at the end is left out."""
        record = b""
        while line := file.readline(LONGEST_RECORD_BYTES):
            record += line
            if len(record) >= LONGEST_RECORD_BYTES:
                raise self._format_error("has a record without an end")
            if self._is_whole(record):
                yield record
                record = b""

    def _is_whole(self, record: bytes) -> bool:
        return record.endswith(b"\n")

    def _header(self) -> bytes:
        return b""

    def _encode(self, row: ScoreRow) -> bytes:
        raise NotImplementedError

    def _read(self, number: int, record: bytes) -> Mapping[str, Any] | None:
        """Return the cells of a record by which rows are told apart; None if it is no row.

        Raises:
            FormatError: It is damaged, or not one of ours.
        """
        raise NotImplementedError

    def _format_error(self, reason: str) -> FormatError:
        return FormatError(reason, path=self.path, remedy="name a new file; see docs/scale.md")

    def _storage_error(self, error: OSError) -> StorageError:
        reason = f"cannot write: {error.strerror or error}"
        return StorageError(reason, path=self.path, remedy=write_error_remedy(error))


class JsonLines(LineFile):
    """One JSON document per row."""

    def _encode(self, row: ScoreRow) -> bytes:
        return json_line(row.to_dict())

    def _read(self, number: int, record: bytes) -> Mapping[str, Any]:
        try:
            document = parse_json(record)
            return {name: document[name] for name in KEY_COLUMNS}
        except (ValueError, KeyError, TypeError) as error:
            raise self._format_error(f"line {number + 1} is not a row of scores") from error


def json_line(document: Mapping[str, Any]) -> bytes:
    """Return a JSON document as one line of ASCII."""
    return (json.dumps(document, allow_nan=False) + "\n").encode()


class CsvFile(LineFile):
    """A CSV table. Text that a spreadsheet would run as a formula begins with an apostrophe."""

    def _is_whole(self, record: bytes) -> bool:
        return record.endswith(b"\n") and record.count(b'"') % 2 == 0  # no cell is open

    def _header(self) -> bytes:
        return _csv_record(COLUMNS)

    def _encode(self, row: ScoreRow) -> bytes:
        return _csv_record([neutral_cell(cell) for cell in row.to_row().values()])

    def _read(self, number: int, record: bytes) -> Mapping[str, Any] | None:
        try:
            (cells,) = csv.reader(io.StringIO(record.decode(), newline=""), strict=True)
        except (ValueError, csv.Error) as error:
            raise self._format_error(f"row {number} cannot be read") from error
        if number == 0:
            if tuple(cells) != COLUMNS:
                raise self._format_error("has other columns than this version writes")
            return None
        if len(cells) != len(COLUMNS):
            raise self._format_error(f"row {number} has {len(cells)} cells instead of {len(COLUMNS)}")
        row = dict(zip(COLUMNS, cells, strict=True))
        return {name: original_cell(row[name]) for name in KEY_COLUMNS}


def _csv_record(cells: Iterable[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()
