"""The part of the Ray engine that runs on each node: a worker that gives jobs to a process of its own.

The process has the limits and the isolation of the local engine, so a video that crashes its decoder, or takes too
long, fails on a cluster for the same reason, in the same words. What crosses the network is bytes.
"""

from __future__ import annotations

import os
import pickle
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from crnet.utils.job_limits import JobLimits
from crnet.utils.process_pool import JobProcess, pickled
from crnet.utils.provenance import code_fingerprint, versions

DONE, RAISED = "done", "raised"


@dataclass(frozen=True)
class ClusterTask:
    """What the jobs of one run have in common; sent to each worker once, as a mapping of plain values.

    Attributes:
        function: Runs one job, pickled; see `Executor.run`.
        finish: Finishes its result, pickled; None if there is nothing to finish.
        preload: Modules that the process imports while it starts.
        memory_mb: The limit on memory; see `JobLimits`.
        folder: The current folder of the command, to which its paths are relative.
        seen: Paths that exist on every node if the storage is shared.
        versions: Versions of Python and the packages of the command, which each node must have too.
    """

    function: bytes
    finish: bytes | None
    preload: tuple[str, ...]
    memory_mb: int | None
    folder: str
    seen: tuple[str, ...]
    versions: Mapping[str, str]

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        finish: Callable[..., Any] | None,
        limits: JobLimits[Any],
        preload: Sequence[str],
        reads: Sequence[Path],
    ) -> Self:
        """Describe the work of a run; see `Executor.run`."""
        return cls(
            pickled(function),
            None if finish is None else pickled(finish),
            tuple(preload),
            limits.memory_mb,
            str(Path.cwd()),
            tuple(str(path) for path in reads),
            node_versions(),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the task as plain values, which a node reads whatever version of crnet it has."""
        return asdict(self)


def node_versions() -> dict[str, str]:
    """Return the versions that decide results, without the build of a package: a GPU node has another torch."""
    installed = {name: version.partition("+")[0] for name, version in versions().items()}
    return {**installed, "the code of crnet": code_fingerprint()[:8]}


class NodeWorker:
    """Runs jobs on a node of the cluster, one at a time."""

    def __init__(self) -> None:
        self._process: JobProcess | None = None
        self._finish: Callable[[Any, Any], Any] | None = None
        self._time_s = float("inf")

    def start(self, task: Mapping[str, Any]) -> tuple[str, str] | None:
        """Prepare for the jobs of a task, given as `ClusterTask.to_dict` returns it.

        Returns:
            The reason why this node cannot do them, and a remedy; None if it can.
        """
        with suppress(OSError):
            os.chdir(task["folder"])
        if (problem := _version_problem(task["versions"]) or _storage_problem(task["seen"])) is not None:
            return problem
        limits = JobLimits[Any](lambda _: self._time_s, task["memory_mb"])
        self._process = JobProcess(task["function"], limits, task["preload"])
        self._finish = None if task["finish"] is None else pickle.loads(task["finish"])  # noqa: S301  # of our driver
        return None

    def run(self, job: bytes, time_s: float) -> tuple[str, bytes]:
        """Run a job, pickled, that may take `time_s`; return `DONE` with its result or `RAISED` with its exception."""
        self._time_s = time_s
        assert self._process is not None  # noqa: S101  # the driver starts a worker first
        try:
            content = pickle.loads(job)  # noqa: S301  # of our driver
            result = self._process.run(content)
            return DONE, pickled(result if self._finish is None else self._finish(content, result))
        except Exception as error:
            return RAISED, _pickled_error(error)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()


def _pickled_error(error: Exception) -> bytes:
    try:
        content = pickled(error)
        pickle.loads(content)  # noqa: S301  # some exceptions of libraries can be pickled, but not read back
    except Exception:
        return pickled(RuntimeError(f"{type(error).__name__}: {error}"))
    return content


def _version_problem(expected: Mapping[str, str]) -> tuple[str, str] | None:
    here = node_versions()
    different = [
        f"{name} {here.get(name, 'missing')} instead of {expected.get(name, 'none')}"
        for name in sorted({*expected, *here})
        if here.get(name) != expected.get(name)
    ]
    if not different:
        return None
    reason = f"node {platform.node()} of the cluster has {', '.join(different)}"
    return reason, "install the same versions on all nodes and where you start the command"


def _storage_problem(paths: Sequence[str]) -> tuple[str, str] | None:
    for path in paths:
        if not Path(path).exists():
            reason = f"node {platform.node()} of the cluster does not see {path}"
            return reason, "use a folder that all nodes share under the same path"
    return None
