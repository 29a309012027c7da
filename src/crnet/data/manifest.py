"""The manifest of a store: `manifest.parquet`, one row for each clip, with labels, transcript and statistics."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from crnet.errors import FormatError
from crnet.types import DATA_SOURCES, SPLITS, TARGETS, DataSource, Split
from crnet.utils.files import atomic_write, parse_json, require_regular_file
from crnet.utils.resumable import fingerprint

MANIFEST_FORMAT = 1
MANIFEST_NAME = "manifest.parquet"
EMBEDDING_NAME = "embedding.parquet"  # name of the manifest while `crnet embed` changes the clips
GROUP_PREFIX = "group_"
CONTENT_KEY = "crnet.sha256"  # entry of the schema's metadata with the hash of everything else
MOST_CLIPS = 200_000  # First Impressions v2 has 10,000
LARGEST_BYTES = 256 << 20  # of all values in Python; the transcripts of First Impressions v2 have about 3 MB
ROWS_AT_ONCE = 256
BYTES_PER_OBJECT = 48  # of a short text in Python, beside its letters


@dataclass(frozen=True)
class ClipRow:
    """One clip of a store.

    Attributes:
        clip_id: Name of the clip, as in the annotation or the CSV.
        file: Path of the clip file inside the store, with `/`.
        split: Train, val or test; None for a clip without annotation.
        scores: The six targets in [0, 1], in the order of `TARGETS`, as annotated (float64); None without annotation.
        person: Name of the person in the clip, if the dataset gives it.
        groups: Group of the clip by name of the grouping, such as {"gender": "female"}.
        transcript: The words; "" if there are none or they are unknown.
        duration_s: Length in seconds.
        frames: Number of stored frames.
        faces_found: Number of segments whose middle frame shows the face.
        faces_looked_at: Number of segments.
        warnings: What a user should know about the clip.
    """

    clip_id: str
    file: str
    split: Split | None = None
    scores: tuple[float, ...] | None = None
    person: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    transcript: str = ""
    duration_s: float = 0.0
    frames: int = 0
    faces_found: int = 0
    faces_looked_at: int = 0
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.split is not None and self.split not in SPLITS:
            raise FormatError(f"clip {self.clip_id}: split {self.split!r} is not one of {', '.join(SPLITS)}")
        if self.scores is not None and (
            len(self.scores) != len(TARGETS) or not all(0 <= score <= 1 for score in self.scores)
        ):
            raise FormatError(f"clip {self.clip_id}: scores are not {len(TARGETS)} numbers in [0, 1]")
        inside = PurePosixPath(self.file)
        if not self.file or inside.is_absolute() or ".." in inside.parts or "\\" in self.file:
            raise FormatError(f"clip {self.clip_id}: file {self.file!r} is not inside the store")


@dataclass(frozen=True)
class Manifest:
    """The content of a store.

    Attributes:
        clips: The rows. They are sorted by split (train, val, test, none) and clip id.
        source: The kind of dataset that the clips come from.
        settings: The settings they were prepared with, as JSON values.
        fingerprint: Fingerprint of settings and encoder; stores with equal fingerprints can be mixed.
        encoder: Name of the text encoder.
    """

    clips: tuple[ClipRow, ...]
    source: DataSource
    settings: dict[str, Any]
    fingerprint: str
    encoder: str

    def __post_init__(self) -> None:
        if self.source not in DATA_SOURCES:
            raise FormatError(f"unknown source {self.source!r}")
        if len({row.clip_id for row in self.clips}) != len(self.clips):
            raise FormatError("a clip is listed twice")
        object.__setattr__(self, "clips", tuple(sorted(self.clips, key=_sort_key)))

    def rows(self, split: Split | None) -> tuple[ClipRow, ...]:
        """Return the rows of one split; None: the rows without a split."""
        return tuple(row for row in self.clips if row.split == split)


# pyarrow is imported where it is used: the workers of `prepare` and prediction never need it, which saves 40 MB and a
# tenth of a second.


def _columns() -> list[tuple[str, Any]]:
    """Return the columns that every manifest has, and their types."""
    import pyarrow as pa

    return [
        ("clip", pa.string()),
        ("file", pa.string()),
        ("split", pa.string()),
        *((target, pa.float64()) for target in TARGETS),
        ("person", pa.string()),
        ("transcript", pa.string()),
        ("duration_s", pa.float64()),
        ("frames", pa.int32()),
        ("faces_found", pa.int32()),
        ("faces_looked_at", pa.int32()),
        ("warnings", pa.list_(pa.string())),
    ]


def write_manifest(store: Path | str, manifest: Manifest) -> None:
    """Write `manifest.parquet` in one step. Equal manifests give equal bytes (with the same version of pyarrow).

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = manifest.clips
    columns: dict[str, list[Any]] = {
        "clip": [row.clip_id for row in rows],
        **{name: [getattr(row, name) for row in rows] for name in ("file", "split", "person", "transcript")},
        **{t: [None if row.scores is None else row.scores[i] for row in rows] for i, t in enumerate(TARGETS)},
        **{name: [getattr(row, name) for row in rows] for name in ("duration_s", "frames")},
        **{name: [getattr(row, name) for row in rows] for name in ("faces_found", "faces_looked_at")},
        "warnings": [list(row.warnings) for row in rows],
    }
    groups = sorted({name for row in rows for name in row.groups})
    types = [*_columns(), *((GROUP_PREFIX + name, pa.string()) for name in groups)]
    columns |= {GROUP_PREFIX + name: [row.groups.get(name) for row in rows] for name in groups}
    metadata = {
        "crnet.format": str(MANIFEST_FORMAT),
        "crnet.source": manifest.source,
        "crnet.settings": json.dumps(manifest.settings, sort_keys=True, allow_nan=False),
        "crnet.fingerprint": manifest.fingerprint,
        "crnet.encoder": manifest.encoder,
        CONTENT_KEY: _content_sha256(manifest),
    }
    schema = pa.schema(types, metadata=metadata)
    table = pa.Table.from_arrays([pa.array(columns[name], kind) for name, kind in types], schema=schema)
    with atomic_write(Path(store) / MANIFEST_NAME) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_manifest(store: Path | str) -> Manifest:
    """Read a store's manifest.

    Raises:
        FormatError: Missing (the folder is an unfinished store or no store), damaged, or of another format version.
    """
    store = Path(store)
    path = store / MANIFEST_NAME
    if not path.is_file() and (store / EMBEDDING_NAME).is_file():
        raise FormatError(
            "the store is unfinished: its clips have vectors of two text encoders",
            path=path,
            remedy=f"run `crnet embed {store} --encoder ...` again",
        )
    if not path.is_file():
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
        file = pq.ParquetFile(path)
        metadata = {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}
        _check_table(metadata, file.schema_arrow)
        _check_size(file.metadata)
        manifest = Manifest(
            clips=tuple(map(_clip_row, _read_rows(file))),
            source=metadata["crnet.source"],
            settings=parse_json(metadata["crnet.settings"]),
            fingerprint=metadata["crnet.fingerprint"],
            encoder=metadata["crnet.encoder"],
        )
        _check_content(metadata, manifest)
        return manifest
    except FormatError as error:
        raise FormatError(error.reason, path=path, remedy=error.remedy or "run `crnet prepare` again") from error
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        reason = f"not a manifest, or damaged: {type(error).__name__}: {error}"
        raise FormatError(reason, path=path, remedy="run `crnet prepare` again") from error


