"""Jobs in worker processes, one at a time each. A worker that dies costs its job, not the run."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from crnet.errors import UsageError

Job = TypeVar("Job")
Result = TypeVar("Result")

PATIENCE_S = 10.0  # for a worker that has been told to end
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_READY, _DONE, _RAISED = range(3)


@dataclass(frozen=True)
class WorkerDied:
    """The process that had the job is gone; `exit_code` is negative for a signal."""

    exit_code: int | None


@dataclass(eq=False)
class _Worker:
    process: SpawnProcess
    connection: Connection
    job: Any = None  # None while it starts


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Iterator[tuple[Job, Result | WorkerDied]]:
    """Do jobs, and yield each with its result when it is finished, in any order.

    Args:
        function: Does one job; pickled once for each worker. What it raises ends the run and is raised here.
        jobs: Drawn one by one as workers become free; none may be None.
        workers: Number of processes, each with one compute thread; 0 does the jobs in this process.

    Raises:
        UsageError: Processes cannot be started.
    """
    if workers == 0:
        for job in jobs:
            yield job, function(job)
        return
    waiting = iter(jobs)
    first = list(islice(waiting, workers))
    waiting = chain(first, waiting)
    team: dict[Connection, _Worker] = {}
    try:
        for _ in first:
            _start(team, function)
        while team:
            for ready in connection.wait(list(team)):
                finished = _attend(team, team[ready], waiting, function)  # type: ignore[index]  # always a Connection
                if finished is not None:
                    yield finished
    finally:
        for worker in team.values():
            worker.process.terminate()
            _end(worker)


def _attend(
    team: dict[Connection, _Worker], worker: _Worker, waiting: Iterator[Job], function: Callable[[Job], Result]
) -> tuple[Job, Result | WorkerDied] | None:
    """Take what a worker has to say and give it its next job; what it has finished, if it had a job."""
    job = worker.job
    try:
        kind, answer = worker.connection.recv()
    except (EOFError, ConnectionResetError):
        del team[worker.connection]
        _end(worker)
        if job is None:
            raise UsageError(
                "worker processes cannot be started",
                remedy="in a script, call it below `if __name__ == '__main__':`, or use 0 workers",
            ) from None
        _start(team, function)
        return job, WorkerDied(worker.process.exitcode)
    if kind == _RAISED:
        raise answer
    worker.job = next(waiting, None)
    if worker.job is None:
        del team[worker.connection]
        _end(worker)
    else:
        worker.connection.send(worker.job)
    return None if kind == _READY else (job, answer)


def _start(team: dict[Connection, _Worker], function: Callable[[Any], Any]) -> None:
    context = get_context("spawn")  # a fork would copy the locks of threads that it does not copy
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    team[ours] = _Worker(process, ours)
    ours.send(function)


def _end(worker: _Worker) -> None:
    worker.connection.close()
    worker.process.join(PATIENCE_S)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()


def _end_with_parent() -> None:
    """From now on this process ends as soon as its parent does, also in the middle of a job that takes an hour."""
    parent = parent_process()
    assert parent is not None  # noqa: S101  # we are a worker

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _serve(jobs: Connection) -> None:
    """What a worker process does: jobs until the other end closes or the main process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends us
    _end_with_parent()
    for variable in THREAD_VARIABLES:
        os.environ[variable] = "1"  # before the function's modules are imported with it
    try:
        function = jobs.recv()
        jobs.send((_READY, None))
        while True:
            job = jobs.recv()
            try:
                answer = (_DONE, function(job))
            except Exception as error:
                answer = (_RAISED, error)
            jobs.send(answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
