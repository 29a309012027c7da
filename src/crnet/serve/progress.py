"""Progress of a job: its tasks in order, and the messages that tell how far they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PROGRESS_INTERVAL_S = 0.1
EXPLAINING = "explaining"  # `crnet.explain.explain.TASK`; importing it here would load PyTorch into the server
SCORES_READY = {"scores": "ready"}  # the message between the scores and the explanation
CHECKING, READING = "checking the file", "reading the video"
SCORE_TASKS = (CHECKING, READING, "scoring")
EXPLANATION_TASKS = ("heat maps", "words", "sound", "windows", "pictures", "overlay video", "report")
"""The tasks of a job in order: those before the scores, and those of the explanation."""

MessageHandler = Callable[[dict[str, Any]], None]


class ThrottledProgress:
    """A `Progress` that sends every new task, and its steps no more often than a person can read."""

    def __init__(self, send: MessageHandler) -> None:
        self._send = send
        self._task = ""
        self._sent_at_s = 0.0

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        """See `crnet.utils.progress.Progress`."""
        if task == EXPLAINING:  # each of its steps gets a line on the page
            task, done, total, note = note, int(done >= total), 1, ""
        now_s = time.monotonic()
        if task != self._task or done >= total or now_s - self._sent_at_s > PROGRESS_INTERVAL_S:
            self._task, self._sent_at_s = task, now_s
            self._send({"task": task, "done": done, "total": total, "note": note})
