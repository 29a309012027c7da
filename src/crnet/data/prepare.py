"""Prepare a dataset: decode every video once, in worker processes, into a clip store."""

from __future__ import annotations

import functools
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crnet.data.ceiling_file import CEILING_NAME
from crnet.data.extract import (
    ClipExtractor,
    ExtractContext,
    ExtractedClip,
    ExtractJob,
    extract_clip,
    extract_to_store,
    work_folder,
)
from crnet.data.failures import FAILURES_NAME, LOCKED_NAME, write_failures, write_locked
from crnet.data.manifest import EMBEDDING_NAME, MANIFEST_NAME, Manifest, write_manifest_rows
from crnet.data.missing_videos import sort_missing
from crnet.data.row_journal import RowJournal
from crnet.data.sources.archive_keys import KeyLookup, ask_for_key
from crnet.data.sources.archives import NO_KEY, Member
from crnet.data.sources.dataset import Dataset, Failure, LabelledClip, LockedArchive
from crnet.data.sources.open_dataset import open_dataset
from crnet.data.store import CLIP_FORMAT
from crnet.errors import StorageError, UsageError
from crnet.media.limits import FileLimits, file_size
from crnet.text.asr import SpeechRecogniser
from crnet.text.encoder_interface import TextEncoder, encoder_label
from crnet.text.hashed_ngrams import HashedNgrams
from crnet.types import DataSource
from crnet.utils.executors import LOCAL, Executor, WorkerDied, choose_executor
from crnet.utils.files import leaves_no_leftovers, remove_leftovers, write_bytes, write_json
from crnet.utils.number_format import counted, size_text
from crnet.utils.progress import Progress, no_progress
from crnet.utils.resumable import ResumableFolder, short_fingerprint
from crnet.utils.storage import RemotePath, as_path
from crnet.utils.storage_lock import folder_lock

if TYPE_CHECKING:
    from crnet.media.settings import MediaSettings

SETTINGS_NAME = "prepare.json"
TASK = "preparing clips"

# To estimate disk space: a clip of FIv2 lasts 15 s, with some 450 frames and 16,000 samples of 2 bytes a second.
TYPICAL_FRAMES = 450
TYPICAL_AUDIO_BYTES = 480_000
BYTES_PER_PIXEL = 0.42  # of a JPEG at quality 90: 5.3 kB at 112x112 in a real 720p clip

_log = logging.getLogger(__name__)


def store_settings(
    settings: MediaSettings,
    encoder: TextEncoder,
    recogniser: SpeechRecogniser | None = None,
    *,
    earlier: bool = False,
) -> dict[str, Any]:
    """Return the content of `prepare.json`: every setting that decides the content of a store's clip files.

    Args:
        settings: How videos are read.
        encoder: Text encoder for transcripts.
        recogniser: Speech recogniser for clips without a transcript.
        earlier: Return what the reader's earlier version recorded.
    """
    from crnet.media.settings import EARLIER_VERSION, READER_VERSION

    recorded: dict[str, Any] = {
        "media": settings.to_dict(),
        # This also covers the reader's version.
        "media fingerprint": settings.fingerprint(EARLIER_VERSION if earlier else READER_VERSION),
        "encoder": encoder_label(encoder.name),
        "format": CLIP_FORMAT,
    }
    if recogniser is not None:
        recorded["speech recognition"] = recogniser.name
    return {**recorded, "fingerprint": settings_fingerprint(recorded)}


def settings_fingerprint(settings: Mapping[str, Any]) -> str:
    """Return the fingerprint of a store's settings, which `prepare.json` records beside them."""
    return short_fingerprint(_without_fingerprint(settings))


def _without_fingerprint(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "fingerprint"}


STORE_FOLDER = ResumableFolder("a clip store", SETTINGS_NAME, _without_fingerprint)


@dataclass(frozen=True)
class PrepareReport:
    """Result of `prepare`.

    Attributes:
        done: Number of clips prepared by this call.
        skipped: Number of clips that were in the store already, those included that a worker of a cluster stored before
            it was lost.
        changed: The clips, among those done, that an earlier version of crnet had prepared and read differently.
        failures: The clips that could not be prepared.
        locked: The encrypted archives that have no key and were skipped.
    """

    done: int
    skipped: int
    failures: tuple[Failure, ...]
    locked: tuple[LockedArchive, ...] = ()
    changed: tuple[str, ...] = ()


