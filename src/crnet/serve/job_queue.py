"""Takes videos in, lets them wait their turn, has them scored, and hands the results out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnet.serve.limits import Limits
from crnet.serve.storage import Storage, shown_name
from crnet.serve.worker import Order, Tell
from crnet.serve.worker_client import Scorer, ScoringError
from crnet.utils.executors import available_cores

LOOK_EVERY_S = 0.2  # whether it is somebody's turn
WAITING = "waiting"


@dataclass(frozen=True)
class Result:
    """What came out for one video.

    Attributes:
        name: The visitor's name of it.
        prediction: `Prediction.to_dict()`.
        explanation: What explains it, if that was asked for.
        token: Names the folder of its files.
        files: Names of its files.
    """

    name: str
    prediction: dict[str, Any]
    explanation: dict[str, Any] | None
    token: str
    files: tuple[str, ...]

    def url(self, name: str) -> str:
        """Where a file of the result is, relative to the page."""
        return f"results/{self.token}/{name}"


@dataclass(frozen=True)
class Request:
    """What a visitor wants.

    Attributes:
        upload: Path of the video as the upload returned it.
        name: What the visitor calls it.
        transcript: What is said.
        explain: Also make heat maps, contributions and the report.
        keep_upload: Leave the upload for another try.
    """

    upload: str
    name: str
    transcript: str
    explain: bool
    keep_upload: bool = False


class Desk:
    """All visitors' videos in the order in which they came; as many at once as there are scorers."""

    def __init__(self, scorers: list[Scorer], storage: Storage, limits: Limits) -> None:
        self.limits = limits
        self.storage = storage
        self.facts = scorers[0].facts
        self._scorers = scorers
        self._free = list(scorers)
        self._line: deque[object] = deque()
        self._threads = max(1, available_cores() // len(scorers))

    async def score(self, request: Request, tell: Tell) -> Result:
        """Score one video; cancelled, it gives its place up and stops the work.

        Args:
            request: What is wanted.
            tell: Called with `{"task", "done", "total", "note"}`; while waiting, `done` is the number of videos
                before this one.

        Raises:
            ScoringError: It cannot be scored, with the reason for the visitor.
        """
        upload = self.storage.upload(request.upload)
        with self.storage.job(upload, keep_upload=request.keep_upload) as folder:
            async with self._turn(tell) as scorer:
                name = shown_name(request.name)
                order = Order(name, request.transcript, request.explain, self.limits, self._threads)
                made = await scorer.score(folder, order, tell)
            return self._publish(folder, name, made)

    def _publish(self, folder: Path, name: str, made: dict[str, Any]) -> Result:
        token = self.storage.publish(folder)
        files = sorted(path.name for path in (self.storage.folder / "results" / token).iterdir())
        return Result(name, made["prediction"], made.get("explanation"), token, tuple(files))

    @asynccontextmanager
    async def _turn(self, tell: Tell) -> AsyncIterator[Scorer]:
        """Wait in line for a free scorer.

        Raises:
            ScoringError: The line is too long.
        """
        if not self._free and len(self._line) >= self.limits.waiting:
            raise ScoringError("too many videos are waiting already", remedy="try again in a few minutes")
        place = object()
        self._line.append(place)
        told = -1
        try:
            while self._line[0] is not place or not self._free:
                before = self._line.index(place) + len(self._scorers) - len(self._free)
                if before != told:
                    told = before
                    tell({"task": WAITING, "done": before, "total": before, "note": ""})
                await asyncio.sleep(LOOK_EVERY_S)
            scorer = self._free.pop()
        finally:
            self._line.remove(place)
        try:
            yield scorer
        finally:
            self._free.append(scorer)


async def follow(desk: Desk, request: Request) -> AsyncIterator[dict[str, Any] | Result]:
    """`Desk.score` as a stream of what it tells, with the result as the last item; closing the stream cancels it."""
    told: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    task = asyncio.create_task(desk.score(request, told.put_nowait))
    task.add_done_callback(lambda _: told.put_nowait(None))
    try:
        while (message := await told.get()) is not None:
            yield message
        yield await task
    finally:
        task.cancel()
