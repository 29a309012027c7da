"""The parts of a large manifest: Parquet files of up to 16,384 rows in `manifest/`, listed with their hashes.

The rows are sorted as in `crnet.data.manifest`, a part holds rows of one split, and a reader decodes one row group at a
time. A part's name contains its hash, so that writing a manifest again never changes a part that is in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

from crnet.data.clip_row import GROUP_PREFIX, ClipRow, check_columns, column_types, split_number, table_of
from crnet.data.clip_rows import CORE_COLUMNS, ClipRows, RowTable
from crnet.errors import FormatError
from crnet.utils.files import atomic_write, sha256
from crnet.utils.resumable import content_fingerprint
from crnet.utils.storage import RemotePath

PARTS_FOLDER = "manifest"
ROWS_PER_PART = 16_384  # as written, because a part passes through memory as Python objects of some 1 kB a row
MOST_ROWS_PER_PART = 65_536  # as read; earlier versions wrote so many
ROWS_PER_GROUP = 4_096  # of a Parquet row group: what a reader decodes at once
LARGEST_PART_BYTES = 256 << 20
LARGEST_GROUP_BYTES = 64 << 20  # decoded: 16 kB a row; transcripts of First Impressions v2 have 0.3 kB
WRITTEN_PART_BYTES = 128 << 20  # of texts in one part and in one row group, so that a reader never refuses them
WRITTEN_GROUP_BYTES = 16 << 20
MOST_PARTS = 10_000
UNLIMITED_RATIO_BYTES = 16 << 20  # of the indexed columns; below this size a high ratio is harmless
LARGEST_RATIO = 100  # of the indexed columns to the size of the parts; real ones have about 4


@dataclass(frozen=True)
class Part:
    """A part of a manifest.

    Attributes:
        file: Its path in the store, with `/`.
        rows: Number of rows.
        size: Number of bytes.
        sha256: Hash of its bytes.
    """

    file: str
    rows: int
    size: int
    sha256: str


def write_parts(store: Path, rows: Iterable[ClipRow], rows_per_part: int) -> list[Part]:
    """Write the rows of a manifest, at most one part of them as Python objects at a time.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    parts: list[Part] = []
    for _, of_split in groupby(rows, key=lambda row: split_number(row.split)):
        for rows_of_part in _chunks(of_split, rows_per_part, WRITTEN_PART_BYTES):
            parts.append(_write_part(store, len(parts), rows_of_part))
    return parts


def _chunks(rows: Iterable[ClipRow], most_rows: int, most_bytes: int) -> Iterator[list[ClipRow]]:
    """Divide rows so that each chunk has few enough of them, and texts of not many more bytes than it may have."""
    chunk: list[ClipRow] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += len(row.transcript.encode()) + sum(len(warning.encode()) + 4 for warning in row.warnings)
        if len(chunk) == most_rows or size >= most_bytes:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def delete_other_parts(store: Path, parts: Sequence[Part]) -> None:
    """Delete the parts of earlier manifests."""
    kept = {part.file for part in parts}
    with suppress(FileNotFoundError):
        for path in list((store / PARTS_FOLDER).iterdir()):
            if f"{PARTS_FOLDER}/{path.name}" not in kept and path.suffix == ".parquet":
                path.unlink(missing_ok=True)


def _write_part(store: Path, number: int, rows: Sequence[ClipRow]) -> Part:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink, table, start = pa.BufferOutputStream(), table_of(rows), 0
    with pq.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        for group in _chunks(rows, ROWS_PER_GROUP, WRITTEN_GROUP_BYTES):
            writer.write_table(table.slice(start, len(group)))
            start += len(group)
    content = sink.getvalue()
    content_hash = content_fingerprint([content])
    name = f"{rows[0].split or 'none'}-{number:05}-{content_hash[:12]}.parquet"
    with atomic_write(store / PARTS_FOLDER / name) as temporary:
        temporary.write_bytes(content)
    return Part(f"{PARTS_FOLDER}/{name}", len(rows), len(content), content_hash)


def read_parts(store: Path, parts: Sequence[Part]) -> ClipRows:
    """Check the parts of a manifest, and read the columns of names and numbers.

    Raises:
        FormatError: A part is missing, damaged or foreign, or would not fit into memory.
        OSError, pyarrow.ArrowException: It cannot be read.
    """
    _check_sizes(parts)
    return ClipRows(_row_table(store, parts))


def _row_table(store: Path, parts: Sequence[Part]) -> RowTable:
    places: list[tuple[Path, int]] = []
    read_block = partial(_read_block, lru_cache(maxsize=2)(_open), places)
    reopen = partial(_row_table, store, parts)
    return RowTable(sum(part.rows for part in parts), _blocks(store, parts, places), read_block, reopen)


def _blocks(store: Path, parts: Sequence[Part], places: list[tuple[Path, int]]) -> Iterator[Any]:
    """Yield the columns for `RowTable` of each row group of all parts, and note where each one is."""
    budget = max(UNLIMITED_RATIO_BYTES, LARGEST_RATIO * sum(part.size for part in parts))
    for part in parts:
        path, rows = store / part.file, 0
        for group, table in _core_tables(store, part):
            budget -= table.nbytes
            if budget < 0:
                raise FormatError(f"has more than {LARGEST_RATIO} times its size of values", path=path)
            rows += len(table)
            places.append((path, group))
            yield table
        if rows != part.rows:
            raise FormatError(f"has {rows} rows instead of {part.rows}", path=path)


