"""A job: one video on its way from the queue to its result, and the progress that clients can follow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from crnet.serve.progress import EXPLANATION_TASKS, SCORE_TASKS, SCORES_READY

State = Literal["queued", "running", "done", "failed", "cancelled"]
FINAL: tuple[State, ...] = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class JobRequest:
    """What a client asks for.

    Attributes:
        name: Name that the visitor gave the video.
        transcript: Spoken words; "" if unknown.
        explain: Also produce heat maps, contributions and the report.
    """

    name: str
    transcript: str
    explain: bool


@dataclass(eq=False)
class Job:
    """A job and its progress.

    Attributes:
        id: Name in the API; whoever knows it can read and delete the job.
        request: What the client asked for.
        state: Where the job is.
        videos_ahead: Number of videos that are scored before this one, while it is queued.
        task, note: What the worker does now, with a detail such as the length of the video.
        score_progress, explanation_progress: Shares done, from 0 to 1.
        has_scores: The scores can be read; the explanation may follow.
        error: Why the job failed.
        files: Names of the files of the result that can be read.
        created_s, finished_s: On the monotonic clock, which nobody can set.
        first_scores_s: Seconds from creation to the scores.
        followers: Number of clients that follow the job.
    """

    id: str
    request: JobRequest
    state: State = "queued"
    videos_ahead: int = 0
    task: str = ""
    note: str = ""
    score_progress: float = 0.0
    explanation_progress: float = 0.0
    has_scores: bool = False
    error: str | None = None
    files: tuple[str, ...] = ()
    created_s: float = field(default_factory=time.monotonic)
    finished_s: float | None = None
    first_scores_s: float | None = None
    followers: int = 0
    version: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_final(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in FINAL

    def change(self, **values: Any) -> None:
        """Set attributes and tell everyone who follows the job."""
        for name, value in values.items():
            setattr(self, name, value)
        self.version += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def apply(self, message: Mapping[str, Any]) -> None:
        """Apply a progress message of the worker."""
        if message == SCORES_READY:
            self.change(has_scores=True, score_progress=1.0, first_scores_s=time.monotonic() - self.created_s)
            return
        share = message["done"] / message["total"] if message["total"] else 0.0
        tasks = EXPLANATION_TASKS if self.has_scores else SCORE_TASKS
        task = message["task"] if message["task"] in tasks else self.task  # others are steps of the last one
        progress = "explanation_progress" if self.has_scores else "score_progress"
        if task in tasks:
            self.change(task=task, note=message["note"], **{progress: (tasks.index(task) + share) / len(tasks)})

    def finish(self, state: State, error: str | None = None) -> None:
        """End the job."""
        done = {"score_progress": 1.0, "explanation_progress": 1.0} if state == "done" else {}
        self.change(state=state, error=error, finished_s=time.monotonic(), task="", note="", videos_ahead=0, **done)

    async def updates(self) -> AsyncIterator[None]:
        """Yield now and after every change until the job has ended; changes that come too fast are merged."""
        seen = -1
        while True:
            changed = self._changed
            if self.version != seen:
                seen = self.version
                yield
            if self.is_final and self.version == seen:
                return
            if self.version == seen:
                await changed.wait()
