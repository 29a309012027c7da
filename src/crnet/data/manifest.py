"""The manifest of a store: `manifest.parquet`, one row for each clip, with labels, transcript and statistics.

Above 16,384 clips, `manifest.parquet` lists parts that hold the rows (`crnet.data.manifest_parts`), and a reader does
not hold them as Python objects (`crnet.data.clip_rows`).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from crnet.data.clip_row import GROUP_PREFIX as GROUP_PREFIX
from crnet.data.clip_row import ClipRow as ClipRow
from crnet.data.clip_row import check_columns, row_from, sort_key, table_of
from crnet.data.clip_rows import ClipRows, rows_of_split
from crnet.data.manifest_parts import ROWS_PER_PART, Part, delete_other_parts, read_parts, write_parts
from crnet.errors import FormatError
from crnet.types import DATA_SOURCES, DataSource, Split
from crnet.utils.files import atomic_write, parse_json, require_regular_file
from crnet.utils.path_checks import why_absent
from crnet.utils.resumable import content_fingerprint, fingerprint, json_list
from crnet.utils.storage import RemotePath, as_path

MANIFEST_FORMAT = 1
PARTS_FORMAT = 2  # the manifest lists the parts that hold the rows
MANIFEST_NAME = "manifest.parquet"
EMBEDDING_NAME = "embedding.parquet"  # name of the manifest while `crnet embed` changes the clips
CONTENT_KEY = "crnet.sha256"  # entry of the schema's metadata with the hash of everything else
MOST_CLIPS = 200_000  # of a manifest without parts; earlier versions wrote up to 65,536
LARGEST_BYTES = 256 << 20  # of all values in Python; the transcripts of First Impressions v2 have about 3 MB
ROWS_AT_ONCE = 256
BYTES_PER_OBJECT = 48  # of a short text in Python, beside its letters


@dataclass(frozen=True)
class Manifest:
    """The content of a store.

    Attributes:
        clips: The rows, as a tuple or as `ClipRows`. They are sorted by split (train, val, test, none) and clip id.
        source: The kind of dataset that the clips come from.
        settings: The settings they were prepared with, as JSON values.
        fingerprint: Fingerprint of settings and encoder; stores with equal fingerprints can be mixed.
        encoder: Name of the text encoder.
    """

    clips: Sequence[ClipRow]
    source: DataSource
    settings: dict[str, Any]
    fingerprint: str
    encoder: str

    def __post_init__(self) -> None:
        if self.source not in DATA_SOURCES:
            raise FormatError(f"unknown source {self.source!r}")
        if isinstance(self.clips, ClipRows):
            return  # checked and sorted
        if len({row.clip_id for row in self.clips}) != len(self.clips):
            raise FormatError("a clip is listed twice")
        object.__setattr__(self, "clips", tuple(sorted(self.clips, key=sort_key)))

    def rows(self, split: Split | None) -> Sequence[ClipRow]:
        """Return the rows of one split; None: the rows without a split."""
        return rows_of_split(self.clips, split)


def write_manifest(store: Path | str, manifest: Manifest, rows_per_part: int = ROWS_PER_PART) -> None:
    """Write `manifest.parquet` in one step. Equal manifests give equal bytes (with the same version of pyarrow).

    Args:
        store: The clip store.
        manifest: Its manifest.
        rows_per_part: The rows of a larger manifest go into parts of this size.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    write_manifest_rows(store, manifest, manifest.clips, len(manifest.clips), rows_per_part)


def write_manifest_rows(
    store: Path | str, manifest: Manifest, rows: Iterable[ClipRow], count: int, rows_per_part: int = ROWS_PER_PART
) -> None:
    """Write a manifest with other rows, which need not fit into memory; otherwise as `write_manifest`.

    Args:
        store: The clip store.
        manifest: Everything but the rows.
        rows: The rows, sorted as in `Manifest`.
        count: Number of rows.
        rows_per_part: As for `write_manifest`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    store = as_path(store)
    metadata = {
        "crnet.source": manifest.source,
        "crnet.settings": json.dumps(manifest.settings, sort_keys=True, allow_nan=False),
        "crnet.fingerprint": manifest.fingerprint,
        "crnet.encoder": manifest.encoder,
    }
    parts: list[Part] = []
    if count <= rows_per_part:
        manifest = replace(manifest, clips=tuple(rows))
        metadata = {"crnet.format": str(MANIFEST_FORMAT), **metadata, CONTENT_KEY: _content_sha256(manifest)}
        table = table_of(manifest.clips, metadata)
    else:
        parts = write_parts(store, rows, rows_per_part)
        listed = [asdict(part) for part in parts]
        metadata = {"crnet.format": str(PARTS_FORMAT), **metadata}
        metadata[CONTENT_KEY] = fingerprint([metadata, listed])
        table = pa.Table.from_pylist(listed).replace_schema_metadata(metadata)
    with atomic_write(store / MANIFEST_NAME) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    delete_other_parts(store, parts)


def read_manifest(store: Path | str) -> Manifest:
    """Read a store's manifest.

    Raises:
        FormatError: Missing (the folder is an unfinished store or no store), damaged, or of another format version.
    """
    store = as_path(store)
    path = store / MANIFEST_NAME
    if not path.is_file() and (store / EMBEDDING_NAME).is_file():
        raise FormatError(
            "the store is unfinished: its clips have vectors of two text encoders",
            path=path,
            remedy=f"run `crnet embed {store} --encoder ...` again",
        )
    if not path.is_file():
        if (absence := why_absent(store)) is not None:
            raise FormatError(f"{absence[0]}, so no clip store", path=store, remedy=absence[1])
        unfinished = (store / "clips").is_dir()
        raise FormatError(
            "the store is unfinished: it has no manifest" if unfinished else "not a clip store: it has no manifest",
            path=path,
            remedy="run the same `crnet prepare` again" if unfinished else "give the folder that `crnet prepare` wrote",
        )
    return read_manifest_file(path)


def read_manifest_file(path: Path) -> Manifest:
    """Read a manifest file of any name.

    Raises:
        FormatError: Damaged, foreign, or of another format version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        require_regular_file(path)
        file = pq.ParquetFile(io.BytesIO(path.read_bytes()) if isinstance(path, RemotePath) else path)
        metadata = {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}
        version = _check_version(metadata)
        _check_size(file.metadata)
        if version == PARTS_FORMAT:
            clips: Sequence[ClipRow] = _read_listed_parts(path.parent, file, metadata)
        else:
            check_columns(file.schema_arrow)
            clips = tuple(map(row_from, _read_rows(file)))
        manifest = Manifest(
            clips=clips,
            source=metadata["crnet.source"],
            settings=parse_json(metadata["crnet.settings"]),
            fingerprint=metadata["crnet.fingerprint"],
            encoder=metadata["crnet.encoder"],
        )
        if version == MANIFEST_FORMAT:
            _check_content(metadata, manifest)
        return manifest
    except FormatError as error:
        remedy = error.remedy or "run `crnet prepare` again"
        raise FormatError(error.reason, path=error.path or path, remedy=remedy) from error
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        reason = f"not a manifest, or damaged: {type(error).__name__}: {error}"
        raise FormatError(reason, path=path, remedy="run `crnet prepare` again") from error


