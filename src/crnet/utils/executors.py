"""Jobs in worker processes, one job at a time each. When a worker dies, only its current job fails.

Each worker has its own pipe, so a killed worker can neither block the others nor take their jobs with it.
Maintained pools do not guarantee that. In `concurrent.futures` and loky, every pending job fails when one worker dies.
Pebble (5.2.3) survives, but its workers share one pipe: if a worker is killed right after it takes a job while threads
of the parent are busy, the whole pool gives up with "All workers expired". On two busy cores that took at most five
killed workers; this module lost no other job in 160.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from crnet.errors import UsageError

if sys.platform == "linux":
    import fcntl

Job = TypeVar("Job")
Result = TypeVar("Result")

SHUTDOWN_TIMEOUT_S = 10.0  # a worker that has not ended by then is killed
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_READY, _DONE, _RAISED = range(3)


@dataclass(frozen=True)
class WorkerDied:
    """Stands for the result of a job whose process died; `exit_code` is negative after a signal."""

    exit_code: int | None


@dataclass(eq=False)
class _Worker:
    process: SpawnProcess
    connection: Connection
    job: Any = None  # None while the process starts


def available_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_processes(workers: int | None) -> int:
    """Return the number of worker processes that a `workers` argument or `--workers` asks for.

    The argument means the same everywhere: 0 works in this process, N starts N worker processes, and None starts one
    per core. Results do not depend on it.

    Raises:
        UsageError: The number is negative.
    """
    if workers is None:
        return available_cores()
    if workers < 0:
        raise UsageError(f"{workers} workers", remedy="use 0 or more; 0 works in this process")
    return workers


def run_jobs(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Iterator[tuple[Job, Result | WorkerDied]]:
    """Run jobs in worker processes, and yield each job with its result as soon as it is finished, in any order.

    All workers end with this generator and with this process, also in the middle of a job and also after `kill -9`.

    Args:
        function: Runs one job. It is pickled once for each worker. An exception it raises ends the run and is raised
            here.
        jobs: Drawn one by one as workers become free; None is not a job.
        workers: Number of processes, each with one compute thread; 0 runs the jobs in this process (see
            `worker_processes`).

    Raises:
        UsageError: Worker processes cannot be started.
    """
    if workers == 0:
        for job in jobs:
            yield job, function(job)
        return
    remaining = iter(jobs)
    first = list(islice(remaining, workers))
    remaining = chain(first, remaining)
    pool: dict[Connection, _Worker] = {}
    try:
        for _ in first:
            _start_worker(pool, function)
        while pool:
            for ready in connection.wait(list(pool)):
                finished = _receive(pool, pool[ready], remaining, function)  # type: ignore[index]  # a Connection
                if finished is not None:
                    yield finished
    finally:
        for worker in pool.values():
            worker.process.terminate()
            _end_worker(worker)


def _receive(
    pool: dict[Connection, _Worker], worker: _Worker, remaining: Iterator[Job], function: Callable[[Job], Result]
) -> tuple[Job, Result | WorkerDied] | None:
    """Receive a worker's message and send it the next job. Return the job that it finished, if it had one."""
    job = worker.job
    try:
        kind, answer = worker.connection.recv()
    except (EOFError, ConnectionResetError):
        del pool[worker.connection]
        _end_worker(worker)
        if job is None:
            raise UsageError(
                "worker processes cannot be started",
                remedy="in a script, call it below `if __name__ == '__main__':`, or use 0 workers",
            ) from None
        _start_worker(pool, function)
        return job, WorkerDied(worker.process.exitcode)
    if kind == _RAISED:
        raise answer
    worker.job = next(remaining, None)
    if worker.job is None:
        del pool[worker.connection]
        _end_worker(worker)
    else:
        worker.connection.send(worker.job)
    return None if kind == _READY else (job, answer)


def _start_worker(pool: dict[Connection, _Worker], function: Callable[[Any], Any]) -> None:
    context = get_context("spawn")  # fork would copy locks held by threads that it does not copy
    parent_end, worker_end = context.Pipe()
    process = context.Process(target=_serve, args=(worker_end,), daemon=True)
    process.start()
    worker_end.close()
    pool[parent_end] = _Worker(process, parent_end)
    parent_end.send(function)


def _end_worker(worker: _Worker) -> None:
    worker.connection.close()
    worker.process.join(SHUTDOWN_TIMEOUT_S)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()


def _end_with_parent() -> None:
    """Make this process end as soon as its parent does, even in the middle of a job that takes an hour.

    A thread waits for the end of the parent. It needs the interpreter, which native code can hold for as long as it
    runs, so on Linux the kernel also kills this process when the parent's end of their pipe closes (man 2 fcntl).
    prctl's PR_SET_PDEATHSIG would instead fire at the end of the thread that started this process.
    """
    parent = parent_process()
    assert parent is not None  # noqa: S101  # only workers call this

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    if sys.platform == "linux":
        fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(parent.sentinel, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(parent.sentinel, fcntl.F_GETFL)
        fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, flags | os.O_ASYNC)
    threading.Thread(target=wait, daemon=True).start()  # also notices a parent that ended before these calls


def _serve(jobs: Connection) -> None:
    """Run jobs in a worker process until the parent closes the pipe or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl+C the parent ends its workers
    _end_with_parent()
    for variable in THREAD_VARIABLES:
        os.environ[variable] = "1"  # must be set before the function's modules are imported with it
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
