from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crnet.errors import StorageError, UsageError
from crnet.utils.executors import WorkerDied, available_cores, run_jobs, worker_processes
from process_state import is_running

LONG_JOB_SCRIPT = """
import os, re, sys, time
from pathlib import Path
from crnet.utils.executors import run_jobs

def sleep(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)

def hold_the_interpreter(path):
    Path(path).write_text(str(os.getpid()))
    re.match("(a|aa)+$", "a" * 45 + "b")  # takes minutes in native code, and lets no other thread run

if __name__ == "__main__":
    list(run_jobs(globals()[sys.argv[1]], sys.argv[2:], 2))
"""


def square(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 100:
        raise StorageError("disk full", path="x", remedy="free some")
    if number == 200:
        time.sleep(0.5)
    return number * number


def test_none_means_one_worker_per_core_and_0_this_process() -> None:
    assert [worker_processes(workers) for workers in (0, 1, 5, None)] == [0, 1, 5, available_cores()]
    with pytest.raises(UsageError, match="-1 workers"):
        worker_processes(-1)


@pytest.mark.parametrize("workers", [1, 2])
def test_when_a_worker_dies_only_its_job_fails(workers: int) -> None:
    results = dict(run_jobs(square, range(1, 8), workers))
    assert results.pop(3) == WorkerDied(-signal.SIGKILL)
    assert results == {1: 1, 2: 4, 4: 16, 5: 25, 6: 36, 7: 49}


def test_without_workers_the_results_are_the_same() -> None:
    assert dict(run_jobs(square, [1, 2], 0)) == {1: 1, 2: 4}
    assert list(run_jobs(square, [], 2)) == []


def test_an_error_ends_the_run() -> None:
    with pytest.raises(StorageError, match="free some"):
        list(run_jobs(square, [1, 100, *range(1000, 2000)], 1))


def test_jobs_are_drawn_as_workers_become_free() -> None:
    drawn = 0

    def jobs() -> Iterator[int]:
        nonlocal drawn
        while drawn < 10:
            drawn += 1
            yield drawn

    for finished, _ in enumerate(run_jobs(square, jobs(), 1), start=1):
        assert drawn <= finished + 1


def test_stopping_early_ends_the_workers() -> None:
    results = run_jobs(square, [1, 200, 200, 200, 200], 1)
    next(results)
    started_s = time.monotonic()
    results.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started_s < 5


def becomes_true(condition: Callable[[], bool], seconds: float) -> bool:
    deadline_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
@pytest.mark.parametrize("job", ["sleep", "hold_the_interpreter"])
def test_workers_end_in_the_middle_of_a_job_when_their_parent_is_killed(tmp_path: Path, job: str) -> None:
    script, files = tmp_path / "script.py", [tmp_path / "a", tmp_path / "b"]
    script.write_text(LONG_JOB_SCRIPT)
    parent = subprocess.Popen([sys.executable, str(script), job, *map(str, files)])
    assert becomes_true(lambda: all(file.is_file() and file.read_text() for file in files), 60)
    workers = [int(file.read_text()) for file in files]
    assert all(map(is_running, workers))
    parent.kill()
    parent.wait()
    ended = becomes_true(lambda: not any(map(is_running, workers)), 10)
    for worker in filter(is_running, workers):
        os.kill(worker, signal.SIGKILL)
    assert ended