def _check_sizes(parts: Sequence[Part]) -> None:
    if len(parts) > MOST_PARTS:
        raise FormatError(f"lists {len(parts)} parts; the limit is {MOST_PARTS}")
    for part in parts:
        if not 0 < part.rows <= MOST_ROWS_PER_PART or not 0 < part.size <= LARGEST_PART_BYTES:
            raise FormatError(f"lists a part of {part.rows} rows in {part.size} bytes")
        folder, _, name = part.file.partition("/")
        if folder != PARTS_FOLDER or not name or "/" in name or "\\" in name or name.startswith("."):
            raise FormatError(f"part {part.file!r} is not inside the store")


def _core_tables(store: Path, part: Part) -> Iterator[tuple[int, Any]]:
    """Yield the number and the columns for `RowTable` of each row group of a part that is what was written."""
    path = store / part.file
    try:
        source = _source(path) if path.stat().st_size == part.size else None
        content_hash = "" if source is None else _content_hash(source)
    except FileNotFoundError as error:
        raise FormatError("part of the manifest not found", path=path) from error
    if source is None or content_hash != part.sha256:
        raise FormatError("damaged or edited: its clips and labels are not those that were written", path=path)
    file = _open(path, source)
    for group in range(file.metadata.num_row_groups):
        yield group, _read_group(file, group, CORE_COLUMNS, path)


def _read_block(opened: Callable[[Path], Any], places: Sequence[tuple[Path, int]], number: int) -> Any:
    import pyarrow as pa

    path, group = places[number]
    try:
        return _read_group(opened(path), group, None, path)
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"cannot be read: {error}", path=path, remedy="run `crnet prepare` again") from error


def _source(path: Path) -> Any:
    """Return what Parquet reads a part from: one in object storage is fetched once for all its row groups."""
    return path.read_bytes() if isinstance(path, RemotePath) else path


def _content_hash(source: Any) -> str:
    return content_fingerprint([source]) if isinstance(source, bytes) else sha256(source)


def _open(path: Path, source: Any = None) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = _source(path) if source is None else source
    source = pa.py_buffer(source) if isinstance(source, bytes) else source
    plain = pq.ParquetFile(source)
    check_columns(plain.schema_arrow)
    # Texts stay in Parquet's dictionaries until their size is known: a few bytes can stand for the same long text in
    # every row.
    texts = [field.name for field in plain.schema_arrow if pa.types.is_string(field.type)]
    return pq.ParquetFile(source, read_dictionary=texts, metadata=plain.metadata)


def _read_group(file: Any, group: int, columns: Sequence[str] | None, path: Path) -> Any:
    """Read some or all columns of a row group, in bounded memory."""
    import pyarrow as pa

    described = file.metadata.row_group(group)
    if described.num_rows > ROWS_PER_GROUP or described.total_byte_size > LARGEST_GROUP_BYTES:
        raise FormatError(
            f"has a row group of {described.num_rows} rows and {described.total_byte_size} bytes", path=path
        )
    if columns is None:
        columns = [name for name in file.schema_arrow.names if _is_known(name)]
    table = file.read_row_group(group, columns=[name for name in columns if name != "warnings"], use_threads=False)
    size = sum(_decoded_bytes(column) for column in table.columns)
    if size <= LARGEST_GROUP_BYTES and "warnings" in columns:
        chunks = []
        for batch in file.iter_batches(256, row_groups=[group], columns=["warnings"], use_threads=False):
            size += batch.nbytes
            if size > LARGEST_GROUP_BYTES:
                break
            chunks.append(batch.column(0))
        warnings = pa.chunked_array(chunks, pa.list_(pa.string()))
        if size <= LARGEST_GROUP_BYTES:
            table = table.append_column("warnings", warnings)
    if size > LARGEST_GROUP_BYTES:
        raise FormatError(f"its rows have more than {LARGEST_GROUP_BYTES} bytes", path=path)
    texts = {name: pa.string() for name in table.column_names if pa.types.is_dictionary(table.schema.field(name).type)}
    fields = [pa.field(field.name, texts.get(field.name, field.type)) for field in table.schema]
    return table.cast(pa.schema(fields))


def _is_known(name: str) -> bool:
    return name.startswith(GROUP_PREFIX) or name in {known for known, _ in column_types()}


def _decoded_bytes(column: Any) -> int:
    """Return the size of a column once its dictionaries are decoded."""
    import pyarrow as pa
    import pyarrow.compute as pc

    size = 0
    for chunk in column.chunks:
        if pa.types.is_dictionary(chunk.type):
            lengths = pc.binary_length(chunk.dictionary)
            size += (pc.sum(lengths.take(chunk.indices)).as_py() or 0) + 4 * len(chunk)
        else:
            size += chunk.nbytes
    return size
