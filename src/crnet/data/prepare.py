"""From a data set to a clip store: decode every video once, in worker processes, and write down what was found."""

from __future__ import annotations

import csv
import functools
import io
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crnet.data.ceiling import CEILING_NAME
from crnet.data.extract import (
    WORK_NAME,
    ClipExtractor,
    ExtractContext,
    ExtractedClip,
    Job,
    extract_clip,
    extract_to_store,
)
from crnet.data.failures import FAILURES_NAME
from crnet.data.manifest import EMBEDDING_NAME, MANIFEST_NAME, Manifest, write_manifest
from crnet.data.sources.archives import Keys, ask_for_key
from crnet.data.sources.csv_folder import open_folder
from crnet.data.sources.first_impressions import SIMULATED_MARKER, is_release, open_release
from crnet.data.sources.source import Failure, LabelledClip, Source, find_files
from crnet.data.store import FORMAT
from crnet.errors import StorageError, UsageError
from crnet.text.asr import SpeechRecogniser
from crnet.text.base import TextEncoder, encoder_label
from crnet.text.hashed_ngrams import HashedNgrams
from crnet.types import SPLITS, Split
from crnet.utils.executors import WorkerDied, available_cores, run_jobs
from crnet.utils.files import remove_leftovers, write_bytes, write_json, write_text
from crnet.utils.progress import Progress, no_progress
from crnet.utils.resumable import ResumableFolder, short_fingerprint

if TYPE_CHECKING:
    from crnet.media.settings import MediaSettings

SETTINGS_NAME = "prepare.json"
TASK = "preparing clips"

# For the estimate of space: an FIv2 clip has 15 s, some 450 frames and 16,000 samples of 2 bytes a second.
TYPICAL_FRAMES = 450
TYPICAL_AUDIO_BYTES = 480_000
BYTES_PER_PIXEL = 0.42  # of a JPEG at quality 90: 5.3 kB at 112x112 in a real 720p clip

_log = logging.getLogger(__name__)


