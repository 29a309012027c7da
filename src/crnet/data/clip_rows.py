"""The rows of a large manifest as a sequence that holds a few bytes a row, not Python objects.

In memory are the split of every row and the numbers of the rows that a sequence has, 5 bytes a row. What training needs
of a clip at any moment (name, file, scores, person) is in a temporary file (`crnet.data.row_index`). The rest
(transcript, groups, warnings) is read from the manifest when a row is asked for, a few thousand rows at once.

The functions at the end take either kind of rows: these, or a tuple of `ClipRow`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from crnet.data.clip_row import ClipRow, row_from, sort_key, split_number
from crnet.data.row_index import RowIndex
from crnet.errors import FormatError
from crnet.types import SPLITS, TARGETS, Split

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Int8

CORE_COLUMNS = ("clip", "file", "split", *TARGETS, "person")
ROWS_AT_ONCE = 256  # as Python objects
SCORES_AT_ONCE = 4_096
CACHED_BLOCKS = 4  # one for each split: `ClipRows.with_splits` may interleave them


class RowTable:
    """All rows of a manifest, sorted as in `crnet.data.manifest`.

    Attributes:
        split: Int8 [N], see `split_number`.

    Args:
        count: Number of rows.
        blocks: pyarrow tables with `CORE_COLUMNS`, which together have that number of rows.
        read_block: Returns all columns of a block.
        reopen: Returns the same table in another process.

    Raises:
        FormatError: A value is impossible, the rows are not sorted, or a clip is listed twice.
        StorageError: The disk for temporary files is full.
    """

    def __init__(
        self, count: int, blocks: Iterable[Any], read_block: Callable[[int], Any], reopen: Callable[[], RowTable]
    ) -> None:
        self.split = np.empty(count, dtype=np.int8)
        self._index = RowIndex()
        self._reopen = reopen
        starts, last = [0], (-1, "")
        for block in blocks:
            rows = slice(starts[-1], starts[-1] + len(block))
            if rows.stop > count:
                break
            self.split[rows] = _split_numbers(block["split"])
            _check_files(block["file"])
            last = _check_order(block["clip"], self.split[rows], last)
            self._index.append(block, _scores(block))
            starts.append(rows.stop)
        if starts[-1] != count:
            raise FormatError(f"its parts do not have {count} rows")
        self._starts = np.array(starts)
        if any(name == following for (name, _), (following, _) in pairwise(self._by_name())):
            raise FormatError("a clip is listed twice")
        self._read_block = lru_cache(maxsize=CACHED_BLOCKS)(read_block)

    def __len__(self) -> int:
        return len(self.split)

    def __reduce__(self) -> tuple[Callable[[], RowTable], tuple[()]]:
        return self._reopen, ()

    def name_ranks(self) -> NDArray[np.int32]:
        """Return the place of each row in the order of all clip ids."""
        ranks = np.empty(len(self), dtype=np.int32)
        ranks[np.fromiter((number for _, number in self._by_name()), np.int32, len(self))] = np.arange(len(self))
        return ranks

    def _by_name(self) -> Iterator[tuple[str, int]]:
        """Yield clip id and number of each row, in the order of the ids."""
        bounds = np.searchsorted(self.split, range(len(SPLITS) + 2)).tolist()
        return heapq.merge(*(self._names(first, last) for first, last in pairwise(bounds)))

    def _names(self, first: int, last: int) -> Iterator[tuple[str, int]]:
        for start in range(first, last, ROWS_AT_ONCE):
            numbers = np.arange(start, min(start + ROWS_AT_ONCE, last))
            for number, (clip, _, _) in zip(numbers.tolist(), self._index.texts(numbers), strict=True):
                yield clip, number

    def scores(self, numbers: NDArray[np.integer]) -> Float64[np.ndarray, "n 6"]:
        """Return the scores of some rows; not-a-number without annotation."""
        return self._index.scores(numbers)

    def light_rows(self, numbers: NDArray[np.integer], splits: NDArray[np.int8]) -> Iterator[ClipRow]:
        """Yield some rows, given their splits, without the columns that are in the manifest alone."""
        scores, texts = self.scores(numbers).tolist(), self._index.texts(numbers)
        for split, row_scores, (clip, file, person) in zip(splits.tolist(), scores, texts, strict=True):
            is_annotated = row_scores[0] == row_scores[0]  # not-a-number differs from itself
            yield ClipRow(clip, file, _split_of(split), tuple(row_scores) if is_annotated else None, person)

    def place(self, number: int) -> tuple[str, str]:
        """Return clip id and file of a row."""
        ((clip, file, _),) = self._index.texts(np.array([number]))
        return clip, file

    def rows(self, numbers: NDArray[np.integer]) -> list[dict[str, Any]]:
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
        numbers: Int32 [n], which of them; None: all.
        split: Int8 [N], the split of every row of the table if it is not that of the manifest.
    """

    def __init__(
        self, table: RowTable, numbers: NDArray[np.int32] | None = None, split: NDArray[np.int8] | None = None
    ) -> None:
        self.table = table
        self.numbers = np.arange(len(table), dtype=np.int32) if numbers is None else numbers
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
        return self._rows(self.numbers[[index]])[0]

    def __iter__(self) -> Iterator[ClipRow]:
        for start in range(0, len(self), ROWS_AT_ONCE):
            yield from self._rows(self.numbers[start : start + ROWS_AT_ONCE])

    def take(self, numbers: NDArray[np.int32]) -> Self:
        """Return other rows of the same table."""
        return type(self)(self.table, numbers, self._split)

    @property
    def split_numbers(self) -> NDArray[np.int8]:
        """Int8 [n], see `split_number`."""
        return self._split[self.numbers]

    def light(self) -> Iterator[ClipRow]:
        """Yield the rows without what is in the manifest alone: transcript, groups, warnings, counts."""
        for start in range(0, len(self), ROWS_AT_ONCE):
            numbers = self.numbers[start : start + ROWS_AT_ONCE]
            yield from self.table.light_rows(numbers, self._split[numbers])

    def score_blocks(self) -> Iterator[Float64[np.ndarray, "b 6"]]:
        """Yield the scores of all rows, some thousand at once; not-a-number without annotation."""
        for start in range(0, len(self), SCORES_AT_ONCE):
            yield self.table.scores(self.numbers[start : start + SCORES_AT_ONCE])

    def with_splits(self, splits: NDArray[np.int8]) -> ClipRows:
        """Return the rows with other splits (see `split_number`), sorted by them."""
        split = self._split.copy()
        split[self.numbers] = splits
        order = np.lexsort((self.table.name_ranks()[self.numbers], splits))
        return ClipRows(self.table, self.numbers[order], split)

    def _rows(self, numbers: NDArray[np.int32]) -> list[ClipRow]:
        values = self.table.rows(numbers)
        splits = self._split[numbers].tolist()
        return [row_from({**each, "split": _split_of(split)}) for each, split in zip(values, splits, strict=True)]


