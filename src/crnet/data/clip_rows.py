"""The rows of a large manifest as a sequence that holds columns of numbers and short texts, not Python objects.

What training needs of every clip at any moment (name, file, split, scores, person) is in memory, some 200 bytes a clip.
The rest (transcript, groups, warnings) is read from the manifest when a row is asked for, a few thousand rows at once.

The functions at the end take either kind of rows: these, or a tuple of `ClipRow`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from crnet.data.clip_row import ClipRow, row_from, split_number
from crnet.errors import FormatError
from crnet.types import SPLITS, TARGETS, Split

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Int64

CORE_COLUMNS = ("clip", "file", "split", *TARGETS, "person")
ROWS_AT_ONCE = 256  # as Python objects
CACHED_BLOCKS = 8


class RowTable:
    """All rows of a manifest.

    Attributes:
        clip, file, person: The columns, in pyarrow's form.
        split: Int8 [N], see `split_number`.
        scores: Float64 [N, 6]; not-a-number without annotation.

    Args:
        count: Number of rows.
        blocks: pyarrow tables with `CORE_COLUMNS`, which together have that number of rows.
        read_block: Returns all columns of a block.

    Raises:
        FormatError: A value is impossible, or a clip is listed twice.
    """

    def __init__(self, count: int, blocks: Iterable[Any], read_block: Callable[[int], Any]) -> None:
        import pyarrow as pa

        self.split = np.empty(count, dtype=np.int8)
        self.scores = np.empty((count, len(TARGETS)))
        texts: dict[str, list[Any]] = {"clip": [], "file": [], "person": []}
        starts = [0]
        for block in blocks:
            rows = slice(starts[-1], starts[-1] + len(block))
            if rows.stop > count:
                break
            self.split[rows] = _split_numbers(block["split"])
            self.scores[rows] = _scores(block)
            _check_files(block["file"])
            for name, chunks in texts.items():
                chunks += block[name].chunks
            starts.append(rows.stop)
        if starts[-1] != count:
            raise FormatError(f"its parts do not have {count} rows")
        self.clip, self.file, self.person = (pa.chunked_array(chunks, pa.string()) for chunks in texts.values())
        _check_distinct(self.clip)
        self._starts = np.array(starts)
        self._read_block = lru_cache(maxsize=CACHED_BLOCKS)(read_block)

    def __len__(self) -> int:
        return len(self.split)

    def light_row(self, number: int, split: int) -> ClipRow:
        """Return a row without the columns that are not in memory."""
        scores = self.scores[number]
        return ClipRow(
            self.clip[number].as_py(),
            self.file[number].as_py(),
            _split_of(split),
            None if np.isnan(scores[0]) else tuple(scores.tolist()),
            self.person[number].as_py(),
        )

    def rows(self, numbers: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return the values of up to `ROWS_AT_ONCE` rows, in this order."""
        blocks = np.searchsorted(self._starts, numbers, side="right") - 1
        found: list[dict[str, Any]] = [{}] * len(numbers)
        for block in np.unique(blocks):
            places = np.flatnonzero(blocks == block)
            part = self._read_block(int(block)).take(numbers[places] - self._starts[block])
            for place, values in zip(places.tolist(), part.to_pylist(), strict=True):
                found[place] = values
        return found


class ClipRows(Sequence[ClipRow]):
    """Some rows of a `RowTable`, in any order.

    Args:
        table: All rows.
        numbers: Int64 [n], which of them; None: all.
        split: Int8 [N], the split of every row of the table if it is not that of the manifest.
    """

    def __init__(
        self, table: RowTable, numbers: Int64[np.ndarray, " n"] | None = None, split: NDArray[np.int8] | None = None
    ) -> None:
        self.table = table
        self.numbers = np.arange(len(table)) if numbers is None else numbers
        self._split = table.split if split is None else split

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> ClipRow: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> ClipRow | Self:
        if isinstance(index, slice):
            return self.take(self.numbers[index])
        return self._rows(self.numbers[index : index + 1] if index >= 0 else self.numbers[[index]])[0]

    def __iter__(self) -> Iterator[ClipRow]:
        for start in range(0, len(self), ROWS_AT_ONCE):
            yield from self._rows(self.numbers[start : start + ROWS_AT_ONCE])

    def take(self, numbers: Int64[np.ndarray, " n"]) -> Self:
        """Return other rows of the same table."""
        return type(self)(self.table, numbers, self._split)

    @property
    def split_numbers(self) -> NDArray[np.int8]:
        """Int8 [n], see `split_number`."""
        return self._split[self.numbers]

    def light(self) -> Iterator[ClipRow]:
        """Yield the rows without what is not in memory: transcript, groups, warnings, counts."""
        for number, split in zip(self.numbers.tolist(), self.split_numbers.tolist(), strict=True):
            yield self.table.light_row(number, split)

    def with_splits(self, split_of: Callable[[str], Split | None]) -> ClipRows:
        """Return the rows with other splits, sorted by them."""
        split = self._split.copy()
        for number in self.numbers.tolist():
            split[number] = split_number(split_of(self.table.clip[number].as_py()))
        rank = np.empty(len(self.table), dtype=np.int64)  # of the clip id among all
        rank[_order_of(self.table.clip)] = np.arange(len(self.table))
        order = np.lexsort((rank[self.numbers], split[self.numbers]))
        return ClipRows(self.table, self.numbers[order], split)

    def _rows(self, numbers: NDArray[np.int64]) -> list[ClipRow]:
        values = self.table.rows(numbers)
        splits = self._split[numbers].tolist()
        return [row_from({**each, "split": _split_of(split)}) for each, split in zip(values, splits, strict=True)]


