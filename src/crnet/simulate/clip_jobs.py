"""Run one job for each clip of a dataset, in this process or in worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import cv2

from crnet.errors import CrnetError
from crnet.simulate.planning import ClipPlan
from crnet.utils.executors import Executor, WorkerDied
from crnet.utils.progress import Progress

TASK = "drawing synthetic people"

Result = TypeVar("Result")


def run_clip_jobs(
    job: Callable[[ClipPlan], Result],
    plans: Sequence[ClipPlan],
    executor: Executor,
    progress: Progress,
    total: int,
    out: Path,
) -> list[Result]:
    """Run a job for each plan, and return the results in the order in which they are finished.

    Args:
        job: Writes one clip. Worker processes receive it pickled.
        plans: Clips to write.
        executor: Where the jobs run.
        progress: Called after each clip.
        total: Number of clips in the dataset; those that are not in `plans` count as done.
        out: The folder of the clips.

    Raises:
        CrnetError: A worker process died.
    """
    results: list[Result] = []
    done = total - len(plans)
    progress(TASK, done, total)
    for plan, result in executor.run(job, plans, writes_to=out):
        if isinstance(result, WorkerDied):
            reason, remedy = result.explain(f"drawing {plan.name}")
            raise CrnetError(reason, remedy=remedy)
        results.append(result)
        progress(TASK, done + len(results), total)
    return results


@contextmanager
def single_opencv_thread() -> Iterator[None]:
    """Limit OpenCV to one thread: on pictures this small, more threads cost more than they save."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