def store_settings(
    settings: MediaSettings, encoder: TextEncoder, recogniser: SpeechRecogniser | None = None
) -> dict[str, Any]:
    """Return the content of `prepare.json`: every setting that decides the content of a store's clip files."""
    recorded: dict[str, Any] = {
        "media": settings.to_dict(),
        "media fingerprint": settings.fingerprint(),  # also counts the reader's version
        "encoder": encoder_label(encoder.name),
        "format": FORMAT,
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
    """What `prepare` did: clips made, clips that were there already, and those that could not be made."""

    done: int
    skipped: int
    failures: tuple[Failure, ...]


@dataclass
class _Tally:
    """What is known so far about the clips of a source."""

    made: dict[str, ExtractedClip] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    left_in_group: Counter[int] = field(default_factory=Counter)
    spills: dict[int, tuple[Path, ...]] = field(default_factory=dict)


def open_source(path: Path, keys: Keys = ask_for_key, exclude: Path | None = None) -> Source:
    """Open a data set of any kind: the official release, a simulated one, or a folder of videos with a CSV.

    Args:
        path: A folder, a CSV of clips, or one archive of the release.
        keys: Asked for the keys of locked archives.
        exclude: A folder below `path` that is not looked into.

    Raises:
        UsageError: There is nothing, or nothing of these kinds.
        LabelError, ArchiveError: Labels or archives are unusable.
    """
    if path.is_file() and path.suffix.lower() == ".csv":
        return open_folder(path, find_files(path.parent, exclude))
    if path.is_file() and path.suffix.lower() != ".zip":
        raise UsageError("not a data set", path=path, remedy="give a folder, a CSV of clips, or a zip of the release")
    if not path.exists():
        raise UsageError("no such file or folder", path=path, remedy="check the name of the data set")
    files = find_files(path, exclude)
    if path.is_file() or (path / SIMULATED_MARKER).is_file() or is_release(files):
        return open_release(path, keys, files)
    return open_folder(path, files)


def prepare(
    source: Path,
    out: Path,
    *,
    workers: int | None = None,
    settings: MediaSettings | None = None,
    encoder: TextEncoder | None = None,
    keys: Keys = ask_for_key,
    progress: Progress = no_progress,
    make_clip: ClipExtractor = extract_clip,
    recogniser: SpeechRecogniser | None = None,
) -> PrepareReport:
    """Prepare a data set: write the clip store that everything later reads.

    A clip that cannot be read becomes a row of failures.csv and the rest goes on. Killed at any moment, the same call
    goes on where it was and ends with the same bytes; the manifest is written last.

    Args:
        source: What `open_source` understands.
        out: The store, a new folder or one that an earlier call with equal settings wrote.
        workers: Worker processes; None: one for each core; 0: no extra process.
        settings: How videos are read; None: the defaults.
        encoder: Of transcripts; None: hashed n-grams.
        keys: Asked for the keys of locked archives.
        progress: Told of every finished clip.
        make_clip: Turns a video into a clip.
        recogniser: Listens to clips of which nobody wrote down what is said; None: nobody does.

    Raises:
        ConfigError: `out` was prepared with other settings.
        UsageError: `source` or `out` cannot be what they are meant to be, or there is no video of the labels at all.
        LabelError, ArchiveError: Labels or archives are unusable.
        StorageError: The disk is full or `out` cannot be written.
    """
    source, out = Path(source), Path(out)
    if workers is not None and workers < 0:
        raise UsageError(f"{workers} workers", remedy="use 0 or more; 0 prepares in this process")
    if source.resolve() == out.resolve():
        raise UsageError("is both the data set and the store", path=out, remedy="give another folder for the store")
    if settings is None:
        from crnet.media.settings import MediaSettings

        settings = MediaSettings()
    encoder = HashedNgrams() if encoder is None else encoder
    recorded = store_settings(settings, encoder, recogniser)
    fingerprint = recorded["fingerprint"]
    opened = open_source(source, keys, exclude=out)
    _begin(out, recorded)
    _log_space(opened, out, settings)
    shared = ExtractContext(out, encoder, settings, fingerprint, make_clip, recogniser)
    tally = _make_clips(opened, shared, available_cores() if workers is None else workers, progress)
    tally.failures += _absent(opened, tally)
    progress(TASK, len(opened.clips), len(opened.clips))
    shutil.rmtree(out / WORK_NAME, ignore_errors=True)
    made = tally.made.values()
    # A store with drawn people in it must never pass for one of real people.
    kind = "simulated" if any(one.simulated for one in made) else opened.kind
    rows = tuple(one.row for one in made)
    failures = tuple(sorted(tally.failures, key=lambda failure: (failure.clip, failure.path)))
    write_text(out / FAILURES_NAME, _failures_csv(failures, opened.clips))
    if not rows and not any(failure.clip in opened.clips for failure in failures):
        raise UsageError(
            f"no video of the labels' {len(opened.clips)} clips was found",
            path=source,
            remedy=f"put them beside the annotation, named as in it; what was found is in {out / FAILURES_NAME}",
        )
    if (source / CEILING_NAME).is_file():  # what a simulated source lets anyone know of the scores
        write_bytes(out / CEILING_NAME, (source / CEILING_NAME).read_bytes())
    write_manifest(out, Manifest(rows, kind, recorded["media"], fingerprint, encoder.name))
    if wordless := sum(not row.transcript.strip() for row in rows):
        _log.warning(
            "%d of %d clips have no words: only their sound will be heard (a .txt beside a video or --asr helps)",
            wordless,
            len(rows),
        )
    skipped = sum(one.was_there for one in made)
    return PrepareReport(len(rows) - skipped, skipped, failures)


def _begin(out: Path, settings: dict[str, Any]) -> None:
    """Make the store's folder, or check that its work can be resumed; delete what a killed run left."""
    begun = STORE_FOLDER.check(out, settings)
    shutil.rmtree(out / WORK_NAME, ignore_errors=True)
    try:
        remove_leftovers(out)
        # From here on until its end the store is unfinished.
        (out / MANIFEST_NAME).unlink(missing_ok=True)
        (out / EMBEDDING_NAME).unlink(missing_ok=True)
        (out / WORK_NAME).mkdir(parents=True)
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", path=out, remedy="choose another folder") from error
    if not begun:
        write_json(out / SETTINGS_NAME, settings)


def _log_space(source: Source, out: Path, settings: MediaSettings) -> None:
    kept = TYPICAL_FRAMES
    if settings.frames_per_segment is not None:
        kept = min(kept, settings.segments * settings.frames_per_segment)
    per_clip = 2 * kept * settings.pixels**2 * BYTES_PER_PIXEL + TYPICAL_AUDIO_BYTES
    needed_gb, free_gb = len(source.clips) * per_clip / 1e9, shutil.disk_usage(out).free / 1e9
    message = "%d clips of 15 s take about %.1f GB in all; %.1f GB are free in %s"
    level = logging.WARNING if needed_gb > free_gb else logging.INFO
    _log.log(level, message, len(source.clips), needed_gb, free_gb, out)


def _make_clips(source: Source, shared: ExtractContext, workers: int, progress: Progress) -> _Tally:
    tally = _Tally()
    progress(TASK, 0, len(source.clips))
    results = run_jobs(
        functools.partial(extract_to_store, shared), _jobs(source, shared.out / WORK_NAME, tally), workers
    )
    for finished, (job, result) in enumerate(results, start=1):
        if isinstance(result, ExtractedClip):
            tally.made[job.clip.clip_id] = result
        else:
            failure = _death(job, result) if isinstance(result, WorkerDied) else result
            tally.failures.append(failure)
        tally.left_in_group[job.group] -= 1
        _drop_spills(tally, job.group)
        note = "" if isinstance(result, ExtractedClip) else f"{job.video.shown}: {tally.failures[-1].reason}"
        progress(TASK, finished, len(source.clips), note)
    return tally


def _jobs(source: Source, work_dir: Path, tally: _Tally) -> Iterator[Job]:
    for number, group in enumerate(source.groups(work_dir)):
        if isinstance(group, Failure):
            tally.failures.append(group)
            continue
        tally.left_in_group[number] = len(group.videos)
        tally.spills[number] = group.spills
        _drop_spills(tally, number)
        for video in group.videos:
            yield Job(source.clips[video.clip_id], video, number)


def _drop_spills(tally: _Tally, group: int) -> None:
    """Delete the temporary archives of a group whose videos are all read: disk use stays bounded."""
    if tally.left_in_group[group] == 0:
        for spill in tally.spills.pop(group, ()):
            spill.unlink(missing_ok=True)


def _death(job: Job, death: WorkerDied) -> Failure:
    reason = f"the worker process died (exit code {death.exit_code})"
    remedy = "run again, with fewer workers if memory is short"
    return Failure(job.clip.clip_id, job.video.shown, reason, remedy)


def _absent(source: Source, tally: _Tally) -> list[Failure]:
    """Clips of which there was no video."""
    failed = {failure.clip for failure in tally.failures}
    absent = [clip for clip in source.clips.values() if clip.clip_id not in tally.made and clip.clip_id not in failed]
    if source.skip_missing_splits:
        for split in SPLITS:
            of_split = [clip for clip in source.clips.values() if clip.split == split]
            missing = [clip for clip in absent if clip.split == split]
            if missing and len(missing) == len(of_split):
                if any(not failure.clip and _may_hold(failure.path, split) for failure in tally.failures):
                    continue  # its videos may be in an archive that could not be read
                _log.warning("no video of the %s split is here: its %d clips are left out", split, len(missing))
                absent = [clip for clip in absent if clip.split != split]
    remedy = "put the video there, or take the clip out of the labels"
    return [Failure(clip.clip_id, source.absent(clip.clip_id), "there is no such video", remedy) for clip in absent]


def _may_hold(archive: str, split: Split) -> bool:
    """Whether videos of a split may be in an archive, by its name and those of the archives around it."""
    names = [part.lower() for part in Path(archive).parts if part.lower().endswith(".zip")]
    named = {one for one in SPLITS for name in names if name.startswith(one)}
    return not named or split in named


def _failures_csv(failures: tuple[Failure, ...], clips: Mapping[str, LabelledClip]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("clip", "path", "reason", "remedy", "split"))
    for failure in failures:
        split = clips[failure.clip].split if failure.clip in clips else None
        writer.writerow((failure.clip, failure.path, failure.reason, failure.remedy, split or ""))
    return text.getvalue()
