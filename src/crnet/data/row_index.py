"""Names, files, persons and scores of the rows of a large manifest, on disk instead of in memory.

A shuffled training asks for the rows in any order, and a Parquet row group has to be decoded as a whole. The columns
that it needs are therefore copied into two temporary files, in which a row is found by its number. The files have no
name, so that they end with their process, and processes that it forks read them too.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from crnet.errors import StorageError
from crnet.types import TARGETS
from crnet.utils.files import read_part

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64
    from numpy.typing import NDArray

TEXTS = ("clip", "file", "person")
_RECORD = np.dtype([("scores", "<f8", (len(TARGETS),)), ("start", "<u8"), *((name, "<i4") for name in TEXTS)])
"""A row: its scores, where its texts begin in the other file, and their lengths in bytes, -1 for no text."""

RowTexts = tuple[str, str, str | None]
"""Clip id, file and person of a row."""


class RowIndex:
    """Rows that are appended in blocks and read by number.

    Raises:
        StorageError: The disk for temporary files is full.
    """

    def __init__(self) -> None:
        self._records = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # open as long as the index lives
        self._texts = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        self._text_bytes = 0

    def append(self, block: Any, scores: Float64[np.ndarray, "n 6"]) -> None:
        """Append rows.

        Args:
            block: A pyarrow table with the columns `TEXTS`.
            scores: Their scores; not-a-number without annotation.
        """
        import pyarrow.compute as pc

        records = np.empty(len(block), _RECORD)
        records["scores"] = scores
        for name in TEXTS:
            records[name] = pc.fill_null(pc.binary_length(block[name]), -1).to_numpy()
        sizes = sum(np.maximum(records[name], 0).astype(np.int64) for name in TEXTS)
        ends = self._text_bytes + np.cumsum(sizes)
        records["start"] = ends - sizes
        joined = pc.binary_join_element_wise(*(pc.fill_null(block[name], "") for name in TEXTS), "")
        _write(self._records.fileno(), records.tobytes())
        for chunk in joined.chunks:
            _write(self._texts.fileno(), b"".join(_text_bytes(chunk)))
        self._text_bytes = int(ends[-1]) if len(ends) else self._text_bytes

    def scores(self, numbers: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 6"]:
        """Return the scores of some rows; not-a-number without annotation."""
        return np.array(self._read_records(numbers)["scores"])

    def texts(self, numbers: Int64[np.ndarray, " n"]) -> Iterator[RowTexts]:
        """Yield clip id, file and person of some rows."""
        records = self._read_records(numbers)
        lengths = np.stack([records[name] for name in TEXTS], axis=1)
        sizes = np.maximum(lengths, 0)
        starts = records["start"].astype(np.int64)
        for place, content in enumerate(_read_ranges(self._texts.fileno(), starts, starts + sizes.sum(axis=1))):
            clip, file, person = sizes[place].tolist()
            yield (
                content[:clip].decode(),
                content[clip : clip + file].decode(),
                None if lengths[place, 2] < 0 else content[clip + file : clip + file + person].decode(),
            )

    def _read_records(self, numbers: Int64[np.ndarray, " n"]) -> NDArray[np.void]:
        starts = np.asarray(numbers, dtype=np.int64) * _RECORD.itemsize
        parts = _read_ranges(self._records.fileno(), starts, starts + _RECORD.itemsize)
        return np.frombuffer(b"".join(parts), _RECORD)


def _text_bytes(strings: Any) -> Iterator[memoryview]:
    """Yield the bytes of all strings of a pyarrow array, one after another."""
    offsets, content = strings.buffers()[1:]
    bounds = np.frombuffer(offsets, np.int32)[strings.offset : strings.offset + len(strings) + 1]
    if content is not None and len(bounds):
        yield memoryview(content)[bounds[0] : bounds[-1]]


def _read_ranges(file: int, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Iterator[bytes]:
    """Yield parts of a file. Parts that follow one another are read at once."""
    if not len(starts):
        return
    breaks = np.flatnonzero(starts[1:] != ends[:-1]) + 1
    for first, last in zip([0, *breaks.tolist()], [*breaks.tolist(), len(starts)], strict=True):
        begin = int(starts[first])
        content = read_part(file, begin, int(ends[last - 1]) - begin)
        for start, end in zip((starts[first:last] - begin).tolist(), (ends[first:last] - begin).tolist(), strict=True):
            yield content[start:end]


def _write(file: int, content: bytes) -> None:
    rest = memoryview(content)
    try:
        while rest:
            rest = rest[os.write(file, rest) :]
    except OSError as error:
        reason = "the disk for temporary files is full" if error.errno == errno.ENOSPC else f"cannot write: {error}"
        remedy = "free some space, or name another folder in TMPDIR"
        raise StorageError(reason, path=tempfile.gettempdir(), remedy=remedy) from error
