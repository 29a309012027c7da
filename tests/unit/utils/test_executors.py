from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crnet.errors import StorageError, UsageError
from crnet.utils.cores import available_cores
from crnet.utils.executors import WorkerDied, run_jobs, worker_processes
from crnet.utils.job_limits import JobLimits
from process_state import becomes_true, is_running

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


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "6400000 100000\n"}, 8),  # no more than the affinity
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({}, 8),
    ],
)
def test_the_cpu_limit_of_a_container_counts(
    files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr("crnet.utils.cores.CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert available_cores() == worker_processes(None) == cores


def test_none_means_one_worker_per_core_and_0_this_process() -> None:
    assert [worker_processes(workers) for workers in (0, 1, 5, None)] == [0, 1, 5, available_cores()]
    with pytest.raises(UsageError, match="-1 workers"):
        worker_processes(-1)


@pytest.mark.parametrize("workers", [1, 2])
def test_when_a_worker_dies_only_its_job_fails(workers: int) -> None:
    results = dict(run_jobs(square, range(1, 8), workers))
    assert results.pop(3) == WorkerDied(-signal.SIGKILL)
    assert results == {1: 1, 2: 4, 4: 16, 5: 25, 6: 36, 7: 49}


HANDFUL_MB = 400  # more than a bare worker, less than one that holds 1,000 MB


def misbehave(job: str) -> str:
    match job:
        case "crash":
            ctypes.string_at(0)
        case "sleep":
            time.sleep(60)
        case "hold the interpreter":
            re.match("(a|aa)+$", "a" * 45 + "b")  # takes minutes in native code
        case "allocate":
            held = [b"1" * (10 << 20) for _ in range(100)]
            time.sleep(60)
            return str(len(held))
        case "exit":
            os._exit(3)
        case "large":
            return "1" * (3 << 20)
    return job


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        ("crash", "reading it crashed the worker process (segmentation fault)"),
        ("sleep", "reading it took longer than 1 s"),
        ("hold the interpreter", "reading it took longer than 1 s"),
        ("allocate", "reading it needs more than 400 MB"),
        ("exit", "reading it ended the worker process with exit code 3"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the memory of a process")
def test_a_job_that_misbehaves_fails_for_its_true_reason_and_no_other_does(job: str, reason: str) -> None:
    limits = JobLimits[str](lambda job: 20.0 if job == "allocate" else 1.0, HANDFUL_MB)
    results = dict(run_jobs(misbehave, ["a", job, "b"], 1, limits=limits))
    death = results.pop(job)
    assert isinstance(death, WorkerDied)
    assert death.explain("reading it")[0] == reason
    assert results == {"a": "a", "b": "b"}


def test_a_job_that_was_killed_from_outside_may_have_lacked_memory() -> None:
    reason, remedy = WorkerDied(-signal.SIGKILL).explain("reading it")
    assert (reason, remedy) == (
        "the worker process was killed, probably because memory was short",
        "run again, with fewer workers",
    )
    assert (
        WorkerDied(-signal.SIGTERM).explain("reading it")[0] == "the worker process was ended from outside (terminated)"
    )


def test_time_in_which_the_parent_does_not_ask_for_the_result_does_not_count() -> None:
    results = run_jobs(misbehave, ["large", "large"], 1, limits=JobLimits(lambda _: 0.5))
    next(results)
    time.sleep(1.5)  # the second result is larger than a pipe holds, so that its worker waits
    assert len(next(results)[1]) == 3 << 20  # type: ignore[arg-type]


class KilledWhileLoaded:
    """A function whose arrival kills the worker that loads it, up to `times` times."""

    def __init__(self, folder: Path, times: int) -> None:
        self.folder, self.times = folder, times

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        earlier = len(list(self.folder.iterdir()))
        if earlier < self.times:
            (self.folder / str(earlier)).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, job: int) -> int:
        return job


def test_a_worker_that_is_killed_while_it_starts_costs_one_job(tmp_path: Path) -> None:
    results = dict(run_jobs(KilledWhileLoaded(tmp_path, 2), [1, 2, 3, 4], 1))
    assert results == {
        1: WorkerDied(-signal.SIGKILL, starting=True),
        2: WorkerDied(-signal.SIGKILL, starting=True),
        3: 3,
        4: 4,
    }
    assert "killed while it started" in results[1].explain("reading it")[0]  # type: ignore[union-attr]


def test_if_no_worker_starts_the_run_ends(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be started"):
        list(run_jobs(KilledWhileLoaded(tmp_path, 100), range(100), 2))


@pytest.mark.parametrize("has_guard", [True, False])
def test_a_script_needs_a_guard_only_if_the_function_is_its_own(tmp_path: Path, has_guard: bool) -> None:
    script = tmp_path / "script.py"
    script.write_text("from crnet.utils.executors import run_jobs\nprint(dict(run_jobs(abs, [-1], 1)))\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("{-1: 1}\n", "")
    guard = "if __name__ == '__main__': " if has_guard else ""
    script.write_text(
        "from crnet.utils.executors import run_jobs\ndef f(x): return -x\n"
        + guard
        + "print(dict(run_jobs(f, [-1], 1)))"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.stdout == ("{-1: 1}\n" if has_guard else "")
    assert ("below `if __name__ == '__main__':`" in done.stderr) is not has_guard


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
