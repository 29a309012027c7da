"""Queue of scoring jobs: take a request, wait for a free worker, score the video, publish the result."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnet.serve.limits import Limits
from crnet.serve.storage import Storage, display_name
from crnet.serve.worker import MessageHandler, ScoringJob
from crnet.serve.worker_client import ScoringError, WorkerClient
from crnet.utils.executors import available_cores

POLL_INTERVAL_S = 0.2
WAITING = "waiting"


@dataclass(frozen=True)
class ScoringResult:
    """Result of one video.

    Attributes:
        name: Name that the visitor gave the video.
        prediction: `Prediction.to_dict()`.
        explanation: Summary of the explanation, if the request included one.
        token: Name of the folder that holds the files of the result.
        files: Names of those files.
    """

    name: str
    prediction: dict[str, Any]
    explanation: dict[str, Any] | None
    token: str
    files: tuple[str, ...]

    def url(self, name: str) -> str:
        """Return the address of a file of the result, relative to the page."""
        return f"results/{self.token}/{name}"


@dataclass(frozen=True)
class ScoringRequest:
    """Request of a visitor to score one video.

    Attributes:
        upload: Path of the video as the upload returned it.
        name: Name that the visitor gave the video.
        transcript: Spoken words.
        explain: Also produce heat maps, contributions and the report.
        keep_upload: Keep the upload so that it can be scored again.
    """

    upload: str
    name: str
    transcript: str
    explain: bool
    keep_upload: bool = False


class JobQueue:
    """First-in, first-out queue of all visitors' videos, served by one or more workers.

    Args:
        workers: The processes that score videos.
        storage: Where uploads and results are.
        limits: Limits for one video.
        allow_no_face: As in `Predictor.predict`, for all videos.
    """

    def __init__(
        self, workers: list[WorkerClient], storage: Storage, limits: Limits, *, allow_no_face: bool = False
    ) -> None:
        self.limits = limits
        self.allow_no_face = allow_no_face
        self.storage = storage
        self.system_info = workers[0].system_info
        self._workers = workers
        self._idle_workers = list(workers)
        self._queue: deque[object] = deque()
        self._threads = max(1, available_cores() // len(workers))

    async def score(self, request: ScoringRequest, on_progress: MessageHandler) -> ScoringResult:
        """Score one video; cancelling the task leaves the queue and stops the work.

        Args:
            request: What to score.
            on_progress: Called with `{"task", "done", "total", "note"}`; while the job waits, `done` is the number of
                videos ahead of it.

        Raises:
            ScoringError: The video cannot be scored; the text is for the visitor.
        """
        upload = self.storage.upload(request.upload)
        with self.storage.job_folder(upload, keep_upload=request.keep_upload) as folder:
            async with self._idle_worker(on_progress) as worker:
                name = display_name(request.name)
                job = ScoringJob(
                    name, request.transcript, request.explain, self.limits, self._threads, self.allow_no_face
                )
                output = await worker.score(folder, job, on_progress)
            return self._publish(folder, name, output)

    def _publish(self, folder: Path, name: str, output: dict[str, Any]) -> ScoringResult:
        token = self.storage.publish(folder)
        files = sorted(path.name for path in (self.storage.folder / "results" / token).iterdir())
        return ScoringResult(name, output["prediction"], output.get("explanation"), token, tuple(files))

    @asynccontextmanager
    async def _idle_worker(self, on_progress: MessageHandler) -> AsyncIterator[WorkerClient]:
        """Wait in the queue for an idle worker.

        Raises:
            ScoringError: The queue is full.
        """
        if not self._idle_workers and len(self._queue) >= self.limits.max_waiting:
            raise ScoringError("the queue is full", remedy="try again in a few minutes")
        ticket = object()
        self._queue.append(ticket)
        reported_ahead = -1
        try:
            while self._queue[0] is not ticket or not self._idle_workers:
                ahead = self._queue.index(ticket) + len(self._workers) - len(self._idle_workers)
                if ahead != reported_ahead:
                    reported_ahead = ahead
                    on_progress({"task": WAITING, "done": ahead, "total": ahead, "note": ""})
                await asyncio.sleep(POLL_INTERVAL_S)
            worker = self._idle_workers.pop()
        finally:
            self._queue.remove(ticket)
        try:
            yield worker
        finally:
            self._idle_workers.append(worker)


async def score_with_progress(
    job_queue: JobQueue, request: ScoringRequest
) -> AsyncIterator[dict[str, Any] | ScoringResult]:
    """Yield the progress messages of `JobQueue.score`, then the result; closing the iterator cancels the job."""
    messages: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    task = asyncio.create_task(job_queue.score(request, messages.put_nowait))
    task.add_done_callback(lambda _: messages.put_nowait(None))
    try:
        while (message := await messages.get()) is not None:
            yield message
        yield await task
    finally:
        task.cancel()
