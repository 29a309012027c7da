"""Score many videos: worker processes read them, and the networks score each one while the next is read.

On one machine the networks are in the calling process; on a cluster each worker has its own.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from crnet.data.score_sources import ScoreSource
from crnet.data.video_files import FetchFolder, local_video, refuse_folder
from crnet.errors import CrnetError, MissingDependencyError, StorageError
from crnet.media.limits import FileLimits, file_size
from crnet.types import Clip, Prediction
from crnet.utils.executors import Executor, WorkerDied
from crnet.utils.files import sha256
from crnet.utils.resumable import short_fingerprint
from crnet.utils.storage import RemotePath

if TYPE_CHECKING:
    from crnet.media.settings import MediaSettings
    from crnet.text.transcripts import Transcript

READER = "crnet.media.reader"
MOST_FOLDERS = 100  # that each worker of a cluster looks for

logger = logging.getLogger(__name__)

VideoReader = Callable[..., Clip]
"""A function with the signature of `crnet.media.reader.read_video`."""


class VideoScorer(Protocol):
    """The part of `crnet.predict.Predictor` that a batch needs."""

    def media_settings(self) -> MediaSettings:
        """Return how videos are read."""

    def compile(self) -> None:
        """Prepare the networks, which the first score does otherwise."""

    def score(self, clip: Clip, transcript: Transcript, *, allow_no_face: bool = False) -> Prediction:
        """Score a clip."""


@dataclass(frozen=True)
class ReadJob:
    """A video to read.

    Attributes:
        number: Its place in the batch.
        source: The video.
        settings: How videos are read.
        options: Identifies the options that change scores.
        allow_no_face: Also read and score a still picture, and a video without a face.
        known: Input fingerprints for which this video needs no scores.
        copy: Where to fetch a video from object storage to; None: it is on a disk.
    """

    number: int
    source: ScoreSource
    settings: MediaSettings
    options: str
    allow_no_face: bool
    known: frozenset[str]
    copy: Path | None


@dataclass(frozen=True)
class ScoredVideo:
    """The result of a video.

    Attributes:
        prediction: The scores, or why there are none; None if its input fingerprint was known.
        seconds: How long it took to read and score.
        file_sha256: SHA-256 of the video; "" if it cannot be read.
        input_fingerprint: Identifies the video's content, its transcript and the options that change scores.
    """

    prediction: Prediction | None
    seconds: float
    file_sha256: str
    input_fingerprint: str


@dataclass(frozen=True)
class _ReadVideo:
    """What a worker found out: words and clip, or the reason why there is no clip; neither if the input is known."""

    words: Transcript | None
    clip: Clip | None
    reason: str
    seconds: float
    file_sha256: str
    input_fingerprint: str


@dataclass
class Scoring:
    """Scores the clips that workers have read, with a system that it loads once in each process.

    Attributes:
        load: Returns the system.
        read_settings: Returns how videos are read, without loading the system; None: the system says it.
        folder: Where the system is, which every node of a cluster must see; None: in memory.
    """

    load: Callable[[], VideoScorer]
    read_settings: Callable[[], MediaSettings] | None = None
    folder: Path | None = None
    _system: Future[VideoScorer] | None = None

    def system(self) -> VideoScorer:
        """Return the system; load it, or wait until it is loaded."""
        if self._system is None:
            system = Future[VideoScorer]()
            system.set_result(self.load())
            self._system = system
        return self._system.result()

    def start(self) -> None:
        """Load the system in the background, with its networks compiled."""
        if self._system is None:
            pool = ThreadPoolExecutor(1)
            self._system = pool.submit(_compiled, self.load)
            pool.shutdown(wait=False)

    def media_settings(self) -> MediaSettings:
        """Return how videos are read."""
        return self.system().media_settings() if self.read_settings is None else self.read_settings()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_system": None}

    def __call__(self, job: ReadJob, result: _ReadVideo | WorkerDied) -> ScoredVideo:
        """Score a clip, or turn the reason why there is none into a prediction."""
        started_s = time.perf_counter()
        if isinstance(result, WorkerDied):
            reason, remedy = result.explain("reading it")
            error = str(CrnetError(reason, path=job.source.path, remedy=remedy))
            result = _ReadVideo(None, None, error, 0.0, _sha256(job.copy or job.source.path), "")
            if job.copy is not None:
                job.copy.unlink(missing_ok=True)
        prediction = self._prediction(job, result)
        seconds = result.seconds + time.perf_counter() - started_s
        return ScoredVideo(prediction, seconds, result.file_sha256, result.input_fingerprint)

    def _prediction(self, job: ReadJob, result: _ReadVideo) -> Prediction | None:
        words, clip = result.words, result.clip
        if result.reason:
            return _failed(job, result.reason)
        if words is None or clip is None:
            return None
        system = self.system()
        scored = _or_reason(job.source.path, lambda: system.score(clip, words, allow_no_face=job.allow_no_face))
        return replace(scored, clip=job.source.clip) if isinstance(scored, Prediction) else _failed(job, scored)


def _compiled(load: Callable[[], VideoScorer]) -> VideoScorer:
    system = load()
    system.compile()
    return system


def read_video(path: Path, settings: MediaSettings, *, allow_still: bool) -> Clip:
    """Call `crnet.media.reader.read_video`. Importing this module does not import that one, which takes a second."""
    from crnet.media import reader

    return reader.read_video(path, settings, allow_still=allow_still)


def predict_videos(
    scoring: Scoring,
    sources: Iterable[ScoreSource],
    *,
    allow_no_face: bool = False,
    executor: Executor | None = None,
    limits: FileLimits | None = None,
    read: VideoReader = read_video,
) -> Iterator[Prediction]:
    """Score videos, and yield the predictions in the order of the sources; see `Predictor.predict_many`.

    Args:
        scoring, sources, allow_no_face, executor, limits, read: See `score_videos`.

    Raises:
        CrnetError: The system cannot be loaded, or every further video would fail for the same reason.
    """
    finished: dict[int, Prediction] = {}  # a prediction is small, unlike a clip, and may wait for its turn
    upcoming = 0
    results = score_videos(scoring, sources, allow_no_face=allow_no_face, executor=executor, limits=limits,
                           read=read)  # fmt: skip
    for job, scored in results:
        assert scored.prediction is not None  # noqa: S101  # no fingerprint was known
        finished[job.number] = scored.prediction
        while upcoming in finished:
            yield finished.pop(upcoming)
            upcoming += 1


def score_videos(
    scoring: Scoring,
    sources: Iterable[ScoreSource],
    *,
    options: str = "",
    known: Callable[[str], frozenset[str]] = lambda clip: frozenset(),
    allow_no_face: bool = False,
    executor: Executor | None = None,
    limits: FileLimits | None = None,
    read: VideoReader = read_video,
    purpose: str | None = None,
) -> Iterator[tuple[ReadJob, ScoredVideo]]:
    """Score videos, and yield each result as soon as it is there.

    Args:
        scoring: Scores the clips. Beside worker processes of this machine, its system is loaded while the first of them
            starts and reads.
        sources: The videos.
        options: Identifies the options of the system that change scores; part of the input fingerprints.
        known: Returns the input fingerprints for which a clip needs no scores. Its video is then only hashed.
        allow_no_face: See `Predictor.predict`.
        executor: Where videos are read; None: in one worker process.
        limits: See `Predictor.predict_many`.
        read: Reads a video in a worker.
        purpose: See `FetchFolder`; None: no other run has the same.

    Raises:
        CrnetError: The system cannot be loaded, or every further video would fail for the same reason.
    """
    options = short_fingerprint({"options": options, "allow no face": allow_no_face})
    executor = executor or Executor(1)

    def jobs() -> Iterator[ReadJob]:
        settings = scoring.media_settings()
        for number, source in enumerate(sources):
            inputs = known(source.clip)
            if not inputs and executor.has_local_workers:
                scoring.start()
            copy = fetched.copy_of(source.path, number)
            yield ReadJob(number, source, settings, options, allow_no_face, inputs, copy)

    job_limits = (limits or FileLimits()).of_jobs(_video_bytes)
    preload = (READER,) if read is read_video else ()
    function = functools.partial(_read, read)
    reads: list[Path] = []
    if executor.cluster is not None:
        sources = list(sources)
        reads = [*([scoring.folder] if scoring.folder else []), *_one_of_each_folder(sources)]
    with FetchFolder(purpose or uuid4().hex) as fetched:
        yield from executor.run(function, jobs(), limits=job_limits, preload=preload, finish=scoring, reads=reads)


def _one_of_each_folder(sources: Iterable[ScoreSource]) -> list[Path]:
    """Return a video of each folder, by which a node of a cluster shows that it sees the same storage."""
    found = dict[Path, Path]()
    for source in sources:
        path = source.path
        if not isinstance(path, RemotePath) and path.parent not in found and path.is_file():
            found[path.parent] = path
            if len(found) == MOST_FOLDERS:
                break
    return list(found.values())


def _video_bytes(job: ReadJob) -> int:
    return file_size(job.source.path)


def _read(read: VideoReader, job: ReadJob) -> _ReadVideo:
    """Read a video and its transcript in a worker, unless its input is known."""
    from crnet.text.transcripts import Transcript, find_transcript

    started_s = time.perf_counter()
    path, given = job.source.path, job.source.transcript
    words: Transcript | None = None
    file_sha256 = ""

    def read_both() -> Clip | None:
        nonlocal words, file_sha256
        refuse_folder(path)
        with local_video(path, job.copy) as file:
            try:
                words = given if isinstance(given, Transcript) else find_transcript(path, given)
                if job.known:
                    file_sha256 = _sha256(file)
                    if _input_fingerprint(job, words, file_sha256) in job.known:
                        return None
                clip = read(file, job.settings, allow_still=job.allow_no_face)
                file_sha256 = clip.source_sha256
                return clip
            finally:
                file_sha256 = file_sha256 or _sha256(file)

    clip = _or_reason(path, read_both)
    reason = clip if isinstance(clip, str) else ""
    clip = clip if isinstance(clip, Clip) else None
    fingerprint = _input_fingerprint(job, words, file_sha256)
    return _ReadVideo(words, clip, reason, time.perf_counter() - started_s, file_sha256, fingerprint)


def _input_fingerprint(job: ReadJob, words: Transcript | None, file_sha256: str) -> str:
    text = None if words is None or words.is_missing else words.text
    return short_fingerprint({"file": file_sha256, "transcript": text, "options": job.options})


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a file; "" if it cannot be read, which reading it as a video will report."""
    try:
        return sha256(path)
    except OSError:
        return ""


def _failed(job: ReadJob, reason: str) -> Prediction:
    return Prediction(job.source.clip, None, None, error=reason)


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
