"""Where the jobs of a command run: in this process, in worker processes of this machine, or on a Ray cluster.

A job works on one clip or trains one network. Its result does not depend on where it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from crnet.errors import UsageError
from crnet.utils.cores import available_cores
from crnet.utils.job_limits import JobLimits
from crnet.utils.process_pool import WorkerDied as WorkerDied
from crnet.utils.process_pool import run_in_processes
from crnet.utils.storage import RemotePath

Job = TypeVar("Job")
Result = TypeVar("Result")

LOCAL, RAY = "local", "ray"


@dataclass(frozen=True)
class Executor:
    """One of three engines. `choose_executor` makes one from the options of a command.

    Attributes:
        workers: Number of worker processes on this machine, or of workers on the cluster, each with one compute
            thread. 0 works in this process. None, on a cluster: one per CPU (or GPU) that it has.
        cluster: Address of a Ray cluster, "" for the one that Ray finds; None: this machine.
        wants_gpu: Whether each worker takes a GPU of the cluster, if it has any.
    """

    workers: int | None
    cluster: str | None = None
    wants_gpu: bool = False

    @property
    def has_local_workers(self) -> bool:
        """Whether jobs run in worker processes of this machine."""
        return self.cluster is None and bool(self.workers)

    def run(
        self,
        function: Callable[[Job], Result],
        jobs: Iterable[Job],
        *,
        limits: JobLimits[Job] | None = None,
        preload: Sequence[str] = (),
        finish: Callable[[Job, Any], Any] | None = None,
        writes_to: Path | None = None,
        reads: Sequence[Path] = (),
    ) -> Iterator[tuple[Job, Any]]:
        """Run jobs, and yield each job with its result as soon as it is finished, in any order.

        All workers end with this generator and with this process, also in the middle of a job and after `kill -9`.

        Args:
            function: Runs one job. It is pickled once for each worker. An exception it raises ends the run and is
                raised here.
            jobs: Drawn one by one as workers become free; None is not a job.
            limits: What a job may use. A worker process that uses more is killed, and `WorkerDied` is the job's result,
                as after a crash. In this process there are no limits.
            preload: Modules that a worker process imports while it starts.
            finish: Turns the job and its result (or `WorkerDied`) into the final result. It runs outside the limited
                process: on this machine in the calling process, on a cluster beside the worker. It is pickled there.
            writes_to: Folder into which the jobs write. A node of the cluster that does not see it is refused.
            reads: Files and folders that the jobs read; likewise.

        Raises:
            UsageError: Worker processes cannot be started, or the cluster is unreachable or unsuitable.
            MissingDependencyError: Ray is not installed.
        """
        if self.cluster is None:
            yield from _run_here(function, jobs, self.workers or 0, limits, preload, finish)
        else:
            from crnet.utils.ray_engine import run_on_ray
            from crnet.utils.ray_node import ClusterTask

            # Every node sees object storage.
            on_disks = [path for path in reads if not isinstance(path, RemotePath)]
            folder = None if isinstance(writes_to, RemotePath) else writes_to
            task = ClusterTask.of(function, finish, limits or JobLimits(), preload, on_disks)
            yield from run_on_ray(self, task, jobs, limits or JobLimits(), folder)


def _run_here(
    function: Callable[[Any], Any],
    jobs: Iterable[Any],
    workers: int,
    limits: JobLimits[Any] | None,
    preload: Sequence[str],
    finish: Callable[[Any, Any], Any] | None,
) -> Iterator[tuple[Any, Any]]:
    results: Generator[tuple[Any, Any]] = (
        run_in_processes(function, jobs, workers, limits=limits, preload=preload)
        if workers
        else ((job, function(job)) for job in jobs)
    )
    with closing(results):
        for job, result in results:
            yield job, result if finish is None else finish(job, result)


def run_jobs(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    workers: int,
    *,
    limits: JobLimits[Job] | None = None,
    preload: Sequence[str] = (),
) -> Iterator[tuple[Job, Result | WorkerDied]]:
    """Run jobs on this machine; see `Executor.run`.

    Args:
        function, jobs, limits, preload: See `Executor.run`.
        workers: Number of processes; 0 runs the jobs in this process (see `worker_processes`).
    """
    return Executor(workers).run(function, jobs, limits=limits, preload=preload)


def choose_executor(engine: str, workers: int | None, default: int | None = None) -> Executor:
    """Return the executor that the options `--engine` and `--workers` ask for.

    Args:
        engine: "local"; "ray" (the cluster of RAY_ADDRESS, else one that runs on this machine, else a new one of this
            machine alone); or "ray://HOST:PORT".
        workers: See `worker_processes`. On a cluster, None means one worker per CPU.
        default: What None means on this machine; None: one worker per core.

    Raises:
        UsageError: The engine is unknown, or the number negative.
    """
    if engine == LOCAL:
        return Executor(worker_processes(default if workers is None else workers))
    if engine != RAY and not engine.startswith(f"{RAY}://"):
        raise UsageError(f"unknown engine {engine!r}", remedy=f"choose {LOCAL}, {RAY} or {RAY}://HOST:PORT")
    if workers is not None and worker_processes(workers) == 0:
        raise UsageError("no workers on a cluster", remedy="give 1 or more workers, or the engine local")
    return Executor(workers, engine if engine != RAY else "")


def worker_processes(workers: int | None) -> int:
    """Return the number of worker processes that a `workers` argument or `--workers` asks for on this machine.

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
