from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from crnet.errors import StorageError
from crnet.utils.executors import WorkerDied, run_jobs


def square(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 100:
        raise StorageError("disk full", path="x", remedy="free some")
    if number == 200:
        time.sleep(0.5)
    return number * number


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_dies_costs_its_job_only(workers: int) -> None:
    results = dict(run_jobs(square, range(1, 8), workers))
    assert results.pop(3) == WorkerDied(-signal.SIGKILL)
    assert results == {1: 1, 2: 4, 4: 16, 5: 25, 6: 36, 7: 49}


def test_no_worker_does_the_same_here() -> None:
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
