"""Jobs on a Ray cluster. Ray itself runs in a process of its own, the driver, which this module starts and talks to.

Ray ends its process when it loses the head node for a minute, and prints to stdout what the nodes log. In a process of
its own the former becomes one line of error, and the latter disturbs no output.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from crnet.errors import CrnetError, MissingDependencyError, StorageError, UsageError
from crnet.utils.extras import install_command
from crnet.utils.files import TEMPORARY_PREFIX, write_error_remedy
from crnet.utils.job_limits import JobLimits
from crnet.utils.process_pool import SHUTDOWN_TIMEOUT_S, pickled, without_main
from crnet.utils.ray_driver import FINISHED, FREE, NOTE, REFUSED, STARTED, drive
from crnet.utils.ray_node import DONE, ClusterTask

if TYPE_CHECKING:
    from crnet.utils.executors import Executor

CONNECT_TIMEOUT_S = 10.0
CLIENT_PORT = 10001  # https://docs.ray.io/en/latest/cluster/running-applications/job-submission/ray-client.html

_log = logging.getLogger(__name__)


def run_on_ray(
    executor: Executor, task: ClusterTask, jobs: Iterable[Any], limits: JobLimits[Any], writes_to: Path | None
) -> Generator[tuple[Any, Any]]:
    """Run jobs on a cluster; see `Executor.run`.

    A job whose worker is lost, with its node or alone, is given to another one. After several losses it fails with
    `WorkerDied`. A worker gets its next job when it has answered, so no more jobs are in memory than there are workers.

    Raises:
        UsageError: The cluster is unreachable, or none of its nodes can do the work.
        CrnetError: The connection to the cluster was lost.
        MissingDependencyError: Ray is not installed.
    """
    if find_spec("ray") is None:
        raise MissingDependencyError("the engine ray needs the package ray", remedy=install_command("ray"))
    _require_reachable(executor.cluster or os.environ.get("RAY_ADDRESS", ""))
    with _token(writes_to) as token, _driver(executor, replace(task, seen=(*task.seen, *token))) as driver:
        yield from _serve_driver(driver, jobs, limits)


def _serve_driver(driver: Connection, jobs: Iterable[Any], limits: JobLimits[Any]) -> Generator[tuple[Any, Any]]:
    """Give the driver the next job whenever it asks for one, and yield the results that it sends."""
    remaining, running, number = iter(jobs), dict[int, Any](), 0
    while True:
        try:
            kind, *content = driver.recv()
        except (EOFError, OSError) as error:
            raise CrnetError(
                "the connection to the Ray cluster was lost",
                remedy="check its head node and this machine's memory, then run the same command again",
            ) from error
        if kind == FREE:
            job = next(remaining, None)
            if job is None:
                driver.send(None)
                continue
            running[number] = job
            time_s = float("inf") if limits.time_s is None else limits.time_s(job)
            driver.send((number, pickled(job), time_s))
            number += 1
        elif kind == FINISHED:
            finished, outcome, answer = content
            result = pickle.loads(answer)  # noqa: S301  # of our workers
            if outcome != DONE:
                raise result
            yield running.pop(finished), result
        elif kind == NOTE:
            _log.warning("%s", content[0])
        elif kind == STARTED:
            _log.info("%s", content[0])
        elif kind == REFUSED:
            raise UsageError(content[0], remedy=content[1])
        else:
            return


@contextmanager
def _driver(executor: Executor, task: ClusterTask) -> Iterator[Connection]:
    """Start the driver process; end it, and with it its work on the cluster, on exit."""
    context = get_context("spawn")
    here, there = context.Pipe()
    quiet = not _log.isEnabledFor(logging.DEBUG)
    arguments = (there, executor.cluster, executor.workers, executor.wants_gpu, task.to_dict(), quiet)
    process = context.Process(target=drive, args=arguments, daemon=True)
    with without_main():
        process.start()
    there.close()
    try:
        yield here
    finally:
        here.close()  # it then leaves the cluster
        process.join(SHUTDOWN_TIMEOUT_S)
        if process.is_alive():
            process.kill()
            process.join()


def _require_reachable(address: str) -> None:
    """Refuse an address where nobody answers, which Ray would try for two minutes.

    Raises:
        UsageError: Nobody answers, or it is not an address.
    """
    if address in ("", "auto", "local"):
        return
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname or "", parts.port or CLIENT_PORT
    except ValueError:
        host, port = "", 0
    if not host:
        raise UsageError(f"{address!r} is not the address of a Ray cluster", remedy="write it as ray://HOST:PORT")
    try:
        socket.create_connection((host, port), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise UsageError(
            f"no Ray cluster answers at {host}:{port}: {error.strerror or error}",
            remedy="check the address, and that its head node runs: ray start --head",
        ) from error


@contextmanager
def _token(folder: Path | None) -> Iterator[tuple[str, ...]]:
    """Create a file in a folder, by which nodes tell that it is this folder; yield its path.

    Raises:
        StorageError: The folder cannot be written.
    """
    if folder is None:
        yield ()
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{TEMPORARY_PREFIX}node-", dir=folder)
    except OSError as error:
        reason = f"cannot be written: {error.strerror or error}"
        raise StorageError(reason, path=folder, remedy=write_error_remedy(error)) from error
    os.close(handle)
    try:
        yield (name,)
    finally:
        with suppress(OSError):
            Path(name).unlink(missing_ok=True)
