"""Read a CSV that a user made: any of three delimiters, and errors that name the line and the remedy."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, NoReturn

from crnet.errors import LabelError
from crnet.utils.files import open_at_most

LARGEST_CSV_BYTES = 256 << 20
DELIMITERS = ",;\t"
OTHER_TABLES = frozenset((".db", ".json", ".jsonl", ".ods", ".parquet", ".pkl", ".sqlite", ".xls", ".xlsx"))
"""Suffixes of tables that are no CSV; most of them are unreadable as text, which is no help to anybody."""

_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf|infinity)", re.ASCII | re.IGNORECASE)
"""A number as spreadsheets write it; `float` also takes 0_1, and digits of other scripts."""


@dataclass(frozen=True, eq=False)
class CsvTable:
    """A table that is being read.

    Attributes:
        names: The names of the columns, in lower case.
        rows: The number of each row's first line, and its cells by the name of their column; empty rows are left out.
    """

    names: tuple[str, ...]
    rows: Iterator[tuple[int, dict[str, str]]]


def read_table(path: Path, check_header: Callable[[Path, list[str]], None], key: Sequence[str] = ("clip",)) -> CsvTable:
    """Read a table whose first line names its columns.

    Args:
        path: The CSV, separated by comma, semicolon or tab.
        check_header: Refuses a header with other columns than needed.
        key: Names of the column that identifies a row; one of them must be present.

    Raises:
        LabelError: Unusable; the error names the line and the remedy. Errors of rows come when the rows are read.
    """
    if path.suffix.lower() in OTHER_TABLES:
        raise LabelError(
            "is not a CSV", path=path, remedy="save the table as CSV; crnet predict --out p.csv writes one"
        )
    lines = _read_lines(path)
    _, header = next(lines, (1, []))
    names = [name.strip().lower() for name in header]
    while len(names) > 1 and not names[-1]:  # spreadsheets end every line with the separators of empty columns
        names.pop()
    _check_names(path, names, key)
    check_header(path, names)
    return CsvTable(tuple(names), _read_cells(path, lines, names, len(header)))


def parse_score(path: Path, line: int, target: str, text: str, *, bounded: bool = True) -> float:
    """Return a score, which must be in [0, 1] if it is `bounded` and finite otherwise.

    Raises:
        LabelError: It is not; the error names the line.
    """
    if not _NUMBER.fullmatch(text):
        fail(path, line, f"{target} {text!r:.100} is not a number", "write numbers like 0.5, with a point")
    score = float(text)
    if bounded and not 0 <= score <= 1:  # NaN also fails this test
        remedy = "scale the scores so that 0 is the lowest and 1 the highest"
        fail(path, line, f"{target} is {text}, not in [0, 1]", remedy)
    if not math.isfinite(score):
        fail(path, line, f"{target} is {text}", "leave the cell empty if there is no score")
    return score


def fail(path: Path, line: int, reason: str, remedy: str, cause: Exception | None = None) -> NoReturn:
    """Raise the error of one line."""
    raise LabelError(f"line {line} {reason}", path=path, remedy=remedy) from cause


def _read_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each row's first line, and its cells."""
    with open_at_most(path, LARGEST_CSV_BYTES, "give a table with the clips only") as file:
        lines = _decoded_lines(path, file)
        header = next(lines, "")
        delimiter = max(DELIMITERS, key=header.count)
        reader = csv.reader(chain([header], lines), delimiter=delimiter, strict=True)
        while True:
            try:
                yield reader.line_num + 1, next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                fail(path, reader.line_num, f"cannot be read: {error}", "check the quotes", error)


def _decoded_lines(path: Path, file: IO[bytes]) -> Iterator[str]:
    """Yield the lines of a file with their ends."""
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        for number, line in enumerate(lines, start=1):
            if "\0" in line:
                fail(path, number, "contains a zero byte", "save the CSV as UTF-8; it is UTF-16, or damaged")
            yield line
    except UnicodeDecodeError as error:
        fail(path, _first_bad_line(path), "is not UTF-8", "save the CSV as UTF-8", error)


def _first_bad_line(path: Path) -> int:
    """Return the number of the first line that is not UTF-8: a decoder reads ahead of the lines that it returns."""
    with path.open("rb") as file:
        return next((number for number, line in enumerate(file, start=1) if not _is_utf8(line)), 0)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_cells(
    path: Path, lines: Iterator[tuple[int, list[str]]], names: list[str], header_cells: int
) -> Iterator[tuple[int, dict[str, str]]]:
    for line, cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        if not any(cell.strip() for cell in cells[len(names) : header_cells]):
            del cells[len(names) : header_cells]
        if len(cells) != len(names):
            fail(path, line, f"has {len(cells)} cells, the header {len(names)}", _cells_remedy(cells, names))
        yield line, {name: cell.strip() for name, cell in zip(names, cells, strict=True)}


def _check_names(path: Path, names: list[str], key: Sequence[str]) -> None:
    if not any(names):
        fail(path, 1, "is empty; it should name the columns", f"begin the CSV with {key[0]},...")
    if not set(key) & set(names):
        fail(
            path,
            1,
            f"has no column {key[0]}, only {', '.join(names)[:200]}",
            f"name the column with the paths of the videos: {key[0]}",
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        fail(path, 1, f"has the column {repeated[0]} twice", "keep one of the two")


def _cells_remedy(cells: list[str], names: list[str]) -> str:
    """Return what to do about a row that has another number of cells than the header."""
    if len(cells) > len(names) and not any(cell.strip() for cell in cells[len(names) :]):
        return "remove the separators at the end of the line"
    if len(cells) == 1 and any(delimiter in cells[0] for delimiter in DELIMITERS):
        return "separate all lines with the same character as the header"
    if len(cells) < len(names):
        return "add the missing cells, empty where there is no value"
    if sum(cell.strip().isdigit() for cell in cells) > 1:
        return "write numbers with a decimal point, like 0.5, and quote cells that hold a separator"
    return "quote cells that hold a separator"
