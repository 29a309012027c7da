"""How long work tells the outside how far it is, without printing."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the state of a piece of work; the command line draws it as a bar with an ETA."""

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        """Say that `done` of `total` steps of `task` are finished.

        Args:
            task: What is going on, in a few words; a new name begins a new bar.
            done: Steps finished, from 0.
            total: Steps in all.
            note: What a watcher may want to know right now (a score, a failure).
        """


def no_progress(task: str, done: int, total: int, note: str = "") -> None:
    """The progress of a caller who does not look."""
