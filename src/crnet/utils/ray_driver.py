"""The driver of a Ray cluster: a process that starts workers on the nodes and passes jobs and results on."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from crnet.utils.process_pool import (
    MAX_FAILED_STARTS,
    WorkerDied,
    end_with_parent,
    ignore_signals_of_the_terminal,
    pickled,
)
from crnet.utils.ray_node import DONE

FREE, FINISHED, NOTE, STARTED, REFUSED, END = "free", "finished", "note", "started", "refused", "end"

JOIN_REMEDY = (
    "start it with the same version of Ray; set RAY_AUTH_MODE here as there, "
    "and if that is token, copy its ~/.ray/auth_token to this machine"
)
MOST_LOSSES = 3  # a job that has cost so many workers fails
WAIT_S = 1.0
PATIENCE_S = 60.0  # then we say that no worker has started yet


def drive(
    command: Connection,
    cluster: str,
    workers: int | None,
    wants_gpu: bool,
    task: Mapping[str, Any],
    quiet: bool,
) -> None:
    """Run jobs on a cluster until the command has no more, closes the pipe or ends.

    Args:
        command: Pipe to the command.
        cluster, workers, wants_gpu: See `Executor`.
        task: See `ClusterTask.to_dict`.
        quiet: Discard what Ray prints.
    """
    ignore_signals_of_the_terminal()
    end_with_parent()
    output = os.open(os.devnull, os.O_WRONLY) if quiet else 2
    for stream in (1, 2) if quiet else (1,):
        os.dup2(output, stream)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # must be set before ray is imported
    import ray

    with suppress(EOFError, OSError):  # the command has stopped
        try:
            ray.init(cluster or None, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except (Exception, SystemExit) as error:  # SystemExit: Ray gives up
            where = f"the Ray cluster at {cluster}" if cluster else "the Ray cluster"
            reason = " ".join(str(error).split())[:300]
            command.send((REFUSED, f"cannot join {where}: {reason}", JOIN_REMEDY))
            return
        try:
            size, gpus = _cluster_size(ray, wants_gpu)
            _Driver(ray, command, dict(task), workers or size, gpus).run()
        finally:
            ray.shutdown()


def _cluster_size(ray: Any, wants_gpu: bool) -> tuple[int, int]:
    """Return how many workers a cluster has room for, and how many GPUs each takes."""
    resources = ray.cluster_resources()
    gpus = 1 if wants_gpu and resources.get("GPU", 0) >= 1 else 0
    return max(1, int(resources.get("GPU" if gpus else "CPU", 1))), gpus


class _RefusedError(Exception):
    """The cluster cannot do the work: a reason and a remedy."""


@dataclass(eq=False)
class _Worker:
    """A worker of the cluster.

    Attributes:
        actor: Its handle.
        job: Number, pickled job and time limit of the job that it has; None: none yet.
        is_started: Whether it has started.
    """

    actor: Any
    job: tuple[int, bytes, float] | None = None
    is_started: bool = False


@dataclass(eq=False)
class _Driver:
    """The state of a run.

    Attributes:
        waiting: Jobs that are drawn and have no worker.
        calls: The workers that are starting or busy, by the reference of the call.
        losses: Number of workers that each unfinished job has cost.
        failed_starts: Number of workers that were lost while they started; None once one has started.
        has_more: Whether the command may have another job.
    """

    ray: Any
    command: Connection
    task: dict[str, Any]
    workers: int
    gpus: int
    waiting: deque[tuple[int, bytes, float]] = field(default_factory=deque)
    calls: dict[Any, _Worker] = field(default_factory=dict)
    losses: dict[int, int] = field(default_factory=dict)
    failed_starts: int | None = 0
    has_more: bool = True

    def __post_init__(self) -> None:
        actor_class = self.ray.remote(num_cpus=1, num_gpus=self.gpus, max_restarts=0)(_actor_class())
        self._actor_class = actor_class.options(scheduling_strategy="SPREAD")
        self._task_reference = self.ray.put(self.task)

    def run(self) -> None:
        """Run all jobs of the command."""
        for _ in range(self.workers):
            if (job := self._draw()) is None:
                break
            self.waiting.append(job)
            self._start_worker()
        try:
            waited_s = 0.0
            while self.waiting or any(worker.job for worker in self.calls.values()):
                ready, _ = self.ray.wait(list(self.calls), num_returns=1, timeout=WAIT_S)
                for reference in ready:
                    self._receive(self.calls.pop(reference), reference)
                waited_s = 0.0 if ready else waited_s + WAIT_S
                if waited_s == PATIENCE_S and not any(worker.job for worker in self.calls.values()):
                    self.command.send((NOTE, "waiting for a free CPU or GPU of the cluster"))
                if self.command.poll():
                    self.command.recv()  # raises EOFError: the command has stopped
            self.command.send((END,))
        except _RefusedError as refused:
            self.command.send((REFUSED, *refused.args))

    def _draw(self) -> tuple[int, bytes, float] | None:
        """Return the next job: one whose worker was lost, or a new one."""
        if self.waiting:
            return self.waiting.popleft()
        if not self.has_more:
            return None
        self.command.send((FREE,))
        job: tuple[int, bytes, float] | None = self.command.recv()
        self.has_more = job is not None
        return job

    def _start_worker(self) -> None:
        worker = _Worker(self._actor_class.remote())
        self.calls[worker.actor.start.remote(self._task_reference)] = worker

    def _receive(self, worker: _Worker, reference: Any) -> None:
        """Receive the answer of a worker and give it the next job."""
        try:
            answer = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            raise _RefusedError(" ".join(str(error.cause or error).split())[:300], "report it as a bug") from error
        except self.ray.exceptions.RayError as error:
            return self._lost(worker, " ".join(str(error).split()))
        if not worker.is_started:
            if answer is not None:
                return self._refused(worker, *answer)
            worker.is_started, self.failed_starts = True, None
        elif worker.job is not None:
            self.losses.pop(worker.job[0], None)
            self.command.send((FINISHED, worker.job[0], *answer))
        worker.job = self._draw()
        if worker.job is not None:
            self.calls[worker.actor.run.remote(*worker.job[1:])] = worker
        else:
            self.ray.kill(worker.actor)
        return None

    def _lost(self, worker: _Worker, reason: str) -> None:
        """Start another worker for one that was lost with its node, or alone, and put its job back."""
        self.ray.kill(worker.actor)  # it may only be out of reach
        if not worker.is_started and self.failed_starts is not None:
            self.failed_starts += 1
            if self.failed_starts >= MAX_FAILED_STARTS:
                raise _RefusedError(
                    f"workers cannot be started on the cluster: {reason[:300]}", "see the logs of its nodes"
                )
        if worker.job is not None:
            number = worker.job[0]
            self.losses[number] = self.losses.get(number, 0) + 1
            self.command.send((NOTE, "a worker of the cluster was lost; another one repeats its job"))
            if self.losses[number] < MOST_LOSSES:
                self.waiting.append(worker.job)
            else:
                died = WorkerDied(None, lost_workers=self.losses.pop(number))
                self.command.send((FINISHED, number, DONE, pickled(died)))
        self._start_worker()

    def _refused(self, worker: _Worker, reason: str, remedy: str) -> None:
        """Do without a worker whose node cannot do the work; give up if there is no other worker."""
        self.ray.kill(worker.actor)
        if not self.calls:
            raise _RefusedError(reason, remedy)
        self.command.send((NOTE, f"{reason} ({remedy}); the others go on without it"))


def _actor_class() -> type:
    """Return the class of the workers. A class made in a function travels whole, so that its node needs no crnet."""

    class CrnetWorker:
        def start(self, task: dict[str, Any]) -> tuple[str, str] | None:
            try:
                from crnet.utils.ray_node import NodeWorker
            except ImportError as error:
                import platform

                reason = f"node {platform.node()} of the cluster cannot import this version of crnet: {error}"
                return reason, "install it on all nodes"
            self.worker = NodeWorker()
            return self.worker.start(task)

        def run(self, job: bytes, time_s: float) -> tuple[str, bytes]:
            return self.worker.run(job, time_s)

    return CrnetWorker
