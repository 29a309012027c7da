"""Queue of jobs: first in, first out, scored by one or more workers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from crnet.errors import StorageError
from crnet.serve.jobs import Job, JobRequest
from crnet.serve.limits import Limits
from crnet.serve.problems import RETRY_SOON_S, ServiceError, cannot_store, not_found
from crnet.serve.progress import SCORES_READY
from crnet.serve.storage import Storage, new_token
from crnet.serve.worker import BUG, NO_SPACE, ScoringJob
from crnet.serve.worker_client import ScoringError, WorkerClient
from crnet.utils.cores import available_cores

logger = logging.getLogger(__name__)

STOPPED = "the server was stopped before this job was done (send the video again)"


class JobQueue:
    """All jobs of the service: those that wait, those that run, and those whose result is kept.

    Args:
        workers: The processes that score videos.
        storage: Where videos and results are.
        limits: Limits for one video.
        allow_no_face: As in `Predictor.predict`, for all videos.
    """

    def __init__(
        self, workers: list[WorkerClient], storage: Storage, limits: Limits, *, allow_no_face: bool = False
    ) -> None:
        self.storage = storage
        self.limits = limits
        self.system_info = workers[0].system_info
        self._allow_no_face = allow_no_face
        self._threads = max(1, available_cores() // len(workers))
        self._idle_workers = list(workers)
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._running: dict[Job, asyncio.Task[None]] = {}
        self._stopping = False
        self.on_end: Callable[[Job], None] = lambda _: None
        """Called with every job that has ended."""

    @property
    def waiting(self) -> int:
        """Number of jobs that wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Number of jobs that are scored now."""
        return len(self._running)

    def require_space(self) -> None:
        """Check that another job may join the queue.

        Raises:
            ServiceError: The queue is full, or the service stops.
        """
        if self._stopping:
            raise ServiceError(503, "stopping", "the server is shutting down", retry_after_s=RETRY_SOON_S)
        if not self._idle_workers and len(self._waiting) >= self.limits.max_waiting:
            raise ServiceError(
                503,
                "queue-full",
                "the queue is full",
                remedy="try again in a few minutes",
                retry_after_s=RETRY_SOON_S,
            )

    def submit(self, request: JobRequest, video: Path, *, is_upload: bool = True) -> Job:
        """Put a video in the queue. An upload moves into the job, which deletes it; another file stays in place.

        Raises:
            ServiceError: The queue is full, the service stops, or the disk has no space; an upload is then deleted.
        """
        self.require_space()
        job = Job(new_token(), request)
        try:
            self.storage.new_job(job.id, video, is_upload=is_upload)
        except OSError as error:
            self.storage.remove_job(job.id)
            if is_upload:
                video.unlink(missing_ok=True)
            raise cannot_store(error) from None
        self._jobs[job.id] = job
        self._waiting.append(job)
        self._start_next()
        return job

    def get(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            ServiceError: There is none of this id, or it has expired.
        """
        try:
            return self._jobs[job_id]
        except KeyError:
            raise not_found("job") from None

    async def cancel(self, job: Job) -> None:
        """End a job and delete its video. Scores that are known stay until the job expires."""
        if job in self._running:
            task = self._running[job]
            await asyncio.sleep(0)  # a task that is cancelled before it has begun would not clean up
            task.cancel()
            await asyncio.wait([task])
        elif job in self._waiting:
            self._waiting.remove(job)
            self._end(job, "cancelled", self._stop_reason())
            self._start_next()

    async def delete(self, job: Job) -> None:
        """End a job and delete everything that belongs to it."""
        await self.cancel(job)
        self.storage.remove_job(job.id)
        self._jobs.pop(job.id, None)

    def remove_expired(self) -> None:
        """Delete the results that are older than the limit."""
        oldest_s = time.monotonic() - 60 * self.limits.keep_minutes
        for job in [job for job in self._jobs.values() if (job.finished_s or oldest_s) < oldest_s]:
            self.storage.remove_job(job.id)
            del self._jobs[job.id]

    async def stop(self, timeout_s: float) -> None:
        """Accept no more jobs, let those that run finish within the timeout, then cancel the others."""
        self._stopping = True
        for job in list(self._waiting):
            await self.cancel(job)
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=timeout_s)
        for job in list(self._running):
            await self.cancel(job)

    def _start_next(self) -> None:
        while self._idle_workers and self._waiting:
            job, worker = self._waiting.popleft(), self._idle_workers.pop()
            job.change(state="running", videos_ahead=0)
            self._running[job] = asyncio.create_task(self._run(job, worker))
        for place, job in enumerate(self._waiting):
            if job.videos_ahead != place + len(self._running):
                job.change(videos_ahead=place + len(self._running))

    async def _run(self, job: Job, worker: WorkerClient) -> None:
        """Score the video of a job and end the job, whatever happens."""
        request = job.request
        scoring = ScoringJob(
            request.name, request.transcript, request.explain, self.limits, self._threads, self._allow_no_face
        )
        folder = self.storage.job_folder(job.id)
        try:
            await worker.score(folder, scoring, lambda message: self._apply(job, message))
            self._end(job, "done")
        except ScoringError as error:
            self._end(job, "failed", str(error))
        except StorageError as error:
            logger.error("cannot store a job: %s", error.reason)
            self._end(job, "failed", NO_SPACE)
        except asyncio.CancelledError:
            self._end(job, "cancelled", self._stop_reason())
        except Exception:
            logger.exception("unexpected error in a job")
            self._end(job, "failed", BUG)
        finally:
            del self._running[job]
            self._idle_workers.append(worker)
            self._start_next()

    def _stop_reason(self) -> str | None:
        """Return why jobs are cancelled now; None: their clients ask for it."""
        return STOPPED if self._stopping else None

    def _apply(self, job: Job, message: Mapping[str, Any]) -> None:
        if message == SCORES_READY:
            job.files = self.storage.result_names(job.id)
        job.apply(message)

    def _end(self, job: Job, state: Any, error: str | None = None) -> None:
        """Delete the video of a job, and all of it if there is no result; then publish the new state."""
        if state == "done":
            job.files = self.storage.result_names(job.id)
        if job.has_scores:
            self.storage.keep_results_only(job.id, job.files)
        else:
            self.storage.remove_job(job.id)
        job.request = replace(job.request, transcript="")
        job.finish(state, error)
        self.on_end(job)
        seconds = round(time.monotonic() - job.created_s, 2)
        logger.info("job ended", extra={"fields": {"state": state, "seconds": seconds, "explain": job.request.explain}})