def place_of(rows: Sequence[ClipRow], index: int) -> tuple[str, str]:
    """Return name and file of a clip."""
    if isinstance(rows, ClipRows):
        return rows.table.place(int(rows.numbers[index]))
    return rows[index].clip_id, rows[index].file


def light_rows(rows: Sequence[ClipRow]) -> Iterator[ClipRow]:
    """Yield rows that may lack everything but name, file, split, scores and person."""
    return rows.light() if isinstance(rows, ClipRows) else iter(rows)


def scores_or_nan(rows: Sequence[ClipRow]) -> Float64[np.ndarray, "N 6"]:
    """Return the annotated scores in [0, 1]; not-a-number for a clip without."""
    scores = np.empty((len(rows), len(TARGETS)))
    start = 0
    for block in score_blocks(rows):
        scores[start : start + len(block)] = block
        start += len(block)
    return scores


def scores_at(rows: Sequence[ClipRow], index: int) -> Float64[np.ndarray, " 6"]:
    """Return the annotated scores of one clip; not-a-number without."""
    if isinstance(rows, ClipRows):
        return rows.table.scores(rows.numbers[[index]])[0]
    return scores_or_nan([rows[index]])[0]


def are_annotated(rows: Sequence[ClipRow]) -> Bool[np.ndarray, " N"]:
    """Return which clips have scores."""
    blocks = [~np.isnan(block[:, 0]) for block in score_blocks(rows)]
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=bool)


def score_blocks(rows: Sequence[ClipRow]) -> Iterator[Float64[np.ndarray, "b 6"]]:
    """Yield the scores of some thousand clips at once; not-a-number for a clip without."""
    if isinstance(rows, ClipRows):
        yield from rows.score_blocks()
    elif rows:
        unknown = (np.nan,) * len(TARGETS)
        yield np.array([unknown if row.scores is None else row.scores for row in rows], dtype=np.float64)


def split_numbers_of(rows: Sequence[ClipRow]) -> Int8[np.ndarray, " N"]:
    """Return the split of each clip; see `split_number`."""
    if isinstance(rows, ClipRows):
        return rows.split_numbers
    return np.array([split_number(row.split) for row in rows], dtype=np.int8)


def with_splits(rows: Sequence[ClipRow], splits: Int8[np.ndarray, " N"]) -> Sequence[ClipRow]:
    """Return the rows with other splits (see `split_number`), sorted as in a manifest."""
    if isinstance(rows, ClipRows):
        return rows.with_splits(splits)
    changed = (replace(row, split=_split_of(split)) for row, split in zip(rows, splits.tolist(), strict=True))
    return tuple(sorted(changed, key=sort_key))


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


def _check_order(clips: Any, splits: NDArray[np.int8], last: tuple[int, str]) -> tuple[int, str]:
    """Refuse rows that are not sorted by split and clip id.

    Args:
        clips: Their clip ids, a pyarrow array.
        splits: Their splits.
        last: Split and clip id of the row before them.

    Returns:
        Split and clip id of their last row.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if clips.null_count:
        raise FormatError("a clip has no name")
    if not len(clips):
        return last
    names = clips.combine_chunks()
    before = pa.concat_arrays([pa.array([last[1]], names.type), names[:-1]])
    splits_before = np.concatenate([[last[0]], splits[:-1]])
    is_larger = pc.greater(names, before).to_numpy(zero_copy_only=False)
    if not np.where(splits == splits_before, is_larger, splits > splits_before).all():
        raise FormatError("its clips are not in order, or one is listed twice")
    return int(splits[-1]), names[-1].as_py()