@dataclass
class _Tally:
    """Clips and failures so far, and the temporary archives still in use.

    Attributes:
        extracted: The finished clips.
        failures: The failures.
        locked: The encrypted archives without a key.
        locked_clips: The missing clips whose videos may be in these.
        videos_left: Number of unread videos in each video group.
        temporary_archives: Temporary archives of each video group.
    """

    extracted: RowJournal = field(default_factory=RowJournal)
    failures: list[Failure] = field(default_factory=list)
    locked: list[LockedArchive] = field(default_factory=list)
    locked_clips: list[LabelledClip] = field(default_factory=list)
    videos_left: Counter[int] = field(default_factory=Counter)
    temporary_archives: dict[int, tuple[Path, ...]] = field(default_factory=dict)


def prepare(
    source: Path | str,
    store: Path | str,
    *,
    workers: int | None = None,
    settings: MediaSettings | None = None,
    encoder: TextEncoder | None = None,
    keys: KeyLookup = ask_for_key,
    progress: Progress = no_progress,
    extract: ClipExtractor = extract_clip,
    recogniser: SpeechRecogniser | None = None,
    limits: FileLimits | None = None,
    engine: str = LOCAL,
) -> PrepareReport:
    """Prepare a dataset: write the clip store that training and evaluation read.

    A clip that cannot be read becomes a row of failures.csv, and the others are still prepared. An encrypted archive
    without a key is skipped with a warning; the same call with its key adds its clips. After an interruption
    at any moment, the same call resumes and ends with the same bytes; the manifest is written last. In a store that an
    earlier version of crnet wrote, only the clips that this version reads differently are prepared again.

    Args:
        source: The dataset; see `open_dataset`.
        store: The clip store: a new folder, or one that an earlier call with equal settings wrote.
        workers: See `worker_processes`.
        settings: How videos are read; None: the defaults.
        encoder: Text encoder for transcripts; None: hashed n-grams.
        keys: Looks up the keys of encrypted archives.
        progress: Called after every clip.
        extract: Turns a video into a clip.
        recogniser: Speech recogniser for clips without a transcript; None disables it.
        limits: What reading one video may take; None: the defaults. They need worker processes. With a recogniser,
            whose model may be large, the one on memory does not hold.
        engine: See `choose_executor`. The store does not depend on it.

    Raises:
        ConfigError: `store` was prepared with other settings.
        UsageError: `source`, `store` or `workers` is unusable, or none of the labelled clips has a video.
        LabelError, ArchiveError: Labels or archives are unusable.
        StorageError: The disk is full or `store` cannot be written.
    """
    source, store = as_path(source), as_path(store)
    executor = choose_executor(engine, workers)
    if source.resolve() == store.resolve():
        raise UsageError("is both the dataset and the store", path=store, remedy="give another folder for the store")
    settings = _default_settings() if settings is None else settings
    encoder = HashedNgrams() if encoder is None else encoder
    recorded = store_settings(settings, encoder, recogniser)
    earlier = store_settings(settings, encoder, recogniser, earlier=True)
    dataset = open_dataset(source, keys, exclude=store)
    context = ExtractContext(
        store, encoder, settings, recorded["fingerprint"], earlier["fingerprint"], extract, recogniser
    )
    with folder_lock(store) as check_lock:
        _begin(store, recorded, earlier)
        _log_space(dataset, store, settings)
        try:
            with leaves_no_leftovers(store):
                tally = _extract_all(dataset, context, executor, limits or FileLimits(), progress, source)
                remove_leftovers(store)  # of workers that were killed while they wrote
                check_lock()
                return _finish(source, store, dataset, tally, recorded, encoder.name)
        finally:
            shutil.rmtree(work_folder(store), ignore_errors=True)


def _default_settings() -> MediaSettings:
    from crnet.media.settings import MediaSettings  # imported late, because only videos need the media extra

    return MediaSettings()


def _begin(store: Path, settings: dict[str, Any], earlier: dict[str, Any]) -> None:
    """Create the store's folder, or check that its work can be resumed; delete what a killed run left."""
    begun = STORE_FOLDER.check(store, settings, earlier)
    shutil.rmtree(work_folder(store), ignore_errors=True)
    try:
        remove_leftovers(store)
        # Without a manifest the store is unfinished.
        (store / MANIFEST_NAME).unlink(missing_ok=True)
        (store / LOCKED_NAME).unlink(missing_ok=True)
        (store / EMBEDDING_NAME).unlink(missing_ok=True)
        work_folder(store).mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise StorageError(
            f"cannot be written: {error.strerror}", path=store, remedy="choose another folder"
        ) from error
    if not begun:
        write_json(store / SETTINGS_NAME, settings)


def _log_space(dataset: Dataset, store: Path, settings: MediaSettings) -> None:
    if isinstance(store, RemotePath):
        return
    frames = TYPICAL_FRAMES
    if settings.frames_per_segment is not None:
        frames = min(frames, settings.segments * settings.frames_per_segment)
    per_clip = 2 * frames * settings.pixels**2 * BYTES_PER_PIXEL + TYPICAL_AUDIO_BYTES
    needed, free = len(dataset.clips) * per_clip, shutil.disk_usage(store).free
    level = logging.WARNING if needed > free else logging.INFO
    message = "%s will take about %s if each lasts 15 s; %s are free in %s"
    _log.log(level, message, counted(len(dataset.clips), "clip"), size_text(needed), size_text(free), store)