def _check_table(metadata: Mapping[str, str], schema: Any) -> None:
    version = metadata.get("crnet.format")
    if version is None:
        raise FormatError("a Parquet file, but not a manifest of crnet")
    if version != str(MANIFEST_FORMAT):
        newer = version.isdecimal() and int(version) > MANIFEST_FORMAT
        raise FormatError(
            f"a manifest of format {version}; this version of crnet reads format {MANIFEST_FORMAT}",
            remedy="use a newer crnet" if newer else None,
        )
    for name, kind in _columns():
        if name not in schema.names or schema.field(name).type != kind:
            raise FormatError(f"column {name} is missing or not of type {kind}")


def _content_sha256(manifest: Manifest) -> str:
    """Return the hash of everything that a manifest says, as it reads back from a file."""
    rows = [
        {
            **vars(row),
            "scores": None if row.scores is None else [float(score) for score in row.scores],
            "groups": {name: group for name, group in row.groups.items() if group is not None},
            "duration_s": float(row.duration_s),
            **{name: int(getattr(row, name)) for name in ("frames", "faces_found", "faces_looked_at")},
        }
        for row in manifest.clips
    ]
    return fingerprint({**vars(manifest), "clips": rows})


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


def _clip_row(values: dict[str, Any]) -> ClipRow:
    scores = tuple(values[target] for target in TARGETS)
    is_known = [score is not None and math.isfinite(score) for score in scores]
    if any(is_known) and not all(is_known):
        raise FormatError(f"clip {values['clip']}: some targets have no score")
    return ClipRow(
        clip_id=values["clip"],
        file=values["file"],
        split=values["split"],
        scores=scores if all(is_known) else None,
        person=values["person"],
        groups={
            name.removeprefix(GROUP_PREFIX): group
            for name, group in values.items()
            if name.startswith(GROUP_PREFIX) and group is not None
        },
        transcript=values["transcript"],
        duration_s=values["duration_s"],
        frames=values["frames"],
        faces_found=values["faces_found"],
        faces_looked_at=values["faces_looked_at"],
        warnings=tuple(values["warnings"]),
    )


def _sort_key(row: ClipRow) -> tuple[int, str]:
    return (len(SPLITS) if row.split is None else SPLITS.index(row.split), row.clip_id)