def place_of(rows: Sequence[ClipRow], index: int) -> tuple[str, str]:
    """Return name and file of a clip."""
    if isinstance(rows, ClipRows):
        number = int(rows.numbers[index])
        return rows.table.clip[number].as_py(), rows.table.file[number].as_py()
    return rows[index].clip_id, rows[index].file


def light_rows(rows: Sequence[ClipRow]) -> Iterator[ClipRow]:
    """Yield rows that may lack everything but name, file, split, scores and person."""
    return rows.light() if isinstance(rows, ClipRows) else iter(rows)


def scores_or_nan(rows: Sequence[ClipRow]) -> Float64[np.ndarray, "N 6"]:
    """Return the annotated scores in [0, 1]; not-a-number for a clip without."""
    if isinstance(rows, ClipRows):
        return rows.table.scores[rows.numbers]
    unknown = (np.nan,) * len(TARGETS)
    scores = np.array([unknown if row.scores is None else row.scores for row in rows], dtype=np.float64)
    return scores.reshape(len(rows), len(TARGETS))


def select_rows(rows: Sequence[ClipRow], mask: Bool[np.ndarray, " N"]) -> Sequence[ClipRow]:
    """Return the rows for which `mask` is true."""
    if isinstance(rows, ClipRows):
        return rows.take(rows.numbers[mask])
    return tuple(row for row, is_selected in zip(rows, mask.tolist(), strict=True) if is_selected)


def rows_of_split(rows: Sequence[ClipRow], split: Split | None) -> Sequence[ClipRow]:
    """Return the rows of one split; None: the rows without a split."""
    if isinstance(rows, ClipRows):
        return rows.take(rows.numbers[rows.split_numbers == split_number(split)])
    return tuple(row for row in rows if row.split == split)


def _split_of(number: int) -> Split | None:
    return SPLITS[number] if number < len(SPLITS) else None


def _split_numbers(column: Any) -> NDArray[np.int8]:
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.index_in(column, value_set=pa.array([*SPLITS, None], pa.string()))
    if found.null_count:
        raise FormatError(f"a split is not one of {', '.join(SPLITS)}")
    return found.to_numpy().astype(np.int8)


def _scores(core: Any) -> Float64[np.ndarray, "N 6"]:
    scores = np.empty((len(core), len(TARGETS)))
    for index, target in enumerate(TARGETS):
        scores[:, index] = core[target].to_numpy()  # null becomes not-a-number
    scores[~np.isfinite(scores)] = np.nan
    unknown = np.isnan(scores)
    if (unknown.any(axis=1) != unknown.all(axis=1)).any():
        raise FormatError("some targets of a clip have no score")
    if ((scores < 0) | (scores > 1)).any():
        raise FormatError("scores are not numbers in [0, 1]")
    return scores


def _check_files(files: Any) -> None:
    """Refuse paths outside the store, as `ClipRow` does."""
    import pyarrow.compute as pc

    outside = pc.match_substring_regex(files, r"^/|^$|(^|/)\.\.(/|$)|\\")
    if files.null_count or pc.any(outside).as_py():
        raise FormatError("a file is not inside the store")


def _check_distinct(clips: Any) -> None:
    import pyarrow.compute as pc

    if clips.null_count or pc.count_distinct(clips).as_py() != len(clips):
        raise FormatError("a clip is listed twice, or has no name")


def _order_of(clips: Any) -> NDArray[np.uint64]:
    import pyarrow.compute as pc

    order: NDArray[np.uint64] = pc.sort_indices(clips).to_numpy()
    return order
