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
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from types import ModuleType
from typing import Any, TypeVar

from crnet.errors import UsageError
from crnet.utils.job_limits import Exceeded, JobLimits, JobWatch

if sys.platform == "linux":
    import fcntl

Job = TypeVar("Job")
Result = TypeVar("Result")

SHUTDOWN_TIMEOUT_S = 10.0  # a worker that has not ended by then is killed
SHARED_SIGNAL_S = 0.5  # within which a signal to a group of processes reaches all of them
MAX_FAILED_STARTS = 5  # if the first ones are all killed, so would be the others
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_SIGNALS = signal.Signals.__members__  # Windows lacks some
CRASHES = frozenset(_SIGNALS[name] for name in ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT") if name in _SIGNALS)
_READY, _DONE, _RAISED = range(3)
_STARTED = object()  # stands for the result when a worker says that it has started


@dataclass(frozen=True)
class WorkerDied:
    """Stands for the result of a job whose process died.

    Attributes:
        exit_code: Negative after a signal.
        exceeded: The limit for which the process was killed; None if it died by itself.
        starting: Whether it died before it could begin the job.
        lost_workers: Number of workers of a cluster that were lost, one after another, with this job; 0 if the process
            died on a machine that lives.
    """

    exit_code: int | None
    exceeded: Exceeded | None = None
    starting: bool = False
    lost_workers: int = 0

    def explain(self, task: str) -> tuple[str, str]:
        """Return the reason and a remedy.

        Args:
            task: What the process did, such as "reading it".
        """
        number = -self.exit_code if self.exit_code is not None and self.exit_code < 0 else 0
        name = (signal.strsignal(number) if number else None) or f"signal {number}"
        if self.lost_workers:
            reason = f"{self.lost_workers} workers of the cluster were lost while {task}"
            return reason, "check the nodes' memory and logs, and run again"
        if self.exceeded is not None:
            return f"{task} {self.exceeded.reason}", self.exceeded.remedy
        if self.starting:
            reason = f"the worker process was killed while it started ({name.lower()})"
            return reason, "run again, with fewer workers if memory is short"
        if number in CRASHES:
            return (
                f"{task} crashed the worker process ({name.lower()})",
                "report it as a bug, with the file if possible",
            )
        if number == _SIGNALS.get("SIGKILL"):
            reason = "the worker process was killed, probably because memory was short"
            return reason, "run again, with fewer workers"
        if number:
            return f"the worker process was ended from outside ({name.lower()})", "run again"
        return f"{task} ended the worker process with exit code {self.exit_code}", "report it as a bug"


@dataclass(eq=False)
class _Worker:
    process: SpawnProcess
    connection: Connection
    job: Any = None
    is_ready: bool = False


@dataclass(eq=False)
class _Pool:
    """The workers by their connections, and what starting one takes.

    Attributes:
        function: See `run_in_processes`, pickled.
        preload: See `run_in_processes`.
        watch: Watches the running jobs.
        workers: The workers.
        finished: Processes of workers without further jobs. They end while the last results are in use.
        failed_starts: Number of workers that were killed while they started; None once one has started.
    """

    function: bytes
    preload: Sequence[str]
    watch: JobWatch
    workers: dict[Connection, _Worker] = field(default_factory=dict)
    finished: list[SpawnProcess] = field(default_factory=list)
    failed_starts: int | None = 0

    def close(self) -> None:
        """End all workers, also in the middle of a job."""
        self.watch.stop()
        for worker in self.workers.values():
            worker.process.terminate()
            _end_worker(worker)
        for process in self.finished:
            _join(process)


def pickled(value: Any) -> bytes:
    """Return a function, a job or a result in the form in which worker processes exchange them."""
    return bytes(ForkingPickler.dumps(value))


def run_in_processes(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    workers: int,
    *,
    limits: JobLimits[Job] | None = None,
    preload: Sequence[str] = (),
) -> Generator[tuple[Job, Result | WorkerDied]]:
    """Run jobs in worker processes, and yield each job with its result as soon as it is finished, in any order.

    All workers end with this generator and with this process, also in the middle of a job and also after `kill -9`.

    Args:
        function: Runs one job. It is pickled once for each worker. An exception it raises ends the run and is raised
            here.
        jobs: Drawn one by one as workers become free, the first one while the first worker starts; None is not a job.
        workers: Number of processes, each with one compute thread; at least 1.
        limits: What a job may use. A worker that uses more is killed, and `WorkerDied` says so.
        preload: Modules that a worker imports while it starts.

    Raises:
        UsageError: Worker processes cannot be started.
    """
    remaining = iter(jobs)
    pool = _Pool(pickled(function), preload, JobWatch(limits or JobLimits()))
    try:
        for _ in range(workers):
            worker = _start_worker(pool)
            if not _give_job(worker, next(remaining, None)):
                break
        while busy := [end for end, worker in pool.workers.items() if worker.job is not None]:
            for ready in connection.wait(busy):
                worker = pool.workers[ready]  # type: ignore[index]  # a Connection
                job, result = worker.job, _receive(pool, worker)
                if result is not _STARTED:
                    _go_on(pool, worker, next(remaining, None))
                    yield job, result
    finally:
        pool.close()


class JobProcess:
    """One worker process that runs jobs when it is given one, with the limits and the isolation of a pool of one.

    Args:
        function: Runs one job, pickled; see `run_in_processes`.
        limits: What a job may use.
        preload: Modules that the process imports while it starts.
    """

    def __init__(self, function: bytes, limits: JobLimits[Any], preload: Sequence[str] = ()) -> None:
        self._pool = _Pool(function, preload, JobWatch(limits))

    def run(self, job: Any) -> Any:
        """Run a job; return its result, or `WorkerDied` if it ended its process, which is then replaced.

        Raises:
            UsageError: The process cannot be started.
            Exception: What the function raised.
        """
        (worker,) = self._pool.workers.values() or (_start_worker(self._pool),)
        is_started = worker.is_ready
        _give_job(worker, job)
        if is_started:
            self._pool.watch.begin(worker.process, worker.connection, job)
        while (result := _receive(self._pool, worker)) is _STARTED:
            pass
        worker.job = None
        return result

    def close(self) -> None:
        """End the process."""
        self._pool.close()


def _receive(pool: _Pool, worker: _Worker) -> Any:
    """Receive a worker's message: `_STARTED`, the result of its job, or `WorkerDied`, after which it is ended.

    Raises:
        UsageError: The worker did not start, and neither would others.
    """
    try:
        kind, answer = worker.connection.recv()
    except (EOFError, OSError):  # OSError: in the middle of a message, or with something unread
        return _bury(pool, worker, pool.watch.end(worker.process))
    if kind == _READY:
        worker.is_ready, pool.failed_starts = True, None
        pool.watch.begin(worker.process, worker.connection, worker.job)
        return _STARTED
    if (exceeded := pool.watch.end(worker.process)) is not None:  # killed just after it had answered
        worker.process.join()
        return _bury(pool, worker, exceeded)
    if kind == _RAISED:
        raise answer
    return answer


def _go_on(pool: _Pool, worker: _Worker, job: Any) -> None:
    """Give the next job to a worker that has finished one, or to another one in place of one that died."""
    if worker.connection not in pool.workers:
        if job is not None:
            _give_job(_start_worker(pool), job)
    elif _give_job(worker, job):
        pool.watch.begin(worker.process, worker.connection, job)
    else:
        del pool.workers[worker.connection]
        worker.connection.close()
        pool.finished.append(worker.process)


def _bury(pool: _Pool, worker: _Worker, exceeded: Exceeded | None) -> WorkerDied:
    """Remove a worker that died, perhaps because it exceeded a limit, and return how.

    Raises:
        UsageError: The worker did not start, and neither would others.
    """
    del pool.workers[worker.connection]
    _end_worker(worker)
    exit_code = worker.process.exitcode
    if exit_code == -signal.SIGTERM:
        time.sleep(SHARED_SIGNAL_S)  # if it was sent to all processes of the command, it interrupts this one here
    if not worker.is_ready and pool.failed_starts is not None:
        pool.failed_starts += 1
    if not worker.is_ready and ((exit_code or 0) >= 0 or (pool.failed_starts or 0) >= MAX_FAILED_STARTS):
        raise UsageError(
            "worker processes cannot be started",
            remedy="in a script, call it below `if __name__ == '__main__':`, or use 0 workers",
        )
    return WorkerDied(exit_code, exceeded, starting=not worker.is_ready)


def _start_worker(pool: _Pool) -> _Worker:
    context = get_context("spawn")  # fork would copy locks held by threads that it does not copy
    parent_end, worker_end = context.Pipe()
    process = context.Process(target=_serve, args=(worker_end, tuple(pool.preload)), daemon=True)
    with nullcontext() if b"__main__" in pool.function else without_main():
        process.start()
    worker_end.close()
    worker = pool.workers[parent_end] = _Worker(process, parent_end)
    with suppress(BrokenPipeError, ConnectionResetError):
        parent_end.send_bytes(pool.function)
    return worker


@contextmanager
def without_main() -> Iterator[None]:
    """Keep multiprocessing from running the user's script again in a worker that needs nothing of it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _give_job(worker: _Worker, job: Any) -> bool:
    """Send a worker its next job; return False if there is none."""
    worker.job = job
    if job is not None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it died: waiting for its answer will tell
            worker.connection.send(job)
    return job is not None


def _end_worker(worker: _Worker) -> None:
    worker.connection.close()
    _join(worker.process)


def _join(process: SpawnProcess) -> None:
    process.join(SHUTDOWN_TIMEOUT_S)
    if process.is_alive():
        process.kill()
        process.join()


def ignore_signals_of_the_terminal() -> None:
    """Ignore Ctrl-C and the end of the terminal, which all processes of a command get: it ends its workers itself."""
    for name in ("SIGINT", "SIGHUP"):
        if name in _SIGNALS:  # Windows lacks the second
            signal.signal(_SIGNALS[name], signal.SIG_IGN)


def end_with_parent() -> None:
    """Make this process end as soon as its parent does, even in the middle of a job that takes an hour.

    A thread waits for the end of the parent. It needs the interpreter, which native code can hold for as long as it
    runs; see `end_at_hangup`.
    """
    parent = parent_process()
    assert parent is not None  # noqa: S101  # only workers call this

    def wait() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    end_at_hangup(parent.sentinel)
    threading.Thread(target=wait, daemon=True).start()


def end_at_hangup(pipe: int) -> None:
    """Let the kernel kill this process when the last writer of a pipe closes it or ends, whatever runs here (Linux).

    See man 2 fcntl. prctl's PR_SET_PDEATHSIG would instead fire at the end of the thread that started this process.

    Args:
        pipe: Descriptor of the end to read from, to which nothing is ever written.
    """
    if sys.platform != "linux":
        return
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    if connection.wait([pipe], 0):  # it was closed before these calls
        os._exit(1)


def _serve(jobs: Connection, preload: Sequence[str]) -> None:
    """Run jobs in a worker process until the parent closes the pipe or ends."""
    ignore_signals_of_the_terminal()
    end_with_parent()
    for variable in THREAD_VARIABLES:
        os.environ[variable] = "1"  # must be set before the function's modules are imported with it
    try:
        function = jobs.recv()
        for module in preload:
            import_module(module)
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
