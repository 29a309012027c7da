"""Score many videos: worker processes read them, and the networks score each one here while the next is read."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from crnet.data.video_files import refuse_folder
from crnet.errors import CrnetError, MissingDependencyError, StorageError
from crnet.media.limits import FileLimits, file_size
from crnet.types import Clip, Prediction
from crnet.utils.executors import WorkerDied, run_jobs

if TYPE_CHECKING:
    from crnet.media.settings import MediaSettings
    from crnet.text.transcripts import Transcript

READER = "crnet.media.reader"

logger = logging.getLogger(__name__)

VideoReader = Callable[..., Clip]
"""A function with the signature of `crnet.media.reader.read_video`."""


class VideoScorer(Protocol):
    """The part of `crnet.predict.Predictor` that a batch needs."""

    def media_settings(self) -> MediaSettings:
        """Return how videos are read."""

    def score(self, clip: Clip, transcript: Transcript, *, allow_no_face: bool = False) -> Prediction:
        """Score a clip."""


@dataclass(frozen=True)
class ReadJob:
    """A video to read.

    Attributes:
        number: Its place in the batch.
        path: The video.
        transcript: See `Predictor.predict`.
        settings: How videos are read.
        allow_still: Also read a still picture.
    """

    number: int
    path: Path
    transcript: str | Path | None
    settings: MediaSettings
    allow_still: bool


def read_video(path: Path, settings: MediaSettings, *, allow_still: bool) -> Clip:
    """Call `crnet.media.reader.read_video`. Importing this module does not import that one, which takes a second."""
    from crnet.media import reader

    return reader.read_video(path, settings, allow_still=allow_still)


def predict_videos(
    load: Callable[[], VideoScorer],
    paths: Iterable[Path],
    transcript: str | Path | None = None,
    *,
    allow_no_face: bool = False,
    workers: int = 1,
    limits: FileLimits | None = None,
    read: VideoReader = read_video,
) -> Iterator[Prediction]:
    """Score videos, and yield the predictions in the order of the paths; see `Predictor.predict_many`.

    Args:
        load: Returns the system. It is called once, while the first worker starts.
        paths: The videos.
        transcript, allow_no_face, workers, limits: See `Predictor.predict_many`.
        read: Reads a video in a worker.

    Raises:
        CrnetError: The system cannot be loaded, or every further video would fail for the same reason.
    """
    system = functools.cache(load)

    def jobs() -> Iterator[ReadJob]:
        settings = system().media_settings()
        for number, path in enumerate(paths):
            yield ReadJob(number, path, transcript, settings, allow_no_face)

    limits = limits or FileLimits()
    job_limits = limits.of_jobs(_video_bytes)
    preload = (READER,) if read is read_video else ()
    results = run_jobs(functools.partial(_read, read), jobs(), workers, limits=job_limits, preload=preload)
    finished: dict[int, Prediction] = {}  # a prediction is small, unlike a clip, and may wait for its turn
    upcoming = 0
    for job, result in results:
        finished[job.number] = _score(system(), job, result)
        while upcoming in finished:
            yield finished.pop(upcoming)
            upcoming += 1


def _video_bytes(job: ReadJob) -> int:
    return file_size(job.path)


def _read(read: VideoReader, job: ReadJob) -> tuple[Transcript, Clip] | str:
    """Read a video and its transcript in a worker; return the reason if that fails."""
    from crnet.text.transcripts import find_transcript

    def read_both() -> tuple[Transcript, Clip]:
        refuse_folder(job.path)
        words = find_transcript(job.path, job.transcript)
        return words, read(job.path, job.settings, allow_still=job.allow_still)

    return _or_reason(job.path, read_both)


def _score(system: VideoScorer, job: ReadJob, result: tuple[Transcript, Clip] | str | WorkerDied) -> Prediction:
    """Score a clip, or turn the reason why there is none into a prediction."""
    if isinstance(result, WorkerDied):
        reason, remedy = result.explain("reading it")
        result = str(CrnetError(reason, path=job.path, remedy=remedy))
    if isinstance(result, str):
        return _failed(job.path, result)
    words, clip = result
    scored: Prediction | str = _or_reason(job.path, lambda: system.score(clip, words, allow_no_face=job.allow_still))
    return scored if isinstance(scored, Prediction) else _failed(job.path, scored)


def _failed(path: Path, reason: str) -> Prediction:
    return Prediction(str(path), None, None, error=reason)


def _or_reason(path: Path, work: Callable[[], Any]) -> Any:
    """Return the result of a function, or the reason if it fails: one odd file must not end a batch.

    Raises:
        MissingDependencyError, StorageError: Every further video would fail for the same reason.
    """
    try:
        return work()
    except (MissingDependencyError, StorageError):
        raise
    except CrnetError as error:
        return str(error)
    except Exception as error:
        logger.debug("unexpected error in %s", path, exc_info=True)
        return f"{path}: unexpected {type(error).__name__}: {error}"
