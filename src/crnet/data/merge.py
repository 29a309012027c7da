"""Merge clip stores that were prepared apart into one, as clip files or packed into shards."""

from __future__ import annotations

import csv
import heapq
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from crnet.data.ceiling_file import CEILING_NAME
from crnet.data.clip_row import ClipRow, sort_key
from crnet.data.clip_rows import light_rows
from crnet.data.failures import FAILURES_NAME, LOCKED_NAME
from crnet.data.manifest import MANIFEST_NAME, Manifest, read_manifest, write_manifest_rows
from crnet.data.shards import evenly, files_in_shard, read_whole, shard_name, write_shard
from crnet.data.store import ClipFile, clip_path
from crnet.errors import ConfigError, FormatError, LabelError, StorageError, UsageError
from crnet.types import SPLITS, Split
from crnet.utils.csv_cells import original_cell
from crnet.utils.files import (
    leaves_no_leftovers,
    remove_leftovers,
    write_bytes,
    write_error_remedy,
    write_json,
    write_text,
)
from crnet.utils.parallel_requests import map_files
from crnet.utils.progress import Progress, no_progress
from crnet.utils.resumable import ResumableFolder
from crnet.utils.storage import as_path
from crnet.utils.storage_lock import folder_lock

MERGE_NAME = "merge.json"
MERGED_FOLDER = ResumableFolder("a merged clip store", MERGE_NAME)
TASK = "merging clips"
NAMES_SHOWN = 3


@dataclass(frozen=True)
class MergeReport:
    """Result of `merge`.

    Attributes:
        clips: Number of clips in the merged store.
        shards: Number of shards; 0: each clip has its own file.
    """

    clips: int
    shards: int


def merge(
    out: Path | str, stores: Sequence[Path | str], shards: int | None = None, progress: Progress = no_progress
) -> MergeReport:
    """Merge stores into a new one. An interrupted call resumes; the manifest is written last.

    Args:
        out: The new store.
        stores: Finished stores with equal settings and no clip in common; one store is packed or copied.
        shards: Pack the clips into about this many tar files (`crnet.data.shards`); None: one file for each clip.
        progress: Called after every clip or shard.

    Raises:
        UsageError: There is no store, `out` is one of them, or a clip is in two of them.
        ConfigError: The stores were prepared with different settings, or `out` is another merge.
        FormatError: A store or a clip file is damaged.
        StorageError: The disk is full or `out` cannot be written.
    """
    out, sources = as_path(out), [as_path(store) for store in stores]
    if not sources:
        raise UsageError("no stores to merge", path=out, remedy="name the new folder, then the stores to merge")
    if any(out.resolve() == store.resolve() for store in sources):
        raise UsageError("is not a new folder", path=out, remedy="name a new folder, then the stores to merge")
    if shards is not None and shards < 1:
        raise UsageError(f"{shards} shards", remedy="choose 1 or more")
    manifests = [read_manifest(store) for store in sources]
    _require_same_settings(sources, manifests)
    _refuse_duplicates(sources, manifests)
    count = sum(len(manifest.clips) for manifest in manifests)
    described = {"stores": [str(store) for store in sources], "clips": count, "shards": shards}
    with folder_lock(out) as check_lock:
        _begin(out, {**described, "fingerprint": manifests[0].fingerprint})
        with leaves_no_leftovers(out):
            packed = list(_shards(manifests, shards)) if shards else []
            if packed:
                _write_shards(out, sources, manifests, packed, progress)
            else:
                _copy_clips(out, sources, manifests, progress)
            _merge_lists(out, sources, manifests)
            _merge_ceilings(out, sources)
            check_lock()
            names = (file for name, _ in packed for file in files_in_shard(out, name))
            rows = (
                replace(row, file=next(names) if packed else clip_path(row.clip_id))
                for _, row in _rows(sources, manifests)
            )
            write_manifest_rows(out, replace(manifests[0], clips=()), rows, count)
    return MergeReport(count, len(packed))


def _require_same_settings(stores: Sequence[Path], manifests: Sequence[Manifest]) -> None:
    first = manifests[0]
    for store, manifest in zip(stores, manifests, strict=True):
        for name in ("fingerprint", "encoder", "source"):
            if getattr(manifest, name) != getattr(first, name):
                raise ConfigError(
                    f"its {name} is {getattr(manifest, name)!r}, that of {stores[0]} is {getattr(first, name)!r}",
                    path=store,
                    remedy="prepare all stores with the same settings and the same version of crnet",
                )


def _refuse_duplicates(stores: Sequence[Path], manifests: Sequence[Manifest]) -> None:
    names = [_names(store, manifest) for store, manifest in zip(stores, manifests, strict=True)]
    count, shown = 0, list[str]()
    before: tuple[str, Path] | None = None
    for clip_id, store in heapq.merge(*names, key=lambda entry: entry[0]):
        if before is not None and clip_id == before[0]:
            count += 1
            if count <= NAMES_SHOWN:
                shown.append(f"{clip_id} (in {before[1]} and {store})")
        before = clip_id, store
    if count:
        more = f" and {count - NAMES_SHOWN} more" if count > NAMES_SHOWN else ""
        raise UsageError(
            f"{count} clips are in two stores: {', '.join(shown)}{more}",
            remedy="prepare one of the stores again without them",
        )


