"""Another text encoder for a prepared store: new vectors from the transcripts of its manifest, no video is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

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
from crnet.errors import FormatError, StorageError
from crnet.text.base import TextEncoder, encoder_label, is_same_encoder
from crnet.utils.files import read_json, remove_leftovers, write_error_remedy, write_json
from crnet.utils.progress import Progress, no_progress
from crnet.utils.resumable import short_fingerprint

CLIPS_AT_ONCE = 64  # texts of so many clips are encoded together
TASK = "embedding transcripts"


@dataclass(frozen=True)
class EmbedReport:
    """What `embed` did: clips that got new vectors, clips that had them already, and those without a transcript."""

    done: int
    skipped: int
    without_words: int


def embed(store: Path, encoder: TextEncoder, progress: Progress = no_progress) -> EmbedReport:
    """Replace the text vectors of every clip of a store, one clip file after the other.

    The manifest is put aside first and written anew last, so a store that a kill left half done is no store to anyone,
    and the same call goes on with it. A run that was trained on the old vectors is refused by `crnet evaluate`.

    Args:
        store: A store that `crnet prepare` finished.
        encoder: Whose vectors to write.
        progress: Told of every clip.

    Raises:
        FormatError: No store, or a clip file is damaged.
        StorageError: The disk is full or the store cannot be written.
    """
    manifest = _open(store)
    if is_same_encoder(manifest.encoder, encoder.name) and (store / MANIFEST_NAME).is_file():
        # The vectors are right; the weights may have moved.
        write_manifest(store, replace(manifest, encoder=encoder.name))
        (store / EMBEDDING_NAME).unlink(missing_ok=True)
        return EmbedReport(0, len(manifest.clips), _wordless(manifest.clips))
    fingerprint = _begin(store, manifest, encoder)
    origin = f"text by {encoder_label(encoder.name)}, the rest as prepared with {manifest.fingerprint}"
    done = 0
    for start in range(0, len(manifest.clips), CLIPS_AT_ONCE):
        rows = manifest.clips[start : start + CLIPS_AT_ONCE]
        done += _embed(store, [row for row in rows if not _is_done(store / row.file, origin)], encoder, origin)
        progress(TASK, min(start + CLIPS_AT_ONCE, len(manifest.clips)), len(manifest.clips))
    write_manifest(store, replace(manifest, encoder=encoder.name, fingerprint=fingerprint))
    (store / EMBEDDING_NAME).unlink(missing_ok=True)
    return EmbedReport(done, len(manifest.clips) - done, _wordless(manifest.clips))


def _open(store: Path) -> Manifest:
    """The manifest, or the one that a stopped call put aside."""
    put_aside = store / EMBEDDING_NAME
    if put_aside.is_file() and not (store / MANIFEST_NAME).is_file():
        return read_manifest_file(put_aside)
    return read_manifest(store)


def _begin(store: Path, manifest: Manifest, encoder: TextEncoder) -> str:
    """Mark the store as unfinished and as one of the new encoder's; returns its new fingerprint."""
    settings_path = store / SETTINGS_NAME
    fingerprint = short_fingerprint({"prepared": manifest.fingerprint, "encoder": encoder_label(encoder.name)})
    try:
        remove_leftovers(store)
        if (store / MANIFEST_NAME).is_file():
            (store / MANIFEST_NAME).replace(store / EMBEDDING_NAME)
    except OSError as error:
        reason = f"cannot be written: {error.strerror or error}"
        raise StorageError(reason, path=store, remedy=write_error_remedy(error)) from error
    if settings_path.is_file():
        # `crnet prepare` with the old encoder must not take these clips for its own.
        described = read_json(settings_path, "the settings of a clip store")
        described = {**described, "encoder": encoder_label(encoder.name)}
        write_json(settings_path, {**described, "fingerprint": settings_fingerprint(described)})
    return fingerprint


def _is_done(path: Path, origin: str) -> bool:
    return ClipFile(path).metadata.get("origin") == origin


def _embed(store: Path, rows: Sequence[ClipRow], encoder: TextEncoder, origin: str) -> int:
    vectors = encoder.encode([row.transcript for row in rows])
    for row, vector in zip(rows, vectors, strict=True):
        clip = read_clip(store / row.file)
        if clip.has_transcript != bool(row.transcript.strip()):
            raise FormatError(
                "the manifest's transcript is not the one that the clip was made with",
                path=store / row.file,
                remedy="run `crnet prepare` again",
            )
        write_clip(store / row.file, replace(clip, text=vector), origin)
    return len(rows)


def _wordless(rows: Sequence[ClipRow]) -> int:
    return sum(not row.transcript.strip() for row in rows)