def _extract_all(
    dataset: Dataset,
    context: ExtractContext,
    executor: Executor,
    limits: FileLimits,
    progress: Progress,
    source: Path,
) -> _Tally:
    """Extract every clip that has a video; add the clips without one to the failures."""
    tally = _Tally()
    progress(TASK, 0, len(dataset.clips))
    jobs = _jobs(dataset, work_folder(context.store), tally)
    job_limits = limits.of_jobs(_video_bytes, limit_memory=context.recogniser is None)
    function = functools.partial(extract_to_store, context)
    results = executor.run(function, jobs, limits=job_limits, writes_to=context.store, reads=[source])
    for finished, (job, result) in enumerate(results, start=1):
        note = ""
        if isinstance(result, ExtractedClip):
            tally.extracted.add(result)
        else:
            failure = _dead_worker_failure(job, result) if isinstance(result, WorkerDied) else result
            tally.failures.append(failure)
            note = f"{job.video.display_path}: {failure.reason}"
        tally.videos_left[job.group] -= 1
        _delete_temporary_archives(tally, job.group)
        progress(TASK, finished, len(dataset.clips), note)
    failures, tally.locked_clips = sort_missing(dataset, tally.extracted, tally.failures, tally.locked)
    tally.failures += failures
    progress(TASK, len(dataset.clips), len(dataset.clips))
    return tally


def _jobs(dataset: Dataset, work_dir: Path, tally: _Tally) -> Iterator[ExtractJob]:
    for number, group in enumerate(dataset.video_groups(work_dir)):
        if isinstance(group, Failure):
            tally.failures.append(group)
            continue
        if isinstance(group, LockedArchive):
            _log.warning("%s: %s, so it is skipped (%s)", group.path, NO_KEY, group.remedy)
            tally.locked.append(group)
            continue
        tally.videos_left[number] = len(group.videos)
        tally.temporary_archives[number] = group.temporary_archives
        _delete_temporary_archives(tally, number)
        for video in group.videos:
            yield ExtractJob(dataset.clips[video.clip_id], video, number)


def _delete_temporary_archives(tally: _Tally, group: int) -> None:
    """Delete the temporary archives of a group once all its videos are read, so that disk use stays bounded."""
    if tally.videos_left[group] == 0:
        for archive in tally.temporary_archives.pop(group, ()):
            archive.unlink(missing_ok=True)


def _dead_worker_failure(job: ExtractJob, death: WorkerDied) -> Failure:
    return Failure(job.clip.clip_id, job.video.display_path, *death.explain("reading it"))


def _video_bytes(job: ExtractJob) -> int:
    location = job.video.location
    return location.bytes_unpacked if isinstance(location, Member) else file_size(location)


def _finish(
    source: Path, store: Path, dataset: Dataset, tally: _Tally, recorded: Mapping[str, Any], encoder: str
) -> PrepareReport:
    """Write the failures and, last, the manifest.

    Raises:
        UsageError: None of the labelled clips has a video.
    """
    failures = tuple(sorted(tally.failures, key=lambda failure: (failure.clip, failure.path)))
    write_failures(store, failures, dataset.clips)
    write_locked(store, tally.locked_clips)
    clips = tally.extracted
    if not len(clips) and not any(failure.clip in dataset.clips for failure in failures):
        raise UsageError(
            f"has no video of its {len(dataset.clips)} labelled clips",
            path=source,
            remedy=tally.locked[0].remedy
            if tally.locked
            else f"put the videos beside the annotation, under the names it uses; see {store / FAILURES_NAME}",
        )
    if (source / CEILING_NAME).is_file():  # simulated data come with their best attainable scores
        write_bytes(store / CEILING_NAME, (source / CEILING_NAME).read_bytes())
    # A store that contains a synthetic person must never pass for one of real people.
    recorded_source: DataSource = "simulated" if clips.count_simulated() else dataset.source
    manifest = Manifest((), recorded_source, recorded["media"], recorded["fingerprint"], encoder)
    write_manifest_rows(store, manifest, clips.rows(), len(clips))
    if without_transcript := clips.count_wordless():
        _log.warning(
            "%d of %d clips have no transcript, so only their sound is used (add a .txt beside a video, or use --asr)",
            without_transcript,
            len(clips),
        )
    reused = clips.count_reused()
    return PrepareReport(len(clips) - reused, reused, failures, tuple(tally.locked), tuple(clips.changed()))
