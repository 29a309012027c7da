"""How long-running functions report their progress, without printing."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A function that receives the progress of a task; the command line draws it as a bar with an ETA."""

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        """Report that `done` of `total` steps of `task` are finished.

        Args:
            task: The task in a few words; a new name starts a new bar.
            done: Finished steps, from 0.
            total: All steps.
            note: What a watcher may want to know at this moment, such as a score or a failure.
        """


def no_progress(task: str, done: int, total: int, note: str = "") -> None:
    """Ignore progress reports."""
