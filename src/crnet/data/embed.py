"""Change the text encoder of a prepared store: encode the transcripts of its manifest again, without reading videos."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crnet.data.clip_rows import light_rows
from crnet.data.manifest import (
    EMBEDDING_NAME,
    MANIFEST_NAME,
    ClipRow,
    Manifest,
    read_manifest,
    read_manifest_file,
    write_manifest,
)
from crnet.data.prepare import SETTINGS_NAME, settings_fingerprint
from crnet.data.store import ClipFile, read_clip, write_clip
from crnet.errors import FormatError, StorageError, UsageError
from crnet.text.encoder_interface import TextEncoder, encoder_label, is_same_encoder
from crnet.utils.executors import LOCAL, Executor, WorkerDied, choose_executor
from crnet.utils.files import leaves_no_leftovers, read_json, remove_leftovers, write_error_remedy, write_json
from crnet.utils.parallel_requests import map_files
from crnet.utils.progress import Progress, no_progress
from crnet.utils.resumable import short_fingerprint
from crnet.utils.storage import as_path
from crnet.utils.storage_lock import folder_lock

CLIPS_PER_BATCH = 64  # transcripts encoded together
TASK = "embedding transcripts"


@dataclass(frozen=True)
class EmbedReport:
    """Result of `embed`.

    Attributes:
        done: Number of clips with new vectors.
        skipped: Number of clips that had the encoder's vectors already.
        without_words: Number of clips without a transcript.
    """

    done: int
    skipped: int
    without_words: int


def embed(
    store: Path | str,
    encoder: TextEncoder,
    progress: Progress = no_progress,
    *,
    workers: int | None = None,
    engine: str = LOCAL,
) -> EmbedReport:
    """Replace the text vectors of all clips of a store, one clip file at a time.

    The manifest is renamed first and written again last, so that no command mistakes an interrupted store for a whole
    one, and the same call resumes. `crnet evaluate` refuses a run that was trained on the old vectors.

    Args:
        store: A store that `crnet prepare` finished.
        encoder: The new text encoder.
        progress: Called after every batch of clips.
        workers: See `worker_processes`; None works in this process.
        engine: See `choose_executor`.

    Raises:
        UsageError: The clips are in shards, or a worker died.
        FormatError: Not a store, or a clip file is damaged.
        StorageError: The disk is full or the store cannot be written.
    """
    store, executor = as_path(store), choose_executor(engine, workers, default=0)
    manifest = _read_manifest(store)
    if any(".tar#" in row.file for row in light_rows(manifest.clips)):
        remedy = "embed the stores that it was merged from, then merge them again"
        raise UsageError("its clips are packed into shards, which are never changed", path=store, remedy=remedy)
    if is_same_encoder(manifest.encoder, encoder.name) and (store / MANIFEST_NAME).is_file():
        # The vectors are right; only the path of the encoder's weights may have changed.
        write_manifest(store, replace(manifest, encoder=encoder.name))
        (store / EMBEDDING_NAME).unlink(missing_ok=True)
        return EmbedReport(0, len(manifest.clips), _count_without_words(manifest.clips))
    with folder_lock(store) as check_lock:
        store_fingerprint = _begin(store, manifest, encoder)
        done = _embed_all(store, manifest, encoder, executor, progress)
        check_lock()
        write_manifest(store, replace(manifest, encoder=encoder.name, fingerprint=store_fingerprint))
        (store / EMBEDDING_NAME).unlink(missing_ok=True)
    return EmbedReport(done, len(manifest.clips) - done, _count_without_words(manifest.clips))


def _embed_all(store: Path, manifest: Manifest, encoder: TextEncoder, executor: Executor, progress: Progress) -> int:
    """Give all clips new vectors; return the number of those that lacked them."""
    # The text of version 0.1, which stores in the middle of `embed` contain.
    clip_fingerprint = f"text by {encoder_label(encoder.name)}, the rest as prepared with {manifest.fingerprint}"
    done = 0
    seen = 0
    batches = (
        tuple(manifest.clips[start : start + CLIPS_PER_BATCH])
        for start in range(0, len(manifest.clips), CLIPS_PER_BATCH)
    )
    function = functools.partial(_embed_batch, store, encoder, clip_fingerprint)
    with leaves_no_leftovers(store):
        for rows, embedded in executor.run(function, batches, writes_to=store):
            if isinstance(embedded, WorkerDied):
                reason, remedy = embedded.explain("embedding transcripts")
                raise UsageError(reason, path=store, remedy=remedy)
            done, seen = done + embedded, seen + len(rows)
            progress(TASK, seen, len(manifest.clips))
    return done


def _read_manifest(store: Path) -> Manifest:
    """Read the manifest, or the one that an interrupted call renamed."""
    renamed = store / EMBEDDING_NAME
    if renamed.is_file() and not (store / MANIFEST_NAME).is_file():
        return read_manifest_file(renamed)
    return read_manifest(store)


def _begin(store: Path, manifest: Manifest, encoder: TextEncoder) -> str:
    """Mark the store as unfinished and record the new encoder in its settings. Return the store's new fingerprint."""
    settings_path = store / SETTINGS_NAME
    try:
        remove_leftovers(store)
        if (store / MANIFEST_NAME).is_file():
            (store / MANIFEST_NAME).replace(store / EMBEDDING_NAME)
    except OSError as error:
        reason = f"cannot be written: {error.strerror or error}"
        raise StorageError(reason, path=store, remedy=write_error_remedy(error)) from error
    if settings_path.is_file():
        # `crnet prepare` with the old encoder must not reuse these clips.
        settings = read_json(settings_path, "the settings of a clip store")
        settings = {**settings, "encoder": encoder_label(encoder.name)}
        write_json(settings_path, {**settings, "fingerprint": settings_fingerprint(settings)})
    return short_fingerprint({"prepared": manifest.fingerprint, "encoder": encoder_label(encoder.name)})


def _embed_batch(store: Path, encoder: TextEncoder, clip_fingerprint: str, rows: Sequence[ClipRow]) -> int:
    """Give the clips of a batch their new vectors, in a worker; return the number of those that lacked them."""
    fingerprints = map_files(lambda row: ClipFile(store / row.file, row.clip_id).fingerprint, rows, store)
    remaining = [row for row, written in zip(rows, fingerprints, strict=True) if written != clip_fingerprint]
    if remaining:
        # All of them, because a vector depends in its last digits on the texts that are encoded with it.
        vectors = encoder.encode([row.transcript for row in rows])
        vector_of = dict(zip((row.clip_id for row in rows), vectors, strict=True))
        _embed_clips(store, remaining, vector_of, clip_fingerprint)
    return len(remaining)


def _embed_clips(
    store: Path, rows: Sequence[ClipRow], vector_of: Mapping[str, NDArray[np.float32]], clip_fingerprint: str
) -> None:
    def embed_clip(row: ClipRow) -> None:
        clip = read_clip(store / row.file, row.clip_id)
        if clip.has_transcript != bool(row.transcript.strip()):
            raise FormatError(
                "the manifest's transcript is not the one that the clip was made with",
                path=store / row.file,
                remedy="run `crnet prepare` again",
            )
        write_clip(store / row.file, replace(clip, text=vector_of[row.clip_id]), clip_fingerprint)

    for _ in map_files(embed_clip, rows, store):
        pass


def _count_without_words(rows: Sequence[ClipRow]) -> int:
    return sum(not row.transcript.strip() for row in rows)