def _check_version(metadata: Mapping[str, str]) -> int:
    version = metadata.get("crnet.format")
    if version is None:
        raise FormatError("a Parquet file, but not a manifest of crnet")
    if version not in (str(MANIFEST_FORMAT), str(PARTS_FORMAT)):
        newer = version.isdecimal() and int(version) > PARTS_FORMAT
        raise FormatError(
            f"a manifest of format {version}; this version of crnet reads formats {MANIFEST_FORMAT} and {PARTS_FORMAT}",
            remedy="use a newer crnet" if newer else None,
        )
    return int(version)


def _read_listed_parts(store: Path, file: Any, metadata: Mapping[str, str]) -> ClipRows:
    """Read the parts that a manifest lists."""
    parts = [Part(**values) for values in _read_rows(file)]
    recorded = {name: value for name, value in metadata.items() if name.startswith("crnet.") and name != CONTENT_KEY}
    if metadata.get(CONTENT_KEY) != fingerprint([recorded, [asdict(part) for part in parts]]):
        raise FormatError("damaged or edited: its parts are not those that were written")
    return read_parts(store, parts)


def _content_sha256(manifest: Manifest) -> str:
    """Return the hash of everything that a manifest says, as it reads back from a file."""
    return content_fingerprint(_content_parts(manifest))


def _content_parts(manifest: Manifest) -> Iterator[bytes]:
    """Yield the JSON that `fingerprint` would make of the manifest, with one row in memory at a time."""
    rows = (
        {
            **vars(row),
            "scores": None if row.scores is None else [float(score) for score in row.scores],
            "groups": {name: group for name, group in row.groups.items() if group is not None},
            "duration_s": float(row.duration_s),
            **{name: int(getattr(row, name)) for name in ("frames", "faces_found", "faces_looked_at")},
        }
        for row in manifest.clips
    )
    yield b'{"clips": '
    yield from json_list(rows)
    for name in ("encoder", "fingerprint", "settings", "source"):
        yield f', "{name}": {json.dumps(getattr(manifest, name), sort_keys=True)}'.encode()
    yield b"}"


def _check_content(metadata: Mapping[str, str], manifest: Manifest) -> None:
    """Refuse a manifest that has changed: a compressed table reads without an error after many kinds of damage."""
    recorded = metadata.get(CONTENT_KEY)  # older stores have none
    if recorded is not None and recorded != _content_sha256(manifest):
        raise FormatError(
            "damaged or edited: its clips and labels are not those that were written",
            remedy="run `crnet prepare` again, which keeps the finished clips",
        )


def _check_size(metadata: Any) -> None:
    """Refuse a table that would not fit into memory, from what its metadata say."""
    sizes = [metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups)]
    if metadata.num_rows > MOST_CLIPS or sum(sizes) > LARGEST_BYTES:
        raise FormatError(
            f"lists {metadata.num_rows} clips in {sum(sizes)} bytes; the limits are {MOST_CLIPS} and {LARGEST_BYTES}"
        )


def _read_rows(file: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table, in bounded memory: a few bytes can stand for the same long text in every row."""
    left = LARGEST_BYTES
    for batch in file.iter_batches(ROWS_AT_ONCE):
        left -= batch.nbytes + BYTES_PER_OBJECT * sum(_count_values(column) for column in batch.columns)
        if left < 0:
            raise FormatError(f"its rows have more than {LARGEST_BYTES} bytes")
        yield from batch.to_pylist()


def _count_values(column: Any) -> int:
    """Return the number of values in a column, counting each element of its lists."""
    return len(column) + (len(column.flatten()) if hasattr(column, "offsets") else 0)
