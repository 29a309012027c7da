"""The Ray engine. Its cluster takes seconds to start, so one test does all that needs it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
from fake_clips import FakeSettings, fake_clip

from crnet.data.prepare import PrepareReport, prepare
from crnet.errors import CrnetError, MissingDependencyError, StorageError, UsageError
from crnet.types import Clip
from crnet.utils import ray_engine
from crnet.utils.executors import Executor, WorkerDied, choose_executor
from crnet.utils.job_limits import JobLimits
from crnet.utils.process_pool import pickled
from crnet.utils.ray_node import DONE, RAISED, ClusterTask, NodeWorker

LOST_WORKERS = 2  # at most, with a node
OBJECT_STORE_BYTES = 80 << 20  # the least that Ray accepts


def negative(job: int) -> int:
    """A job that kills itself at 3, and the worker of the cluster that runs it at 4."""
    if job == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if job == 4:
        os.kill(os.getppid(), signal.SIGKILL)
    if job == 5:
        raise StorageError("disk full", path="x", remedy="free some")
    return -job


def halve(job: int, result: Any) -> Any:
    return result if isinstance(result, WorkerDied) else (job, result / 2)


def clip_of_a_node(path: Path, **more: Any) -> Clip:
    """Make a clip, and leave the process ids of the worker that does so, and of its node, in a file "busy"."""
    worker = os.getppid()
    status = Path("/proc", str(worker), "stat").read_text(encoding="utf-8")
    written = Path(path.parent.parent, f"busy-{os.getpid()}")
    written.write_text(f"{worker} {status.rpartition(')')[2].split()[1]}", encoding="utf-8")  # its parent
    written.replace(written.with_name("busy"))  # whole, for it is read at any moment
    return fake_clip(path, **more)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a cluster of a head without CPUs and two nodes, one with two CPUs, which can import what the tests can."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed: pip install 'crnet[ray]'")
    head = {"num_cpus": 0, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    try:
        for cpus in (1, 2):
            cluster.add_node(num_cpus=cpus, object_store_memory=OBJECT_STORE_BYTES)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster
    finally:
        cluster.shutdown()


def prepare_fake(source: Path, store: Path, extract: Any = fake_clip, **more: Any) -> PrepareReport:
    settings: Any = FakeSettings(sleep_s=0.1)
    return prepare(source, store, settings=settings, extract=extract, **more)


def pids(node: Any) -> list[int]:
    return [info.process.pid for infos in node.all_processes.values() for info in infos]


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.slow
def test_a_cluster_that_loses_a_node_and_workers_gives_the_results_of_this_machine(
    tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)  # a relative path means the same on the nodes
    Path("source").mkdir()
    for number in range(18):
        Path("source", f"{number:02}.mp4").write_bytes({5: b"bad", 6: b"crash"}.get(number, b"%d" % number))
    here = prepare_fake(Path("source"), tmp_path / "here", workers=1)

    def lose_a_node(task: str, done: int, total: int, note: str = "") -> None:
        if done == 6 and len(cluster.worker_nodes) == 2:
            worker, busy = map(int, Path("busy").read_text(encoding="utf-8").split())
            [node] = [node for node in cluster.worker_nodes if busy in pids(node)]
            cluster.remove_node(node, allow_graceful=False)
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)  # it would go on until it notices that its node is gone

    there = prepare_fake(Path("source"), Path("there"), clip_of_a_node, engine="ray", workers=3, progress=lose_a_node)
    assert len(cluster.worker_nodes) == 1 and "a worker of the cluster was lost" in caplog.text
    # What the lost node had stored, but not reported, is found in the store when its job is repeated.
    assert there.done + there.skipped == here.done == 16 and there.skipped <= LOST_WORKERS
    assert len(there.failures) == len(here.failures) == 2
    assert files(tmp_path / "there") == files(tmp_path / "here")

    results = dict(choose_executor("ray", None).run(negative, [1, 2, 3, 4], finish=halve))
    died = WorkerDied(-signal.SIGKILL)
    assert results == {1: (1, -0.5), 2: (2, -1.0), 3: died, 4: WorkerDied(None, lost_workers=3)}
    assert results[4].explain("reading it")[0] == "3 workers of the cluster were lost while reading it"


def a_task(**changes: Any) -> ClusterTask:
    return replace(ClusterTask.of(negative, halve, JobLimits(), (), []), **changes)


def test_a_node_returns_results_and_errors_as_data() -> None:
    worker = NodeWorker()
    assert worker.start(a_task().to_dict()) is None
    assert worker.run(pickled(1), 9.0) == (DONE, pickled((1, -0.5)))
    assert worker.run(pickled(3), 9.0) == (DONE, pickled(WorkerDied(-signal.SIGKILL)))
    assert worker.run(pickled(5), 9.0) == (RAISED, pickled(StorageError("disk full", path="x", remedy="free some")))
    assert worker.run(pickled(2), 9.0) == (DONE, pickled((2, -1.0)))
    worker.close()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"versions": {**a_task().versions, "numpy": "0.1"}}, "has numpy .* instead of 0.1"),
        ({"versions": {**a_task().versions, "other": "1"}}, "has other missing instead of 1"),
        ({"seen": ("/no/such/store",)}, "does not see /no/such/store"),
    ],
)
def test_a_node_that_cannot_do_the_work_says_why(changes: dict[str, Any], reason: str) -> None:
    problem = NodeWorker().start(a_task(**changes).to_dict())
    assert problem is not None
    with pytest.raises(UsageError, match=reason):
        raise UsageError(problem[0], remedy=problem[1])


@pytest.mark.parametrize(
    ("engine", "workers", "reason"),
    [
        ("slurm", None, "unknown engine 'slurm'"),
        ("ray://", None, "'ray://' is not the address"),
        ("ray://host:99999", None, "is not the address"),
        ("ray", 0, "no workers on a cluster"),
        ("ray", -1, "-1 workers"),
    ],
)
def test_an_unusable_engine_is_refused(engine: str, workers: int | None, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        list(choose_executor(engine, workers).run(negative, [1]))


def test_an_error_of_a_worker_ends_the_run() -> None:
    here, there = Pipe()
    there.send((ray_engine.FREE,))
    there.send((ray_engine.FINISHED, 0, RAISED, pickled(StorageError("disk full", path="x", remedy="free some"))))
    with pytest.raises(StorageError, match=r"x: disk full \(free some\)"):
        list(ray_engine._serve_driver(here, [5], JobLimits()))
    assert there.recv() == (0, pickled(5), float("inf"))


def test_a_lost_connection_is_one_line() -> None:
    here, there = Pipe()
    there.close()
    with pytest.raises(CrnetError, match="the connection to the Ray cluster was lost"):
        list(ray_engine._serve_driver(here, [5], JobLimits()))


def test_an_address_where_nobody_answers_is_refused_at_once() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"ray://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(UsageError, match=r"no Ray cluster answers at 127.0.0.1:.*ray start --head"):
            list(Executor(1, address).run(negative, [1]))


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"crnet\[ray\]"):
        list(choose_executor("ray", 1).run(negative, [1]))