def _names(store: Path, manifest: Manifest) -> Iterator[tuple[str, Path]]:
    """Yield the clips of a store by name, with the store."""
    splits: tuple[Split | None, ...] = (*SPLITS, None)
    rows = [light_rows(manifest.rows(split)) for split in splits]  # each is sorted
    for row in heapq.merge(*rows, key=lambda row: row.clip_id):
        yield row.clip_id, store


def _begin(out: Path, described: dict[str, Any]) -> None:
    begun = MERGED_FOLDER.check(out, described)
    try:
        out.mkdir(parents=True, exist_ok=True)
        remove_leftovers(out)
        (out / MANIFEST_NAME).unlink(missing_ok=True)  # without a manifest the store is unfinished
    except OSError as error:
        reason = f"cannot be written: {error.strerror or error}"
        raise StorageError(reason, path=out, remedy=write_error_remedy(error)) from error
    if not begun:
        write_json(out / MERGE_NAME, described)


def _rows(stores: Sequence[Path], manifests: Sequence[Manifest]) -> Iterator[tuple[Path, ClipRow]]:
    """Yield the rows of all stores, with their stores, in the order of a manifest."""
    rows = [_with_store(store, manifest) for store, manifest in zip(stores, manifests, strict=True)]
    return heapq.merge(*rows, key=lambda entry: sort_key(entry[1]))


def _with_store(store: Path, manifest: Manifest) -> Iterator[tuple[Path, ClipRow]]:
    for row in manifest.clips:
        yield store, row


def _copy_clips(out: Path, stores: Sequence[Path], manifests: Sequence[Manifest], progress: Progress) -> None:
    count = sum(len(manifest.clips) for manifest in manifests)

    def copy(entry: tuple[Path, ClipRow]) -> None:
        store, row = entry
        name = clip_path(row.clip_id)
        source = ClipFile(store / row.file, row.clip_id)
        if not _is_copied(out / name, source):
            source.check()
            write_bytes(out / name, read_whole(store / row.file))

    for number, _ in enumerate(map_files(copy, _rows(stores, manifests), out, *stores), start=1):
        progress(TASK, number, count)


def _is_copied(path: Path, source: ClipFile) -> bool:
    try:
        return ClipFile(path).metadata == source.metadata  # which contains the hash of the content
    except FormatError:
        return False


def _shards(manifests: Sequence[Manifest], shards: int) -> Iterator[tuple[str, int]]:
    """Yield name and number of clips of each shard."""
    splits: tuple[Split | None, ...] = (*SPLITS, None)
    sizes = [sum(len(manifest.rows(split)) for manifest in manifests) for split in splits]
    numbers = [min(size, max(1, round(shards * size / max(sum(sizes), 1)))) for size in sizes]
    for split, size, parts in zip(splits, sizes, numbers, strict=True):
        for number, part in enumerate(evenly(size, parts)):
            yield shard_name(split, number), len(part)


def _write_shards(
    out: Path,
    stores: Sequence[Path],
    manifests: Sequence[Manifest],
    packed: Sequence[tuple[str, int]],
    progress: Progress,
) -> None:
    rows = _rows(stores, manifests)
    for done, (name, size) in enumerate(packed, start=1):
        write_shard(out, name, [(store / row.file, row) for store, row in islice(rows, size)])
        progress(TASK, done, len(packed))


def _merge_lists(out: Path, stores: Sequence[Path], manifests: Sequence[Manifest]) -> None:
    """Write the failures and the locked clips of all stores, except the clips that another of them has."""
    for name in (FAILURES_NAME, LOCKED_NAME):
        header, rows = _read_lists(stores, name)
        missing = {original_cell(row[0]) for row in rows}
        if missing:
            missing.difference_update(row.clip_id for manifest in manifests for row in light_rows(manifest.clips))
        if header:
            text = io.StringIO()
            kept = [row for row in rows if original_cell(row[0]) in missing]
            csv.writer(text, lineterminator="\n").writerows([header, *kept])
            write_text(out / name, text.getvalue())


def _read_lists(stores: Sequence[Path], name: str) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a CSV that some of the stores have; no header if none has it."""
    header, rows = list[str](), list[list[str]]()
    for store in stores:
        if (store / name).is_file():
            try:
                with (store / name).open(newline="", encoding="utf-8") as file:
                    lines = [row for row in csv.reader(file) if row]
            except (OSError, UnicodeDecodeError, csv.Error) as error:
                raise LabelError(f"cannot be read: {error}", path=store / name) from error
            if lines:
                header = header or lines[0]
                rows += lines[1:]
    return header, rows


def _merge_ceilings(out: Path, stores: Sequence[Path]) -> None:
    """Write the best attainable scores of simulated clips, if the stores are of one simulated dataset."""
    contents = {path.read_bytes() if path.is_file() else b"" for path in (store / CEILING_NAME for store in stores)}
    if len(contents) == 1 and (content := contents.pop()):
        write_bytes(out / CEILING_NAME, content)
