"""Progress on stderr: bars on a terminal, a line every few per cent without one, nothing with --quiet."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crnet.cli.terminal import console
from crnet.errors import printable
from crnet.utils.progress import Progress, no_progress

if TYPE_CHECKING:
    from rich.console import Console

LINES_PER_TASK = 50  # a line per epoch where training has the paper's 50
MIN_INTERVAL_S = 1.0
BAR_WIDTH, LONGEST_NAME = 12, 28


@contextlib.contextmanager
def progress_display(quiet: bool = False) -> Iterator[Progress]:
    """Yield a `Progress` that shows the state of work on stderr in the way that suits it."""
    screen = console(stderr=True)
    if quiet or sys.stderr is None:
        yield no_progress
    elif screen.is_terminal:
        with progress_bars(screen) as progress:
            yield progress
    else:
        yield ProgressLines()


@contextlib.contextmanager
def progress_bars(screen: Console) -> Iterator[Progress]:
    """Yield a `Progress` that draws bars; task names and notes are shortened so that the numbers always fit."""
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(BAR_WIDTH),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
    )
    with Bars(*columns, console=screen) as bars:
        tasks: dict[str, TaskID] = {}

        def show(task: str, done: int, total: int, note: str = "") -> None:
            fixed_width = BAR_WIDTH + 2 * len(str(total)) + len("/") + len("100%") + len("left 0:00:00") + 6
            name = shorten(task, min(LONGEST_NAME, screen.width - fixed_width))
            if task not in tasks:
                tasks[task] = bars.add_task(name, total=total, note="")
            free = screen.width - fixed_width - max(len(bar.description) for bar in bars.tasks)
            bars.update(tasks[task], completed=done, total=total, note=shorten(printable(note), free))

        yield show


@dataclass
class ProgressLines:
    """A `Progress` that prints lines: a first one, then up to `LINES_PER_TASK`; none for a task that ends at once.

    Attributes:
        write: Prints one line.
        clock: Returns the time in seconds.
    """

    write: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)
    clock: Callable[[], float] = time.monotonic
    _tasks: dict[str, _TaskState] = field(default_factory=dict)

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        """Print a line if the work has come far enough since the last one."""
        now_s = self.clock()
        state = self._tasks.get(task)
        if state is None or done < state.done or state.done >= total:  # a new task, or the same on other data
            state = self._tasks[task] = _TaskState(now_s, done, now_s)
        state.done = done
        step = done * LINES_PER_TASK // max(total, 1)
        is_finished = done >= total and state.last_step >= 0
        if step > state.last_step and (is_finished or now_s - state.last_s >= MIN_INTERVAL_S):
            state.last_s, state.last_step = now_s, step
            self.write(_line(task, done, total, note, state, now_s))


@dataclass
class _TaskState:
    """When a task started, how far it was then, how far it is, and its last line."""

    start_s: float
    start_done: int
    last_s: float
    last_step: int = -1
    done: int = 0


def _line(task: str, done: int, total: int, note: str, state: _TaskState, now_s: float) -> str:
    elapsed_s = now_s - state.start_s
    text = f"{task}: {done}/{total} ({100 * done // max(total, 1)}%), {_clock_text(elapsed_s)} elapsed"
    if state.start_done < done < total:
        text += f", {_clock_text(elapsed_s * (total - done) / (done - state.start_done))} left"
    return text + (f"; {printable(note)}" if note else "")


def _clock_text(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def shorten(text: str, width: int) -> str:
    """Return the text cut to a width, with an ellipsis where something is missing."""
    if len(text) <= width:
        return text
    return text[: width - 1] + "…" if width > 0 else ""
